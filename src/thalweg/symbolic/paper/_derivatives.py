"""Derivatives: ∂L/∂w and dL/dw as fractions or with a slash, ∂_w L, ∇L."""

from __future__ import annotations

import re
from dataclasses import replace

from thalweg.symbolic._expression import Binary, Expression, Name, Number, Operator, Transpose
from thalweg.symbolic._spelling import normalised
from thalweg.symbolic.paper._commands import ACCENTS
from thalweg.symbolic.paper._descent import Descent
from thalweg.symbolic.paper._names import Names
from thalweg.symbolic.paper._nodes import Derivative
from thalweg.symbolic.paper._pieces import Mark, Piece

Stretch = tuple[int, int]
"""From one place to another."""


class Derivatives:
    """Tells derivatives from quotients, and reads them.

    Args:
        formula: in which they stand.
        names: by which an index is read.
    """

    def __init__(self, formula: Descent, names: Names) -> None:
        self._formula = formula
        self._place = formula.place
        self._names = names

    # How they are written

    def partial(self) -> Expression:
        """∂L/∂w on one line, or ∂_w L."""
        place = self._place
        after = place.peek()
        if after is not None and after.mark is Mark.SIGN and after.text.startswith("_"):
            place.at += 1
            by = Name(self._names.lowered())
            return Derivative(self._formula.power(), (by,))
        found = self.slashed()
        if found is None:
            raise place.refuse("∂ without a denominator")
        return found

    def slashed(self) -> Expression | None:
        """The derivative with a slash that begins here; None if there is none."""
        slash = self._slash()
        return None if slash is None else self._across(slash)

    def word(self) -> Expression | None:
        """The dL/dw whose d is the first letter of the word here; None if there is none."""
        place = self._place
        slash = self._slash()
        if slash is None or slash > place.at + 8 or not self._looks_derived((place.at, slash)):
            return None
        end = self._end_of_denominator(slash + 1)
        if end <= slash + 1 or not self._looks_derived((slash + 1, end)):
            return None
        return self._across(slash)

    def fraction(self, over: Stretch, under: Stretch) -> Expression | None:
        """The derivative that a fraction stands for, which has been taken; None if none."""
        if not (self._looks_derived(over) and self._looks_derived(under)):
            return None
        return self._quotient(over, under, self._place.at)

    def nabla(self) -> Expression:
        """∇L, ∇_w L, ∇²L."""
        place = self._place
        place.at += 1
        by: tuple[Name, ...] = ()
        order = 1
        while (now := place.now) is not None and now.mark is Mark.SIGN:
            if now.text == "_":
                place.at += 1
                by = (self._by_name(self._formula.group()),)
            elif now.text.startswith("_"):
                by = (Name(self._names.lowered()),)
            elif now.text.startswith("^"):
                order, place.at = self._order(place.at, place.end)
                if order == 1:
                    raise place.refuse()
            else:
                break
        return Derivative(self._formula.power(), by * order, order)

    # Numerator and denominator

    def _slash(self) -> int | None:
        """Where the slash stands that what begins here is left of."""
        place = self._place
        at = place.at + 1
        while at < place.end:
            piece = place.pieces[at]
            if piece.is_sign("/"):
                return at
            if piece.is_sign("+", "-", "*", "⊙", "@"):
                return None
            at = max(place.matches.get(at, at), at) + 1
        return None

    def _across(self, slash: int) -> Expression | None:
        end = self._end_of_denominator(slash + 1)
        return self._quotient((self._place.at, slash), (slash + 1, end), end)

    def _end_of_denominator(self, start: int) -> int:
        """∂w_1, dw², ∂W^{(1)}: the d, a name, what stands below and above it."""
        place = self._place
        if start < place.end and place.pieces[start].is_sign("(") and start in place.matches:
            return place.matches[start] + 1
        at = start
        while at < place.end:
            piece = place.pieces[at]
            is_accent = piece.mark is Mark.COMMAND and piece.text in ACCENTS
            if is_accent or piece.mark is Mark.STYLE or piece.is_sign("^", "_"):
                at = place.after(at + 1)
            elif self._belongs_to_denominator(piece, at, start):
                at += 1
            else:
                break
        return min(at, place.end)

    def _belongs_to_denominator(self, piece: Piece, at: int, start: int) -> bool:
        if piece.mark is Mark.SIGN:
            if piece.text == "∂":
                return at == start or not piece.is_apart
            return re.match(r"[_^].|'", piece.text) is not None
        before = self._place.pieces[at - 1]
        if piece.mark in (Mark.WORD, Mark.NAME):
            return (
                at == start
                or before.is_sign("∂")
                or not piece.is_apart
                or (at == start + 1 and before.text in ("d", "delta"))
            )
        return (
            piece.mark is Mark.NUMBER
            and not piece.is_apart
            and at > start
            and before.mark in (Mark.WORD, Mark.NAME)
        )

    def _unbracketed(self, stretch: Stretch) -> Stretch:
        """What stands in the brackets around a stretch."""
        start, end = stretch
        if (
            start < end
            and self._place.pieces[start].is_sign("(", "{")
            and self._place.matches.get(start) == end - 1
        ):
            return start + 1, end - 1
        return stretch

    def _is_upright_d(self, start: int) -> bool:
        r"""Whether \mathrm{d} stands there."""
        last = self._place.after(start + 1)
        shown = [p.text for p in self._place.pieces[start + 1 : last] if not p.is_sign("{", "}")]
        return shown == ["d"]

    def _looks_derived(self, stretch: Stretch) -> bool:
        """Whether a stretch begins with a d or ∂."""
        place = self._place
        start, end = self._unbracketed(stretch)
        if start >= end:
            return False
        first = place.pieces[start]
        if first.is_sign("∂"):
            return True
        if first.mark is Mark.WORD and first.text[0] == "d":
            return not place.known.is_value(normalised(first.text)) or len(first.text) == 1
        if first.mark is Mark.STYLE and first.text in ("mathrm", "operatorname", "text"):
            return self._is_upright_d(start)
        return (
            first.mark is Mark.NAME
            and first.text in ("delta", "d")
            and end - start >= 2
            and place.pieces[start + 1].mark in (Mark.WORD, Mark.NAME, Mark.STYLE, Mark.COMMAND)
        )

    def _stripped(self, stretch: Stretch) -> Stretch | None:
        """What stands behind a d or ∂; None if there is none. A word dL is left as L."""
        place = self._place
        start, end = self._unbracketed(stretch)
        if start >= end:
            return None
        first = place.pieces[start]
        if first.is_sign("∂") or (first.mark is Mark.NAME and first.text in ("delta", "d")):
            return start + 1, end
        if first.mark is Mark.STYLE and first.text in ("mathrm", "operatorname", "text", "rm"):
            return (place.after(start + 1), end) if self._is_upright_d(start) else None
        if first.mark is Mark.WORD and first.text[0] == "d":
            if len(first.text) == 1:
                return start + 1, end
            place.pieces[start] = replace(first, text=first.text[1:], is_apart=False)
            return start, end
        return None

    # What they say

    def _quotient(self, over: Stretch, under: Stretch, after: int) -> Expression | None:
        """The derivative of what stands over by what stands under, and goes on after both."""
        place = self._place
        numerator, denominator = self._stripped(over), self._stripped(under)
        if numerator is None or denominator is None:
            return None
        order, start = self._order(*numerator)
        by = self._denominators(*denominator)
        if start < numerator[1]:
            of = self._formula.within(start, numerator[1])
            place.at = after
        else:
            # d/dx (x²): what follows is derived.
            place.at = after
            of = self._formula.power()
        order = max(order, len(by))
        by = by if len(by) == order else by * order
        return Derivative(of, tuple(by[:order]), order)

    def _order(self, start: int, end: int) -> tuple[int, int]:
        """The 2 of ∂²L, and where L begins."""
        place = self._place
        if start < end:
            piece = place.pieces[start]
            if piece.mark is Mark.SIGN and re.fullmatch(r"\^[2-4]", piece.text):
                return int(piece.text[1]), start + 1
            if piece.is_sign("^"):
                last = place.after(start + 1)
                digits = [p.text for p in place.pieces[start + 1 : last] if p.text.isdigit()]
                if len(digits) == 1 and digits[0] in "234":
                    return int(digits[0]), last
        return 1, start

    def _denominators(self, start: int, end: int) -> list[Name]:
        """The names of ∂w, ∂w², ∂w ∂b."""
        stretches = []
        first = start
        for at in range(start, end):
            if at > first and self._place.pieces[at].is_sign("∂"):
                stretches.append((first, at))
                first = at + 1
        stretches.append((first, end))
        names: list[Name] = []
        for one, other in stretches:
            found = self._formula.within(one, other)
            times = 1
            if isinstance(found, Binary) and found.operator is Operator.POWER:
                power = found.right
                if isinstance(power, Number) and power.text in ("2", "3", "4"):
                    found, times = found.left, int(power.text)
            names += [self._by_name(found.of if isinstance(found, Transpose) else found)] * times
        return names

    def _by_name(self, found: Expression) -> Name:
        if not isinstance(found, Name):
            raise self._place.refuse("what is derived by is no name")
        return found
