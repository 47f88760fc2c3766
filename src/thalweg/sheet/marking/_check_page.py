"""The page of a checked solution: the verdict, the first wrong step, every line with its marks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from thalweg.report import Line, Mark, Marked, Page, Section, Table, Tone
from thalweg.sheet.marking._step import Step, Verdict

if TYPE_CHECKING:
    from thalweg.sheet.marking._check import CheckedSolution

_TONES = {
    Verdict.OK: Tone.GOOD,
    Verdict.WRONG: Tone.BAD,
    Verdict.CARRIED: Tone.UNSURE,
    Verdict.UNREAD: Tone.PLAIN,
}
_MAX_LINES = 5000
"""Lines of a page that are shown beside their verdicts; all are judged."""

_MAX_LETTERS = 400

_OPENING = re.compile(r"\\begin\{(?:align|gather|equation|multline|eqnarray|flalign|split)\w*\*?\}")
_CLOSING = re.compile(r"\\end\{(?:align|gather|equation|multline|eqnarray|flalign|split)\w*\*?\}")
_CELLS = re.compile(r"(?<!\\)&|\\\\(?:\[[^\]]{0,12}\])?\s*$|\\(?:label|tag\*?)\{[^{}]{0,80}\}")


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


def _explained(step: Step | None) -> str:
    if step is None:
        return ""
    right = f"Right is {_cut(step.right)}. " if step.right else ""
    return f"{right}The likely slip: {step.kind}."


def _beside(checked: CheckedSolution) -> Section:
    """The lines of the page, each with what was found on it."""
    steps: dict[int, list[Step]] = {}
    for step in checked.steps:
        steps.setdefault(step.line, []).append(step)
    lines = tuple(
        Line(number, text, _marks(steps.get(number, [])))
        for number, text in _lines_of(checked.text)
        if text.strip() or number in steps
    )
    return Section(
        "The page, line by line",
        "A step that only carries an error on is not counted as another one.",
        (Marked(lines),),
        tone=Tone.BAD if checked.first_wrong else Tone.PLAIN,
    )


def _lines_of(page: str) -> Iterator[tuple[int, str]]:
    """Every line with its number; what stands in displayed mathematics between two dollars."""
    is_display = False
    for number, line in enumerate(page.splitlines()[:_MAX_LINES], 1):
        text = line.strip()
        was_display = is_display
        opened = text.count("$$") + len(_OPENING.findall(text)) + text.count("\\[")
        closed = len(_CLOSING.findall(text)) + text.count("\\]")
        if text.count("$$") % 2 or opened - text.count("$$") != closed:
            is_display = not is_display
        if was_display or is_display or _OPENING.search(text) or "\\[" in text:
            inside = re.sub(r"\$\$|\\\[|\\\]", " ", text)
            inside = _CELLS.sub(" ", _CLOSING.sub(" ", _OPENING.sub(" ", inside)))
            text = f"$${inside.strip()}$$" if inside.strip() else ""
        yield number, text.replace("\\(", "$").replace("\\)", "$")


def _marks(steps: list[Step]) -> tuple[Mark, ...]:
    """What is right is counted; all else is named."""
    right = sum(step.verdict is Verdict.OK for step in steps)
    marks = [Mark(Tone.GOOD, "right" if right == 1 else f"{right} right")] if right else []
    for step in steps:
        if step.verdict is not Verdict.OK:
            marks.append(Mark(_TONES[step.verdict], _word(step), _remark(step)))
    # What is wrong is read first.
    return tuple(sorted(marks, key=lambda mark: mark.tone is not Tone.BAD))


def _word(step: Step) -> str:
    return {Verdict.CARRIED: "carried on", Verdict.UNREAD: "not checked"}.get(
        step.verdict, step.verdict.value
    )


def _remark(step: Step) -> str:
    claimed = re.sub(r"(?<!\\)\$", "", step.claimed)
    said = f"${claimed}$" if len(claimed) <= _MAX_LETTERS else _cut(claimed)
    if step.right:
        said += f" should be {_cut(step.right)}"
    return f"{said} ({step.kind})" if step.kind else said


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_LETTERS else text[: _MAX_LETTERS - 1] + "…"
