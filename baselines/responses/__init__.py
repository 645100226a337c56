"""Combining whole responses: voting and blending."""
