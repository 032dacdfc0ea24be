"""What a plan does, for people and machines, and what to write where it does not come out even."""
