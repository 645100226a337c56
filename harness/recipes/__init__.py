"""Kinds of recipe that several methods share."""
