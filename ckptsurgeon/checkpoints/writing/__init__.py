"""Outputs as every format makes them: staged, filled from several threads, whole or not there."""
