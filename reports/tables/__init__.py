"""Tables with declared columns, and their formats."""
