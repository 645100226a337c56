"""Reads a series of runs as a history, and finds trends and steps in it."""
