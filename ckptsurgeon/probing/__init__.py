"""Probes: a checkpoint's keys, shapes and dtypes with values that are all different."""
