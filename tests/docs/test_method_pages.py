"""Every page of a method says what it computes, its cost, its source, and when not to use it."""

import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(page for page in (DOCS / "methods").glob("*.md") if page.stem != "index")
PARTS = ("**Formula.** ", "**Cost.** ", "**Source.** ", "**When not to use ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_every_part_and_a_picture_that_is_described(page):
    text = page.read_text(encoding="utf-8")
    for part in PARTS:
        (paragraph,) = [each for each in text.split("\n\n") if each.startswith(part)]
        assert len(paragraph) > len(part) + 10
    assert text.index(PARTS[0]) < text.index(PARTS[1]) < text.index(PARTS[2])
    assert "\n::: thalweg." in text
    ((alt, name),) = re.findall(r"!\[(.*?)\]\((.*?)\)", text)
    assert name == f"pictures/{page.stem}.svg"
    assert len(alt) > 30
    caption = text.partition(f"({name})\n")[2].partition("\n\n")[0]
    assert caption.startswith("*")
    assert caption.endswith("*")
    assert "<svg" in (page.parent / name).read_text(encoding="utf-8")[:1000]


def test_every_picture_is_drawn_by_the_script_and_no_other_lies_there():
    names = set(runpy.run_path(str(DOCS / "pictures.py"))["PICTURES"])
    assert names == {page.stem for page in PAGES}
    assert names == {path.stem for path in (DOCS / "methods" / "pictures").iterdir()}
