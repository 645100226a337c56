"""Models that answer together, each at full cost."""
