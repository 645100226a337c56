"""A run's folder: the one writer, the one reader, and the one rule which record holds."""
