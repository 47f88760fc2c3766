"""The pages of worked passes and derivations, opened in a browser."""

import pytest
from sheets import LAYERS

import thalweg
from browser import check_page

PAGES = {
    "layers": lambda: thalweg.worked(LAYERS + "# <b>&amp;"),
    "derivation": lambda: thalweg.derive("½wᵀAw", at={"w": [1, 2], "A": [[1, 2], [3, 4]]}),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_page(name, tmp_path):
    check_page(PAGES[name]().save(tmp_path / "page.html"))


def test_a_large_graph_is_not_drawn_but_said():
    lines = "\n".join(f"x{i + 1} = sin(x{i})" for i in range(70))
    page = thalweg.worked(f"x0 = 1\n{lines}\nL = x70^2").page()
    (section,) = [s for s in page.sections if s.title == "The graph"]
    assert "too large for a picture" in section.blocks[0].text
