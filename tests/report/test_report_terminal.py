"""The terminal: the same page in words, for any width and any letters."""

import io

import pytest
from rich.console import Console
from rich.text import Text as Words
from sample import sample_page

from thalweg.report import Code, Fact, Facts, Page, Section, Table, Text, Tone, print_page


def printed(page, width=100, encoding="utf-8", **options):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    print_page(page, Console(file=file, width=width, **options))
    file.flush()
    return raw.getvalue().decode(encoding)


def page_of(*blocks, **section):
    return Page("t", "v", Tone.PLAIN, sections=(Section("s", "", blocks, **section),))


def test_the_page_in_order():
    text = printed(sample_page())
    said = [
        "deep sigmoid digits",
        "✗ This network does not train: its gradient vanishes (problem)",
        "Each layer back from the loss",
        "✗ The gradient vanishes (problem)",
        "slope of log norm",
        "✓ What was tried, and what helped (good)",
        "10.1 → 96.2",
        "block.activation = torch.nn.ReLU()",
        "? Where the network stands (undecided)",
        "4.6 GiB",
        "On the page only: All layers in numbers.",
        "thalweg 0.1.0",
    ]
    places = [text.find(words) for words in said]
    assert -1 not in places
    assert places == sorted(places)
    assert "blocks.3.linear" not in text  # folded
    assert "The gradient falls along a straight line" not in text  # a figure's caption


@pytest.mark.parametrize("width", [30, 44, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal_but_code(width):
    lines = printed(sample_page(), width).splitlines()
    code = next(b for s in sample_page().sections for b in s.blocks if isinstance(b, Code))
    kept = [line.strip() for line in code.text.splitlines()]
    prose = [line for line in lines if line.strip() not in kept]
    assert max(Words(line).cell_len for line in prose) <= min(width, 100)
    assert all(line in [shown.strip() for shown in lines] for line in kept)


def test_a_narrow_terminal_loses_no_cell():
    header, row = ("remedy", "accuracy", "spread"), ("ReLU with He", "10.1 → 96.2", "± 0.4")
    text = printed(page_of(Table(header, (row,))), width=26)
    assert "…" not in text
    for name, cell in zip(header, row, strict=True):
        assert any(name in line and cell in line for line in text.splitlines())


def test_letters_that_the_terminal_lacks_are_spelled():
    text = printed(sample_page(), encoding="ascii")
    assert "x This network does not train" in text
    assert "0.248 +/- 0.006" in text
    assert "sqrt chi" in text
    assert "10.1 -> 96.2" in text
    assert "lambda_max" in text
    assert "?" not in text.replace("? Where the network stands", "")
    assert "é naïve ∇" in printed(page_of(Text("é naïve ∇")))
    assert "é naïve grad" in printed(page_of(Text("é naïve ∇")), encoding="latin-1")


def test_plain_when_piped_and_coloured_in_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert "\x1b" not in printed(sample_page())
    colored = printed(sample_page(), force_terminal=True, color_system="standard")
    assert "\x1b[1;31m" in colored  # bold red
    monkeypatch.setenv("NO_COLOR", "1")
    assert ";31m" not in printed(sample_page(), force_terminal=True, color_system="standard")


def test_text_is_never_read_as_rich_markup():
    words = "[b]x[/b] :smile: [/]"
    text = printed(page_of(Text(words), Facts((Fact(words, words),)), Code(words)))
    assert text.count(words) == 4


def test_a_page_prints_itself(capsys):
    Page("t", "It trains", Tone.GOOD).print()
    assert "✓ It trains (good)" in capsys.readouterr().out
