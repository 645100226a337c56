"""A run against an earlier one."""
