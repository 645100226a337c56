"""Computes the numbers that pages and tables show, without markup."""
