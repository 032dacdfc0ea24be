"""What people have in the place of checkpoints and is not read: what it is, and what to do."""
