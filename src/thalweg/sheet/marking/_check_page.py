"""The page of a checked solution: the verdict, the first wrong step, every line with its marks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from thalweg.report import Page, Section, Table, Tone
from thalweg.sheet.marking._step import Step, Verdict

if TYPE_CHECKING:
    from thalweg.sheet.marking._check import CheckedSolution

_SIGNS = {
    Verdict.OK: "✓ right",
    Verdict.WRONG: "✗ wrong",
    Verdict.CARRIED: "→ carried on",
    Verdict.UNREAD: "? not checked",
}
_MAX_LINES = 5000
"""Lines of a page that are shown beside their verdicts; all are judged."""

_MAX_LETTERS = 400


def page_of(checked: CheckedSolution) -> Page:
    """Describes the page."""
    first = checked.first_wrong
    unread = [step for step in checked.steps if step.verdict is Verdict.UNREAD]
    if first is not None:
        verdict, tone = f"Line {first.line} is wrong", Tone.BAD
    elif checked.is_readable:
        verdict, tone = "Nothing wrong was found", Tone.GOOD
    else:
        verdict, tone = "Nothing on this page could be read", Tone.PLAIN
    sections = [_beside(checked)]
    if unread:
        rows = [[str(step.line), _cut(step.claimed), step.kind] for step in unread[:_MAX_LINES]]
        sections.append(
            Section(
                "Not checked",
                "These steps could not be read with certainty; nothing is said about them.",
                (Table(("line", "what stands there", "why"), rows),),
            )
        )
    return Page(
        title=checked.title,
        verdict=verdict,
        tone=tone,
        lead=f"{_explained(first)} {checked.total}.".strip(),
        sections=tuple(sections),
    )


def fragment_of(checked: CheckedSolution) -> str:
    """The page in a frame, for a notebook."""
    page = escape(page_of(checked).html(), quote=True)
    return f'<iframe srcdoc="{page}" style="width:100%;height:40em;border:0"></iframe>'


def _explained(step: Step | None) -> str:
    if step is None:
        return ""
    said = f"It says {_cut(step.claimed)}"
    if step.right:
        said += f"; right is {_cut(step.right)}"
    return f"{said}. Likely slip: {step.kind}."


def _beside(checked: CheckedSolution) -> Section:
    """The lines of the page, each with what was found on it."""
    steps: dict[int, list[Step]] = {}
    for step in checked.steps:
        steps.setdefault(step.line, []).append(step)
    rows = []
    for number, line in enumerate(checked.text.splitlines()[:_MAX_LINES], 1):
        found = steps.get(number, [])
        if not line.strip() and not found:
            continue
        rows.append([str(number), _cut(line.strip()), _marks(found), _remarks(found)])
    return Section(
        "The page, line by line",
        "A step that only carries an error on is not counted as another one.",
        (Table(("line", "the page", "verdict", "right, and why"), rows),),
        tone=Tone.BAD if checked.first_wrong else Tone.PLAIN,
    )


def _marks(steps: list[Step]) -> str:
    """Each verdict once, with how often."""
    counts = {verdict: sum(step.verdict is verdict for step in steps) for verdict in Verdict}
    return ", ".join(
        sign if counts[verdict] == 1 else f"{sign} ×{counts[verdict]}"
        for verdict, sign in _SIGNS.items()
        if counts[verdict]
    )


def _remarks(steps: list[Step]) -> str:
    told = [step for step in steps if step.verdict in (Verdict.WRONG, Verdict.CARRIED)]
    return "; ".join(
        _cut(f"{step.right} ({step.kind})" if step.right and step.kind else step.right or step.kind)
        for step in told
        if step.right or step.kind
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_LETTERS else text[: _MAX_LETTERS - 1] + "…"
