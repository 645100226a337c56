"""Candidates that form a curve."""
