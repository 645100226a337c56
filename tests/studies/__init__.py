"""Tools that are not tests; the Makefile has targets for them."""
