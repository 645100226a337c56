"""A candidate."""
