"""Rules learned from one example: the same weights in two layouts, compared by their values."""
