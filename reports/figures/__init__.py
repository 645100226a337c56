"""Draws figures from data."""
