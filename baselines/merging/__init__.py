"""Merges across fine-tunes, by mergekit."""
