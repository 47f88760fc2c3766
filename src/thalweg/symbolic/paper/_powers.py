"""Powers: what stands above, below and behind a factor: x², Aᵀ, 5 %, (Wx)₁, f(x)|ₓ₌₂."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from thalweg.symbolic._expression import (
    Array,
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    Operator,
    Transpose,
)
from thalweg.symbolic.paper._descent import Descent
from thalweg.symbolic.paper._names import INDEX, Names
from thalweg.symbolic.paper._nodes import At, Entry, Percent
from thalweg.symbolic.paper._pieces import Mark, Piece
from thalweg.symbolic.paper._place import MAX_NESTING


class Powers:
    """Reads what belongs to a factor.

    Args:
        formula: in which it stands.
        names: by which an index is read.
    """

    def __init__(self, formula: Descent, names: Names) -> None:
        self._formula = formula
        self._place = formula.place
        self._known = formula.place.known
        self._names = names

    def raised(self, found: Expression) -> Expression:
        """A factor that has been taken, with all that stands above, below and behind it."""
        place = self._place
        num_powers = 0
        while (now := place.now) is not None and now.mark is Mark.SIGN:
            num_powers += 1
            if num_powers > MAX_NESTING:
                raise place.refuse("too many powers")
            if now.text == "ᵀ":
                place.at += 1
                found = Transpose(found)
            elif now.text == "^":
                found = self._superscript(found)
            elif now.text.startswith("^"):
                found = self._small_power(found, now.text[1:])
            elif now.text == "%":
                place.at += 1
                found = Percent(found)
            elif now.text == "°":
                place.at += 1
            elif now.text == "!":
                place.at += 1
                found = Call("factorial", (found,))
            elif now.text == "|" and (after := place.peek()) is not None and after.is_sign("_"):
                found = self._evaluated(found)
            elif now.text.startswith("_") and self._is_span():
                found = self._between(found)
            elif now.text == "_" or re.fullmatch(r"_\d+", now.text):
                found = self._entry(found)
            elif now.text == "'" and isinstance(found, Array | Transpose):
                place.at += 1
                found = Transpose(found)
            else:
                break
        return found

    def _superscript(self, found: Expression) -> Expression:
        place = self._place
        place.at += 1
        now = place.now
        if now is None:
            raise place.refuse()
        if now.is_sign("{"):
            start, end = place.enclosed()
            if _is_transposition(place.pieces[start:end]):
                return Transpose(found)
            exponent = self._formula.within(start, end)
        elif now.is_sign("ᵀ"):
            place.at += 1
            return Transpose(found)
        elif now.mark is Mark.WORD and now.text[0] == "T":
            place.split(1)
            return Transpose(found)
        elif now.mark is Mark.STYLE and _is_transposition(
            place.pieces[place.at : place.after(place.at + 1)]
        ):
            place.at = place.after(place.at + 1)
            return Transpose(found)
        elif now.mark is Mark.WORD and not place.hand.is_plain:
            # In LaTeX a power without braces is one letter.
            exponent = Name(now.text[0])
            place.split(1)
        else:
            place.deepen()
            exponent = self._signed_atom()
            place.emerge()
        return self._powered(found, exponent)

    def _signed_atom(self) -> Expression:
        if self._place.stands("-"):
            self._place.at += 1
            return Negative(self._formula.atom())
        return self._formula.atom()

    def _powered(self, found: Expression, exponent: Expression) -> Expression:
        if isinstance(found, Name) and found.text == "e" and not self._known.is_value("e"):
            return Call("exp", (exponent,))
        if isinstance(found, Name) and isinstance(exponent, Number) and exponent.text.isdigit():
            layered = f"{found.text}^{exponent.text}"
            if self._known.is_value(layered) and not self._known.is_value(found.text):
                return Name(layered)
        return Binary(Operator.POWER, found, exponent)

    def _small_power(self, found: Expression, text: str) -> Expression:
        """x², by a letter of its own."""
        self._place.at += 1
        index = text.strip("()")
        if text.startswith("(") and isinstance(found, Name) and INDEX.fullmatch(index):
            return Name(f"{found.text}^{index}")
        if re.fullmatch(r"[+-]?\d+", text):
            number: Expression = Number(text.lstrip("+-"))
            return self._powered(found, Negative(number) if text[0] == "-" else number)
        if re.fullmatch(r"[a-z]", text):
            return self._powered(found, Name(text))
        raise self._place.refuse(f"the power {text!r} is not understood")

    def _is_span(self) -> bool:
        """Whether [F(x)] stands before this, with a place below and one above it."""
        place = self._place
        before, now = place.peek(-1), place.now
        if before is None or now is None or not before.is_sign("]", "|"):
            return False
        end = place.after(place.at + 1) if now.text == "_" else place.at + 1
        return end < place.end and place.pieces[end].text.startswith("^")

    def _between(self, found: Expression) -> Expression:
        """[F(x)]ₐᵇ = F(b) − F(a), the letter being the only one in it."""
        place = self._place
        first = self._shifted()
        last = self._shifted()
        letters = found.names
        if len(letters) != 1:
            raise place.refuse("what is replaced between the bounds is not said")
        ends = [At(found, tuple(letters), (end,)) for end in (last, first)]
        return Binary(Operator.MINUS, *ends)

    def _shifted(self) -> Expression:
        """What stands below or above, as a formula."""
        place = self._place
        now = place.now
        assert now is not None, "a sign stands here"
        place.at += 1
        if now.text in ("_", "^"):
            return self._formula.group() if not place.stands("-") else self._signed_atom()
        if not now.text[1:].lstrip("-").isdigit():
            raise place.refuse("a bound that is not understood")
        number = Number(now.text[1:].lstrip("-"))
        return Negative(number) if now.text[1] == "-" else number

    def _entry(self, found: Expression) -> Expression:
        index = self._names.lowered()
        if not re.fullmatch(r"\d+(,\d+)?|\d{2}", index):
            raise self._place.refuse(f"the index {index!r} is not understood here")
        if isinstance(found, Call) and found.function in ("norm", "abs"):
            if index == "2":
                return found
            raise self._place.refuse("a norm other than ‖x‖ and ‖x‖₂")
        return Entry(found, tuple(map(int, index.split(","))))

    def _evaluated(self, found: Expression) -> Expression:
        """f(x)|_{x=2}."""
        place = self._place
        place.at += 1
        if self._is_span():
            return self._between(found)
        place.at += 1
        if place.stands("{"):
            start, end = place.enclosed()
        elif place.now is None:
            raise place.refuse("nothing stands below the bar")
        else:
            start, end = place.at, place.at + 1
            place.at = end
        breaks = [
            at for at in range(start, end)
            if place.pieces[at].mark is Mark.BREAK and place.pieces[at].text in ",;"
        ]  # fmt: skip
        stretches = list(pairwise((start - 1, *breaks, end)))
        names: list[str] = []
        values: list[Expression] = []
        for before, last in stretches:
            first = before + 1
            signs = place.relations(first, last)
            if len(signs) == 1:
                name = self._formula.within(first, signs[0])
                if not isinstance(name, Name):
                    raise place.refuse("what stands left of = below the bar is no name")
                names.append(name.text)
                values.append(self._formula.within(signs[0] + 1, last))
            elif not signs and len(stretches) == 1:
                names.append("")
                values.append(self._formula.within(first, last))
            else:
                raise place.refuse("what stands below the bar is not understood")
        return At(found, tuple(names), tuple(values))


def _is_transposition(inside: Sequence[Piece]) -> bool:
    shown = [p.text for p in inside if p.mark is not Mark.STYLE and not p.is_sign("{", "}")]
    return shown in (["T"], ["ᵀ"], ["t"], ["tr"])
