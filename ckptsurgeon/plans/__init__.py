"""A plan: a graph of tensors with the account of every key; saved, read again, turned around."""
