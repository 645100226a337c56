"""Which candidates are timed as one, in which order, beside which rounds of the reference, and for
how many rounds."""
