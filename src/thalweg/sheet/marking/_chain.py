"""Chain: what is known about an a = b ≈ c while it is read, link by link."""

from __future__ import annotations

from dataclasses import dataclass, field

from thalweg.sheet.marking._band import Band
from thalweg.sheet.marking._digits import is_numeric
from thalweg.symbolic._expression import Expression


@dataclass
class Link:
    """A member that was read."""

    node: Expression
    line: int
    text: str


@dataclass
class Chain:
    """What is known about a chain so far.

    Attributes:
        line: where it begins.
        subject: what it begins with, as it stands on the page.
        target: the key of what it begins with; None if that is a formula.
        head: what it begins with.
        true: what its members should come to, once for each possibility; empty if not known.
        shown: what they come to as the page carries it on.
        is_off: what is carried on is not what it should be.
        was_wrong: one of its links was.
        links: its members so far, those that could be read.
        formula: the first formula that says what the target is.
        prior: the formula by which the target was known before.
        params: the letters of the function that it defines.
        bound: what letters stand for in this chain alone.
        is_redefined: the target gets a new value, or a new formula.
        was_given: its value is a number without a computation.
        others: names without a value that stand within it.
        entries: the names in a vector or matrix that it begins with.
        before: the words before it.
        has_unread: one of its members could not be read.
    """

    line: int
    subject: str = ""
    target: str | None = None
    head: Expression | None = None
    true: list[Band] = field(default_factory=list)
    shown: list[Band] = field(default_factory=list)
    is_off: bool = False
    was_wrong: bool = False
    links: list[Link] = field(default_factory=list)
    formula: Expression | None = None
    prior: Expression | None = None
    params: tuple[str, ...] | None = None
    bound: dict[str, Band] = field(default_factory=dict)
    is_redefined: bool = False
    was_given: bool = False
    others: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    before: str = ""
    has_unread: bool = False

    @property
    def formulas(self) -> list[Expression]:
        """Its members with letters."""
        return [link.node for link in self.links if not is_numeric(link.node)]

    def remember(self, node: Expression) -> None:
        """Takes the first formula for the target's, unless it is of numbers alone."""
        if self.formula is None or (is_numeric(self.formula) and not is_numeric(node)):
            self.formula = node
