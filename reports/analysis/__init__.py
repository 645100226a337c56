"""Numbers of runs, without markup: what pages and tables show."""
