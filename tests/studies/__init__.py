"""Tools that are no tests: each behind a target of the Makefile."""
