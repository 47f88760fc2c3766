"""Writer: puts a network that is worked by hand down on paper, with one slip."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.solutions.hand import WORDS, Hand, value_of


@dataclass
class Quantity:
    """A vector or matrix in a solution.

    Attributes:
        kept: what is computed on with.
        texts: what stands on paper.
    """

    kept: Tensor
    texts: list[list[str]]


@dataclass
class Writer:
    """Works a network by hand and writes it down, with one slip if it finds room for it."""

    rng: random.Random
    hand: Hand
    slip: str | None
    lines: list[str] = field(default_factory=list)
    known: dict[str, Quantity] = field(default_factory=dict)
    slipped_at: int | None = None
    skips: int = 0

    def put_given(self, name: str, latex: str, tensor: Tensor) -> str:
        texts = [[self.hand.given(float(x)) for x in row] for row in tensor]
        self.known[name] = Quantity(tensor, texts)
        return f"{latex} = {self.shown(texts)}"

    def shown(self, texts: list[list[str]]) -> str:
        if len(texts) == 1 and len(texts[0]) == 1:
            return texts[0][0]
        return self.hand.array(texts)

    def numbers(self, name: str, slip: bool = False) -> str:
        """The numbers of a quantity as they stand on paper; one changed by a slip of copying."""
        texts = self.known[name].texts
        return self.bracketed(self.shown(texts))

    def bracketed(self, shown: str) -> str:
        return f"({shown})" if shown.startswith("-") or r"\cdot" in shown else shown

    def _takes(self, *slips: str) -> bool:
        """Whether the slip is made here: at one of the first places where it can be."""
        if self.slip not in slips or self.slipped_at is not None:
            return False
        if self.skips > 0:
            self.skips -= 1
            return False
        return True

    def step(
        self,
        name: str,
        latex: str,
        formula: str,
        substituted: str,
        exact: Tensor,
        wrong: dict[str, tuple[str, Tensor]] | None = None,
    ) -> None:
        """One line: name = formula = numbers = result.

        Args:
            exact: computed from what is kept.
            wrong: for a slip, the numbers as they then stand, and what comes out.
        """
        is_wrong = False
        texts = [[self.hand.text(float(x)) for x in row] for row in exact]
        result = exact
        for slip, (numbers, value) in (wrong or {}).items():
            if self._takes(slip) and self._differs(value, exact):
                substituted, result, is_wrong = numbers, value, True
                texts = [[self.hand.text(float(x)) for x in row] for row in value]
                break
        if not is_wrong and self._takes("arithmetic") and self._can_change(texts):
            texts, is_wrong = self._changed(texts), True
            result = torch.tensor(
                [[value_of(t) for t in row] for row in texts], dtype=torch.float64
            )
        if not is_wrong and self._takes("rounding"):
            moved = self._misrounded(exact, texts)
            if moved is not None:
                texts, is_wrong = moved, True
                result = torch.tensor(
                    [[value_of(t) for t in row] for row in texts], dtype=torch.float64
                )
        if not is_wrong and self._takes("copied number"):
            copied = self._copied(substituted)
            if copied is not None:
                substituted, is_wrong = copied, True
        kept = result
        if not self.hand.keeps:
            kept = torch.tensor([[value_of(t) for t in row] for row in texts], dtype=torch.float64)
        self.known[name] = Quantity(kept, texts)
        parts = [latex]
        if self.hand.shows_formula or not substituted:
            parts.append(f"= {formula}")
        if substituted:
            parts.append(f"= {substituted}")
        parts.append(f"{self.hand.about} {self.shown(texts)}")
        self._write(" ".join(parts))
        if is_wrong:
            self.slipped_at = self._line_of_last

    def _differs(self, wrong: Tensor, right: Tensor) -> bool:
        if wrong.shape != right.shape:
            return True
        gap = (wrong - right).abs()
        place = torch.tensor([[self.hand.place(float(x)) for x in row] for row in right])
        return bool((gap > 4 * place).any() and (gap > 0.05 * right.abs()).any())

    def _can_change(self, texts: list[list[str]]) -> bool:
        return any(sum(c.isdigit() for c in t) >= 2 and value_of(t) != 0 for r in texts for t in r)

    def _changed(self, texts: list[list[str]]) -> list[list[str]]:
        """One digit is another, not the last one unless there are but two."""
        places = [
            (i, j)
            for i, row in enumerate(texts)
            for j, t in enumerate(row)
            if sum(c.isdigit() for c in t) >= 2 and value_of(t) != 0
        ]
        i, j = self.rng.choice(places)
        text = texts[i][j]
        mantissa = text.split(r" \cdot")[0]
        digits = [k for k, c in enumerate(mantissa) if c.isdigit()]
        leading = next(k for k in digits if mantissa[k] != "0")
        eligible = [k for k in digits if k >= leading and k != digits[-1]] or [leading]
        at = self.rng.choice(eligible)
        digit = self.rng.choice([d for d in "123456789" if d != mantissa[at]])
        changed = mantissa[:at] + digit + mantissa[at + 1 :] + text[len(mantissa) :]
        return [
            [changed if (a, b) == (i, j) else t for b, t in enumerate(row)]
            for a, row in enumerate(texts)
        ]

    def _misrounded(self, exact: Tensor, texts: list[list[str]]) -> list[list[str]] | None:
        """The last digit is up or down by two: no rounding of anything that is near."""
        flat = [(i, j) for i, row in enumerate(texts) for j in range(len(row))]
        self.rng.shuffle(flat)
        for i, j in flat:
            value = float(exact[i, j])
            place = self.hand.place(value)
            if value == 0 or abs(value) < 40 * place:
                continue
            moved = self.hand.rounded(value) + self.rng.choice((-2, 2)) * place
            shown = self.hand.text(moved)
            if abs(value_of(shown) - moved) < 0.1 * place:
                return [
                    [shown if (a, b) == (i, j) else t for b, t in enumerate(row)]
                    for a, row in enumerate(texts)
                ]
        return None

    def _copied(self, substituted: str) -> str | None:
        """One of the numbers that were put in is another."""
        import re

        pattern = r"\d+,\d+" if self.hand.has_comma else r"\d+\.\d+"
        found = [m for m in re.finditer(pattern, substituted) if value_of(m[0]) != 0]
        if not found:
            return None
        match = self.rng.choice(found)
        digits = [k for k, c in enumerate(match[0]) if c.isdigit()]
        leading = next(k for k in digits if match[0][k] != "0")
        digit = self.rng.choice([d for d in "123456789" if d != match[0][leading]])
        changed = match[0][:leading] + digit + match[0][leading + 1 :]
        return substituted[: match.start()] + changed + substituted[match.end() :]

    # Lines

    _line_of_last: int = 0

    def _write(self, maths: str) -> None:
        hand, words = self.hand, WORDS[self.hand.language]
        style = hand.display
        if style == "$":
            lead = self.rng.choice(("", f"{words[3]} ", f"{words[6]}: ", "- "))
            self.lines.append(f"{lead}${maths}$.")
            self._line_of_last = len(self.lines)
            self.lines.append("")
        elif style == "align":
            self.lines.append(r"\begin{align*}")
            self.lines.append(maths.replace(" = ", " &= ", 1))
            self._line_of_last = len(self.lines)
            self.lines.append(r"\end{align*}")
        else:
            close = r"\]" if style == r"\[" else "$$"
            if self.rng.random() < 0.5:
                self.lines.append(f"{style} {maths} {close}")
                self._line_of_last = len(self.lines)
            else:
                self.lines += [style, maths, close]
                self._line_of_last = len(self.lines) - 1
        if self.rng.random() < 0.2:
            self.lines += ["", self.rng.choice(words[4:]).capitalize() + ":"]

    def say(self, text: str) -> None:
        self.lines.append(text)
