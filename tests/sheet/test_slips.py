"""Right pages in many hands, each with slips put in one at a time: where each is found, as what."""

import json
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
