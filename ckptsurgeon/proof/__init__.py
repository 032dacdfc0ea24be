"""A checkpoint proved in its network."""
