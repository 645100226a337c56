"""What the command line can do: a module a command; melange/cli.py says which there are."""
