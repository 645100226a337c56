"""The commands, a module each; melange/cli.py lists them."""
