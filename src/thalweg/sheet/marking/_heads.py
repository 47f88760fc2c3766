"""Heads: what a chain begins with: a name, a derivative, a definition of f(x), or a formula."""

from __future__ import annotations

from thalweg.sheet.marking._chain import Chain, Link
from thalweg.sheet.marking._digits import is_numeric
from thalweg.sheet.marking._fields import RISING
from thalweg.sheet.marking._ledger import CONSTANTS, Ledger, key_of
from thalweg.sheet.marking._weighing import Weighing
from thalweg.symbolic._expression import (
    Array,
    Binary,
    Call,
    Expression,
    Name,
    Number,
    Operator,
    Transpose,
)
from thalweg.symbolic._spelling import FUNCTIONS

_BUILTIN = frozenset((*RISING, *FUNCTIONS, "ln", "tr", "trace", "det", "diag"))
"""Functions that a page does not define."""


class Heads:
    """Says what a chain is about.

    Args:
        ledger: what the page has said.
        weighing: what expressions come to.
    """

    def __init__(self, ledger: Ledger, weighing: Weighing) -> None:
        self._ledger = ledger
        self._weighing = weighing

    def take(self, chain: Chain, head: Expression) -> None:
        """Takes what a chain begins with for its target, or for its first value."""
        chain.head = head = self._with_layer(head)
        chain.links.append(Link(head, chain.line, chain.subject))
        plain = head.of if isinstance(head, Transpose) else head
        if isinstance(plain, Call) and self._is_definable(plain):
            chain.params = tuple(arg.text for arg in plain.args if isinstance(arg, Name))
        chain.target = key_of(plain)
        if isinstance(plain, Call) and not chain.params and self._weighing.has_value(plain):
            # σ(6) = …: nothing is defined, something is computed.
            chain.target = None
        if isinstance(plain, Array):
            names = [cell for item in plain.items for cell in (item.parts or (item,))]
            if names and all(isinstance(name, Name) for name in names):
                chain.entries = [name.text for name in names if isinstance(name, Name)]
        if chain.target is None and not chain.entries:
            self._weighing.begin(chain, head)

    def _with_layer(self, head: Expression) -> Expression:
        """a^2 = …: the layer of a name that has no value without it."""
        if isinstance(head, Binary) and head.operator is Operator.POWER:
            base, power = head.left, head.right
            if isinstance(base, Name) and isinstance(power, Number) and power.text.isdigit():
                if self._ledger.find(base.text) is None and base.text not in CONSTANTS:
                    return Name(f"{base.text}^{power.text}")
        return head

    def is_evaluation(self, chain: Chain, node: Expression) -> bool:
        """Whether f(w) = 25 says what the f that is known comes to, and defines none."""
        head = chain.head
        return (
            isinstance(head, Call)
            and chain.params is not None
            and len(chain.links) == 1
            and is_numeric(node)
            and self._ledger.is_function(head.function)
            and self._weighing.has_value(head)
        )

    def _is_definable(self, call: Call) -> bool:
        """Whether f(x) with letters for arguments may be the definition of f."""
        letters = [arg.text for arg in call.args if isinstance(arg, Name)]
        return (
            len(letters) == len(call.args) == len(set(letters))
            and not call.function.endswith("'")
            and call.function not in _BUILTIN
            and not self._ledger.is_value(call.function)
            and all(self._is_letter(letter) for letter in letters)
        )

    def _is_letter(self, name: str) -> bool:
        found = self._ledger.find(name)
        return found is None or found.is_given or found.formula is None
