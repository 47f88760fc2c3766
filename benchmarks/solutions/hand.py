"""Hand: how a student writes numbers, and in which language."""

from __future__ import annotations

import random
from dataclasses import dataclass

WORDS = {
    "en": ("Given are", "Forward pass", "Backward pass", "With", "we get", "so that", "Hence"),
    "de": ("Gegeben sind", "Vorwärts", "Rückwärts", "Mit", "ergibt sich", "also", "Daraus folgt"),
    "fr": ("On donne", "Passe avant", "Passe arrière", "Avec", "on obtient", "donc", "Ainsi"),
}


@dataclass
class Hand:
    """How a student writes.

    Attributes:
        digits: after the point, or significant ones.
        is_significant: whether they are significant ones.
        has_comma: a decimal comma.
        keeps: carries the calculator's digits on, not those on paper.
        shows_formula: writes the formula before the numbers.
        shows_numbers: writes the numbers before the result.
    """

    digits: int
    is_significant: bool
    has_comma: bool
    keeps: bool
    language: str
    times: str
    about: str
    matrix: str
    display: str
    shows_formula: bool
    derivative: str
    is_layered: bool

    @staticmethod
    def drawn(rng: random.Random) -> Hand:
        language = rng.choice(("en", "en", "de", "fr"))
        return Hand(
            digits=rng.randint(2, 6),
            is_significant=rng.random() < 0.5,
            has_comma=language != "en" and rng.random() < 0.8,
            keeps=rng.random() < 0.5,
            language=language,
            times=rng.choice((r" \cdot ", r" \times ", r"\cdot")),
            about=rng.choice(("=", r"\approx")),
            matrix=rng.choice(("pmatrix", "bmatrix")),
            display=rng.choice(("$$", r"\[", "align", "$")),
            shows_formula=rng.random() < 0.75,
            derivative=rng.choice(("partial", "d", "nabla")),
            is_layered=rng.random() < 0.3,
        )

    def text(self, value: float) -> str:
        """A number to the digits of this hand, correctly rounded."""
        if value == 0:
            shown = "0"
        elif self.is_significant:
            size = f"{value:.{self.digits - 1}e}"
            mantissa, exponent = size.split("e")
            power = int(exponent)
            if -3 <= power < self.digits:
                shown = f"{value:.{self.digits - 1 - power}f}"
            else:
                shown = rf"{mantissa} \cdot 10^{{{power}}}"
        else:
            shown = f"{value:.{self.digits}f}"
            if float(shown) == 0:
                shown = shown.lstrip("-")
        return self.localised(shown)

    def localised(self, shown: str) -> str:
        return shown.replace(".", ",") if self.has_comma else shown

    def given(self, value: float) -> str:
        """A number as it was given, all digits of it."""
        return self.localised(f"{value:g}")

    def place(self, value: float) -> float:
        """What one more in the last digit adds."""
        if not self.is_significant:
            return 10.0**-self.digits
        if value == 0:
            return 1.0
        return 10.0 ** (int(f"{value:.{self.digits - 1}e}".split("e")[1]) - self.digits + 1)

    def rounded(self, value: float) -> float:
        """The number that `text` shows."""
        return value_of(self.text(value))

    def array(self, items: list[list[str]]) -> str:
        rows = r" \\ ".join(" & ".join(row) for row in items)
        return rf"\begin{{{self.matrix}}} {rows} \end{{{self.matrix}}}"


def value_of(shown: str) -> float:
    """The value of a number as a hand writes it."""
    return float(shown.replace(",", ".").replace(r" \cdot 10^{", "e").replace("}", ""))
