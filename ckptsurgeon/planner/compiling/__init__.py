"""Rules as written made into rules that can be run. Nothing here looks at a checkpoint."""
