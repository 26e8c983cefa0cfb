"""Measurements: a command each, figures in RESULTS.md."""
