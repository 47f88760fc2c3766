"""Source: where evaluation asks for names, digits, functions and derivatives."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

from thalweg.sheet.marking._digits import Digits
from thalweg.symbolic._expression import Call
from thalweg.symbolic.paper import Derivative

V = TypeVar("V")


@runtime_checkable
class Source(Protocol[V]):
    """Where names, digits and derivatives get their values."""

    def name(self, text: str) -> V: ...
    def number(self, digits: Digits) -> V: ...
    def call(self, function: str, args: tuple[V, ...]) -> V: ...
    def activated(self, node: Call) -> V | None: ...
    def derivative(self, node: Derivative) -> V: ...
    def spend(self) -> None: ...
