"""Reads all candidates' responses to a task's examples, and takes excerpts."""
