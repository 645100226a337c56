"""Exit codes, which scripts rely on."""

ALL_DONE, REGRESSION, USER_MISTAKE, CELLS_FAILED, OUR_MISTAKE = range(5)
INTERRUPTED = 130
