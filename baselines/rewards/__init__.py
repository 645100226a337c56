"""Reward models, which tell better answers from worse ones."""
