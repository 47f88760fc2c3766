"""Seeded faults: trainings broken by rule, their healthy twins, and who finds and mends them."""
