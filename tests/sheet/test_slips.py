"""Right pages in many hands, each with slips put in one at a time: where each is found, as what."""

import json
import re
from pathlib import Path

import pytest

import thalweg

PAGES = Path(__file__).parent / "pages"

SLIPS = json.loads((Path(__file__).parent / "slips.json").read_text())
"""Of each page: what stands there, what is written instead, what kinds of slip that may be."""

CASES = [(page, *slip) for page, slips in SLIPS.items() for slip in slips]


@pytest.mark.parametrize(("page", "old", "new", "kinds"), CASES)
def test_a_slip_is_found_where_it_was_made(page, old, new, kinds):
    text = (PAGES / f"{page}.md").read_text()
    assert text.count(old) == 1
    same = next(i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    line = text[: text.index(old) + same].count("\n") + 1
    first = thalweg.check(text.replace(old, new)).first_wrong
    assert first is not None
    assert first.line == line
    assert first.kind in kinds or not kinds


@pytest.mark.parametrize("page", sorted(SLIPS))
def test_a_page_without_a_slip_is_right(page):
    checked = thalweg.check(PAGES / f"{page}.md")
    assert checked.is_right, checked.first_wrong
    assert checked.is_readable


WRITTEN = {
    "dots": lambda text: text.replace(r"\cdot", "·").replace(r"\approx", "≈"),
    "letters": lambda text: text.replace(r"\lambda", "λ").replace(r"\sigma", "σ"),
    "minus": lambda text: re.sub(r"(?<=[ (=])-(?=[\d\\ ])", "−", text),
    "brackets": lambda text: re.sub(r"\$\$(.+?)\$\$", r"\\[\1\\]", text, flags=re.DOTALL),
    "no dollars": lambda text: text.replace("$", ""),
    "quoted": lambda text: "\n".join("> " + line for line in text.split("\n")),
    "from Windows": lambda text: text.replace("\n", "\r\n"),
}
"""Other ways to write the same page."""

RIGHT = sorted(
    page
    for page, first in json.loads((PAGES / "first_wrong.json").read_text()).items()
    if first["line"] is None
)


@pytest.mark.parametrize("way", WRITTEN)
def test_a_right_page_is_right_however_it_is_written(way):
    for page in RIGHT:
        problem = PAGES / f"{page}.txt"
        text = WRITTEN[way]((PAGES / f"{page}.md").read_text())
        checked = thalweg.check(text, problem.read_text() if problem.exists() else None)
        assert checked.is_right, (page, checked.first_wrong)
