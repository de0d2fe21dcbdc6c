"""Rows of scored tasks: examples, metrics, intervals, records and their comparison."""
