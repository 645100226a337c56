"""How to make a run again."""
