"""In a notebook, where rich would show pages itself: text is text there, too."""

import rich.console

from thalweg.report import Fact, Facts, Page, Section, Tone

PAGE = Page("t", "It trains", Tone.GOOD, sections=(Section("s", "", (Facts((Fact("a", "1"),)),)),))


def test_text_is_the_same_in_a_notebook(monkeypatch):
    outside = PAGE.text()
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a kernel has it
    assert "It trains" in PAGE.text()
    assert PAGE.text() == outside


def test_printing_writes_plain_text(monkeypatch, capsys):
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    PAGE.print()
    assert "It trains" in capsys.readouterr().out
