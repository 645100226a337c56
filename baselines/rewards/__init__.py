"""Reward models: what tells better answers from worse ones."""
