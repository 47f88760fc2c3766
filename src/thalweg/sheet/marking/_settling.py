"""Settling: what a chain has said about its target, written down at its end."""

from __future__ import annotations

from thalweg.sheet.marking._band import is_same, transpose
from thalweg.sheet.marking._chain import Chain
from thalweg.sheet.marking._digits import is_numeric
from thalweg.sheet.marking._ledger import Ledger, Quantity, key_of
from thalweg.symbolic._expression import Call, Expression, Name, Transpose
from thalweg.symbolic.paper import Derivative


def settle(chain: Chain, ledger: Ledger) -> None:
    """Writes down what a chain has said.

    Args:
        chain: that has come to its end.
        ledger: where it is written down.
    """
    if chain.params is not None and isinstance(chain.head, Call):
        _settle_function(chain, chain.head.function, ledger)
        return
    for other in chain.others:
        if ledger.find(other) is None and chain.shown:
            ledger.put(other, _quantity(chain, None))
    if chain.entries and chain.shown:
        _settle_entries(chain, ledger)
    elif chain.target is not None:
        _settle_target(chain, chain.target, ledger)


def _settle_function(chain: Chain, function: str, ledger: Ledger) -> None:
    if chain.formula is None or _mentions(chain.formula, function):
        return
    quantity = Quantity(formula=chain.formula, params=chain.params, line=chain.line)
    ledger.put(function, quantity)


def _settle_entries(chain: Chain, ledger: Ledger) -> None:
    shown, true = chain.shown[0], chain.true[0]
    if shown.shape == () or shown.shape[0] * shown.shape[1] != len(chain.entries):
        return
    columns = shown.shape[1]
    for at, name in enumerate(chain.entries):
        if ledger.find(name) is not None and not chain.is_redefined:
            continue
        place = divmod(at, columns)
        ledger.put(
            name,
            Quantity(
                shown=shown.entry(*place),
                true=true.entry(*place) if true.shape == shown.shape else shown.entry(*place),
                is_given=chain.was_given,
                line=chain.line,
            ),
        )


def _settle_target(chain: Chain, target: str, ledger: Ledger) -> None:
    existing = ledger.quantities.get(target)
    formula = chain.formula
    if existing is not None and existing.formula is not None and not existing.is_opaque:
        if formula is None or is_numeric(formula):
            formula = existing.formula
    if formula is not None and _mentions(formula, target):
        formula = None
    if not chain.shown:
        if formula is not None:
            new = Quantity(formula=formula, line=chain.line)
            if existing is not None and not chain.is_redefined:
                new.shown, new.true = existing.shown, existing.true
                new.is_given = existing.is_given
            ledger.put(target, new)
        return
    quantity = _quantity(chain, formula)
    epoch = ledger.epoch
    ledger.put(target, quantity)
    if existing is None:
        return
    if existing.shown is not None and is_same(existing.shown, chain.shown[0]):
        quantity.is_given = quantity.is_given or existing.is_given
        ledger.epoch = epoch
    elif not chain.is_redefined:
        # The same quantity to other digits is no new one.
        ledger.epoch = quantity.epoch = quantity.epoch - (existing.shown is not None)


def _quantity(chain: Chain, formula: Expression | None) -> Quantity:
    shown = chain.shown[0]
    true = next((b for b in chain.true if b.shape == shown.shape), chain.true[0])
    if isinstance(chain.head, Transpose):
        shown, true = transpose(shown), transpose(true)
    return Quantity(
        formula=formula,
        shown=shown,
        true=true,
        is_wrong=chain.is_off,
        is_given=chain.was_given,
        is_opaque=formula is not None and is_numeric(formula),
        line=chain.line,
    )


def _mentions(node: Expression, key: str) -> bool:
    for part in node.walk():
        if isinstance(part, Name | Call | Derivative) and key_of(part) == key:
            return True
    return False
