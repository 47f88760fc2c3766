"""Blocks: what they refuse, and which columns of a table count as numbers."""

import pytest

from thalweg._errors import ThalwegError
from thalweg.report import Figure, Ink, Table, Text, band, line


@pytest.mark.parametrize(
    "cells",
    [
        ("1", "2"),
        ("0.5", "–", "1e-7", "−3.2 × 10⁻²"),
        ("10.1 → 96.2", "10.1 → –"),
        ("± 0.4", "–"),
        ("0.93 ± 0.01", "1.84 [1.84, 1.85]"),
        ("1,437", "∞", "nan", "< 0.01", "12 %"),
        ("7.9 s", "120 ms", "4.6 GiB"),
    ],
)
def test_columns_of_numbers(cells):
    assert Table(("a",), [(cell,) for cell in cells]).is_numeric == (True,)


@pytest.mark.parametrize(
    "cells", [("helped", "1"), ("blocks.0.linear",), ("–", ""), ("2 layers", "3 layers"), ()]
)
def test_columns_of_words(cells):
    assert Table(("a",), [(cell,) for cell in cells]).is_numeric == (False,)


def test_ragged_table_is_refused_with_the_row():
    with pytest.raises(ThalwegError, match=r"row 2 of the table 'costs' has 1 cells under 2"):
        Table(("a", "b"), (("1", "2"), ("3",)), "costs")


def test_figure_without_words_is_refused():
    with pytest.raises(ThalwegError, match="no alt text"):
        Figure([], {}, "caption", " ")


def test_paragraphs_are_divided_by_empty_lines():
    assert Text(" one\n two\n \n\nthree ").paragraphs == ("one two", "three")


def test_ink_has_a_faint_shade():
    assert Ink.MEASURED.faint == "var(--blue-faint)"


def test_band_runs_there_and_back_and_belongs_to_its_line():
    edge = band([1, 2], [0.1, 0.2], [0.3, 0.4], name="loss", ink=Ink.GREEN)
    through = line([1, 2], [0.2, 0.3], name="loss", ink=Ink.GREEN)
    assert (edge["x"], edge["y"]) == ([1, 2, 2, 1], [0.1, 0.2, 0.4, 0.3])
    assert edge["legendgroup"] == through["legendgroup"]
    assert edge["fillcolor"] == Ink.GREEN.faint


def test_column_without_a_name_is_refused():
    with pytest.raises(ThalwegError, match=r"'costs' has a column without a name among 'a', ''"):
        Table(("a", ""), (("1", "2"),), "costs")
