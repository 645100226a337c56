"""Public tasks of lm-eval: one registry file each, and where their data comes from."""
