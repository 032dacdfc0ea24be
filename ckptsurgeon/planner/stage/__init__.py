"""One stage: its rules run in order against the tensors that it reads."""
