"""A plan turned around: from its output back to its source."""
