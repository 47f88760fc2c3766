"""Label: what is written, once in plain text and once in LaTeX."""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

from thalweg.symbolic._written import latex_of_name, text_of_name


@dataclass(frozen=True)
class Label:
    """What is written, in text and in LaTeX.

    Args:
        text: with letters of Unicode.
        latex: for mathematics mode.
    """

    text: str
    latex: str

    @classmethod
    def of_name(cls, name: str) -> Label:
        """A quantity's name."""
        return cls(text_of_name(name), latex_of_name(name))

    def filled(self, **labels: Label) -> Label:
        """With labels in the places of $a, $b, $y and $d."""
        return Label(
            Template(self.text).substitute({k: label.text for k, label in labels.items()}),
            Template(self.latex).substitute({k: label.latex for k, label in labels.items()}),
        )
