"""Worked solutions with slips: `python -m benchmarks.solutions`."""
