"""A plan carried out: its tensors moved or computed, in bounded memory, into a writer."""
