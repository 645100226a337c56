"""Runs side by side: read as a history, drawn as trends, searched for steps, pruned."""
