"""Reading checkpoints, whether they go together, and those that methods build from them."""
