"""Averages of checkpoints along one training run."""
