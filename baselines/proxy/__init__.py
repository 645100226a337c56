"""Combinations of logits while decoding."""
