"""Exit codes, which scripts rely on."""

ALL_DONE, REGRESSION, USER_MISTAKE, CELLS_MISSING, OUR_MISTAKE = range(5)
INTERRUPTED = 130
