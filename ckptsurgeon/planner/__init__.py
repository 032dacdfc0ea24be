"""Rules held against checkpoints: a Plan, or every problem at once."""
