"""Slips of activations: another slope than theirs, or none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from thalweg.sheet.marking._case import (
    Case,
    fits,
    is_telling,
    pairs_of,
    scaled,
    value_of,
)
from thalweg.sheet.marking._step import Slip
from thalweg.symbolic._expression import Call

_ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu")


def by_own_slope(case: Case) -> Slip | None:
    """What stands for σ′(z) is something else that is often written for it."""
    asked = next(
        (
            node
            for node in (*reversed(case.formulas), case.target)
            if isinstance(node, Call) and node.function.endswith("'") and len(node.args) == 1
        ),
        None,
    )
    if asked is None or asked.function[:-1] not in _ACTIVATIONS:
        return None
    z = value_of(case, asked.args[0])
    h = value_of(case, Call(asked.function[:-1], asked.args))
    if z is None or h is None:
        return None
    shown = case.values.ledger.activated.get(Call(asked.function[:-1], asked.args))
    quantity = case.values.ledger.quantities.get(shown) if shown else None
    values = [h.mid, *([quantity.shown.mid] if quantity and quantity.shown else [])]
    for c, _, place in pairs_of(case):
        for value in values:
            for wrong in _wrong_slopes(asked.function[:-1], np.asarray(value), np.asarray(z.mid)):
                shaped = np.atleast_2d(wrong)
                shaped = shaped if shaped.shape == c.shape else shaped.T
                if shaped.shape == c.shape and fits(c, shaped, place, 1.01):
                    return Slip.ACTIVATION
    return None


def by_slope(case: Case) -> Slip | None:
    """The ratio of what stands there to what is right is that of a wrong slope to the right one."""
    for c, r, place in pairs_of(case):
        for right, wrongs in _slopes(case):
            if np.any(right == 0):
                continue
            for wrong in wrongs:
                expected = scaled(r, wrong / right)
                if expected is not None and fits(c, expected, place, 0.75) and is_telling(c, place):
                    return Slip.DROPPED_FACTOR if np.all(wrong == 1) else Slip.ACTIVATION
    return None


def _slopes(case: Case) -> Iterator[tuple[Any, list[Any]]]:
    """For every activation on the page its slope, and what is written for it by mistake."""
    count = 0
    for quantity in reversed(list(case.values.ledger.quantities.values())):
        formula = quantity.formula
        if not (isinstance(formula, Call) and len(formula.args) >= 1 and quantity.true is not None):
            continue
        if formula.function not in _ACTIVATIONS:
            continue
        z = value_of(case, formula.args[0])
        if z is None or z.shape != quantity.true.shape:
            continue
        count += 1
        if count > 12:
            return
        h, z_mid = np.asarray(quantity.true.mid), np.asarray(z.mid)
        right = _right_slope(formula.function, h, z_mid)
        yield right, [*_wrong_slopes(formula.function, h, z_mid), np.ones_like(h), -right]


def _right_slope(function: str, h: Any, z: Any) -> Any:
    if function == "sigmoid":
        return h * (1 - h)
    if function == "tanh":
        return 1 - np.tanh(z) ** 2
    if function == "relu":
        return np.where(z > 0, 1.0, 0.0)
    return np.where(z > 0, 1.0, np.where(z != 0, h / np.where(z == 0, 1, z), 1))


def _wrong_slopes(function: str, h: Any, z: Any) -> list[Any]:
    """What is written by mistake for the slope of an activation with the value h at z."""
    others = [_right_slope(name, h, z) for name in ("tanh", "relu") if name != function]
    return [
        *others, _logistic_slope(z), h, 1 - h, 1 - h**2, h * (1 - h), h * (1 + h), 1 + h**2,
        h**2, z, z * (1 - z), _logistic_slope(h), 1 - np.tanh(h) ** 2, 1 - z**2, (1 - h) ** 2,
        1 - 2 * h,
    ]  # fmt: skip


def _logistic_slope(z: Any) -> Any:
    e = np.exp(-np.abs(z))
    return e / (1 + e) ** 2
