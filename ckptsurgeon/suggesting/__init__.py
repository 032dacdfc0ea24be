"""Rules from the headers of two checkpoints: names, shapes and structure, each with its degree."""
