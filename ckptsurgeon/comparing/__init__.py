"""Two checkpoints held against each other, value by value."""
