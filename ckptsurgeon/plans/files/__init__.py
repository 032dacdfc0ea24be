"""Plans as files, to be run later."""
