"""Everything that is a checkpoint: opened by what it holds, written by what its name says."""
