"""Pages of worked passes that are out of the ordinary."""

from sheets import LAYERS

import thalweg
from browser import check_page


def test_the_page_of_matrices_and_of_a_text_that_looks_like_markup(tmp_path):
    check_page(thalweg.worked(LAYERS + "# <b>&amp;").save(tmp_path / "page.html"))


def test_a_large_graph_is_not_drawn_but_said():
    lines = "\n".join(f"x{i + 1} = sin(x{i})" for i in range(70))
    page = thalweg.worked(f"x0 = 1\n{lines}\nL = x70^2").page()
    (section,) = [s for s in page.sections if s.title == "The graph"]
    assert "too large for a picture" in section.blocks[0].text
