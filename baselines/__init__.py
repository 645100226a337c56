"""Ways of combining checkpoints, and the checkpoints that they combine."""
