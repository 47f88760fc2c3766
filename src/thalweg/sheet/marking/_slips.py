"""Slips: which common error turns what is right into what stands on the page."""

from __future__ import annotations

from thalweg.sheet.marking._case import Case
from thalweg.sheet.marking._copies import by_copy
from thalweg.sheet.marking._digit_slips import (
    by_entry_sign,
    by_point,
    by_rounding,
    by_shape,
    by_sign,
)
from thalweg.sheet.marking._formula_slips import by_factor, by_mutation, by_term
from thalweg.sheet.marking._slope_slips import by_own_slope, by_slope
from thalweg.sheet.marking._step import Slip


def slip_of(case: Case) -> Slip:
    """The likely slip, by trying one explanation after the other; arithmetic where none fits."""
    for explain in (
        by_copy,
        by_shape,
        by_sign,
        by_entry_sign,
        by_rounding,
        by_own_slope,
        by_mutation,
        by_slope,
        by_point,
        by_factor,
        by_term,
    ):
        found = explain(case)
        if found is not None:
            return found
    return Slip.ARITHMETIC
