"""check: a worked solution, every equality chain judged and the first wrong step named."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from thalweg._errors import FormulaError
from thalweg.report import Page, PagedResult, schema_of_list, to_json
from thalweg.sheet.marking._digits import display_of
from thalweg.sheet.marking._judge import Judge
from thalweg.sheet.marking._ledger import Ledger, Quantity
from thalweg.sheet.marking._page import MAX_PAGE, Turn, hand_of, items_of
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._step import Step, Verdict
from thalweg.sheet.marking._values import Values
from thalweg.symbolic import Program, parse_program

MAX_STEPS = 1500
"""Steps of a page that are judged, some seconds' work; what stands below is said to be unread."""


@dataclass(frozen=True)
class CheckedSolution(PagedResult):
    """A page with what was found about every step on it.

    Attributes:
        text: the page as it was given.
        steps: one for each link of each chain, in the order of the page.
        title: what the page is called.
    """

    schema = "thalweg/check/1"

    text: str
    steps: tuple[Step, ...]
    title: str = "a worked solution"

    @property
    def first_wrong(self) -> Step | None:
        """The first wrong step; None if there is none."""
        return next((step for step in self.steps if step.verdict is Verdict.WRONG), None)

    @property
    def is_right(self) -> bool:
        """Nothing was found to be wrong; there may be steps that were not read."""
        return self.first_wrong is None

    @property
    def is_readable(self) -> bool:
        """At least one step could be judged."""
        return any(step.verdict is not Verdict.UNREAD for step in self.steps)

    def count(self, verdict: Verdict) -> int:
        """How many steps have this verdict."""
        return sum(step.verdict is verdict for step in self.steps)

    @property
    def total(self) -> str:
        """One line: how many steps are right, wrong, carried on and not checked."""
        counts = {verdict: self.count(verdict) for verdict in Verdict}
        said = [f"{counts[Verdict.OK]} right", f"{counts[Verdict.WRONG]} wrong"]
        said.append(f"{counts[Verdict.CARRIED]} carried on")
        said.append(f"{counts[Verdict.UNREAD]} not checked")
        return f"{len(self.steps)} steps: {', '.join(said)}"

    def to_json(self) -> str:
        """The steps as a list in JSON."""
        return to_json(list(self.steps), max_items=1_000_000)

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON schema, draft 2020-12, of that list."""
        return schema_of_list(Step, cls.schema)

    def page(self) -> Page:
        """The page with verdicts beside the lines."""
        from thalweg.sheet.marking._check_page import page_of

        return page_of(self)

    def __str__(self) -> str:
        return self.total


def check(
    page: str | PathLike[str], problem: str | Program | None = None, title: str = ""
) -> CheckedSolution:
    """Judges every chain of equalities of a worked solution, and names the first wrong step.

    A number on the page is right if it is a correct rounding of the exact value, or of a value that
    follows from the rounded numbers shown before it: these stand for every number that rounds to
    them. What follows correctly from a wrong step is carried on. What cannot be read with certainty
    is not judged. Nothing on the page is run.

    Args:
        page: the text, Markdown with LaTeX or plain, or the path of a file.
        problem: the text that defines the network, as `worked` takes it: then values and gradients
            are compared with the exact pass.
        title: a name for the page.

    Returns:
        Every step with its line, its verdict and, where it is wrong, the right value and the likely
        slip.

    Raises:
        FormulaError: if the page is too long, or the problem cannot be read.

    Example:
        >>> checked = check("z = 4 * 1.5 = 6 and h = z * 3 = 19")
        >>> checked.first_wrong.right
        '18'
        >>> checked.total
        '4 steps: 3 right, 1 wrong, 0 carried on, 0 not checked'

    Source: intervals of displayed digits after Moore 1966, "Interval analysis"; marks for carried
    errors as examiners give them.
    """
    text = page if isinstance(page, str) else Path(page).read_text(encoding="utf-8")
    if len(text) > MAX_PAGE:
        raise FormulaError(
            f"the page has {len(text):,} characters; give pages of at most {MAX_PAGE:,}"
        )
    ledger = Ledger()
    if problem is not None:
        _take_up(ledger, problem)
    judge = Judge(hand_of(text), ledger)
    # Overflow and division by zero are looked at where they happen.
    with np.errstate(all="ignore"):
        for item in items_of(text):
            if len(judge.steps) < MAX_STEPS or isinstance(item, Turn):
                judge.read(item)
            else:
                judge.pass_over(item)
        judge.finish()
    return CheckedSolution(text, tuple(judge.steps), title or "a worked solution")


def _take_up(ledger: Ledger, problem: str | Program) -> None:
    """Writes the definitions of a problem down before the page is read."""
    program = parse_program(problem) if isinstance(problem, str) else problem
    values = Values(ledger)
    for statement in program:
        given = display_of(statement.expression)
        if given is None:
            quantity = Quantity(formula=statement.expression, is_from_problem=True)
        else:
            value = values.value(statement.expression, View.TRUE)
            for digits in given.flat:
                ledger.give(digits)
            quantity = Quantity(shown=value, true=value, is_given=True, is_from_problem=True)
        ledger.put(statement.name, quantity)
