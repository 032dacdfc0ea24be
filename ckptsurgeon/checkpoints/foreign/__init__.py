"""What people have under the names of checkpoints and is none that is read: what it is, what to do."""
