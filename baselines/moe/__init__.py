"""Mixtures of experts assembled from tuned models."""
