"""Score: what the checker says of pages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from benchmarks.solutions.page import Page
from thalweg.sheet import check


@dataclass
class Score:
    """What became of the pages."""

    pages: int = 0
    found: int = 0
    named: int = 0
    alarms: int = 0
    right_pages: int = 0
    unread: int = 0
    steps: int = 0
    by_slip: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: list[Page] = field(default_factory=list)
    accused: list[Page] = field(default_factory=list)


def scored(pages: list[Page]) -> Score:
    """Checks every page."""
    score = Score()
    for page in pages:
        checked = check(page.text)
        first = checked.first_wrong
        score.steps += len(checked.steps)
        score.unread += sum(step.verdict == "unread" for step in checked.steps)
        if page.slip is None:
            score.right_pages += 1
            if first is not None:
                score.alarms += 1
                score.accused.append(page)
            continue
        score.pages += 1
        if first is None or first.line != page.line:
            score.missed.append(page)
            score.by_slip[page.slip, "missed"] += 1
            continue
        score.found += 1
        score.by_slip[page.slip, first.kind] += 1
        score.named += first.kind == page.slip
    return score
