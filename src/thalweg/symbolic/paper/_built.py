"""Built: fractions, roots, accents and braces, each a command before its groups."""

from __future__ import annotations

from thalweg.symbolic._expression import Array, Binary, Call, Expression, Name, Number, Operator
from thalweg.symbolic.paper._commands import ACCENTS
from thalweg.symbolic.paper._derivatives import Derivatives, Stretch
from thalweg.symbolic.paper._descent import Descent, Note
from thalweg.symbolic.paper._functions import COMMANDS, Functions
from thalweg.symbolic.paper._names import Names
from thalweg.symbolic.paper._nodes import Mixed
from thalweg.symbolic.paper._pieces import Mark, Piece

_FRACTIONS = frozenset(("frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac"))


class Built:
    """Reads what commands build up.

    Args:
        formula: in which they stand.
        names: by which an index is read.
        functions: by which arguments are read.
        derivatives: by which a fraction is one.
    """

    def __init__(
        self, formula: Descent, names: Names, functions: Functions, derivatives: Derivatives
    ) -> None:
        self._formula = formula
        self._place = formula.place
        self._names = names
        self._functions = functions
        self._derivatives = derivatives

    def command(self, command: Piece) -> Expression:
        """What the command that stands here builds."""
        text = command.text
        self._place.at += 1
        if text.startswith("frac "):
            _, over, under = text.split()
            return Binary(Operator.OVER, Number(over), Number(under))
        if text in _FRACTIONS:
            return self._fraction()
        if text == "sqrt":
            return self._root()
        if text in ACCENTS:
            return self._accented(ACCENTS[text])
        if text in COMMANDS:
            return self._functions.call(text)
        if text == "binom":
            first, second = self._formula.group(), self._formula.group()
            return Array((Array((first,)), Array((second,))))
        if text == "left.":
            # \left. … \right|_{…}: brackets of which one is not shown.
            end = self._bar_below()
            if end is None:
                return self._formula.power()
            found = self._formula.within(self._place.at, end)
            self._place.at = end
            return found
        if text in ("underbrace", "overbrace"):
            return self._braced()
        raise self._place.refuse(f"{text!r} is not understood here")

    def mixed(self, whole: Number) -> Expression | None:
        r"""The 2½ or 2\frac{1}{2} whose whole number has been taken; None if it is none."""
        place = self._place
        now = place.now
        if now is None or now.mark is not Mark.COMMAND or whole.text.startswith("0"):
            return None
        if now.text.startswith("frac "):
            return None if now.is_apart else Mixed(whole, self.command(now))
        if now.text not in _FRACTIONS:
            return None
        start = place.at
        found = self.command(now)
        is_proper = (
            isinstance(found, Binary)
            and isinstance(found.left, Number)
            and isinstance(found.right, Number)
            and found.left.text.isdigit()
            and found.right.text.isdigit()
            and 0 < found.left.value < found.right.value
        )
        if is_proper:
            return Mixed(whole, found, is_sure=False)
        place.at = start
        return None

    def _bar_below(self) -> int | None:
        r"""Where the bar stands that closes \left. and has something below it."""
        place, depth, num_open = self._place, 0, 0
        for at in range(place.at, place.end - 1):
            piece = place.pieces[at]
            if piece.is_sign("(", "[", "{"):
                depth += 1
            elif piece.is_sign(")", "]", "}"):
                depth -= 1
            elif piece.mark is Mark.COMMAND and piece.text == "left.":
                num_open += 1
            elif not depth and piece.is_sign("|") and place.pieces[at + 1].is_sign("_"):
                if not num_open:
                    return at
                num_open -= 1
            if depth < 0:
                return None
        return None

    def _fraction(self) -> Expression:
        place = self._place
        over = self._part()
        if over[1] - over[0] == 1 and place.pieces[over[0]].mark is Mark.NUMBER:
            digits = place.pieces[over[0]].text
            if len(digits) == 2 and digits.isdigit() and not place.stands("{"):
                # \frac12
                return Binary(Operator.OVER, Number(digits[0]), Number(digits[1]))
        under = self._part()
        derivative = self._derivatives.fraction(over, under)
        if derivative is not None:
            return derivative
        return Binary(Operator.OVER, self._formula.within(*over), self._formula.within(*under))

    def _part(self) -> Stretch:
        """Takes a group in braces or one piece, and says where it stands."""
        place = self._place
        now = place.now
        if now is None:
            raise place.refuse()
        if now.is_sign("{"):
            return place.enclosed()
        start = place.at
        if now.mark is Mark.WORD and len(now.text) > 1 and not place.hand.is_plain:
            place.part()
        place.at += 1
        return start, place.at

    def _root(self) -> Expression:
        if self._place.stands("["):
            degree = self._formula.within(*self._place.enclosed())
            power = Binary(Operator.OVER, Number("1"), degree)
            return Binary(Operator.POWER, self._formula.group(), power)
        return Call("sqrt", (self._formula.group(),))

    def _accented(self, accent: str) -> Expression:
        place = self._place
        end = place.after(place.at)
        inside = [
            p for p in place.pieces[place.at : min(end, place.end)]
            if not p.is_sign("{", "}") and p.mark is not Mark.STYLE
        ]  # fmt: skip
        first = inside[0] if inside else None
        if first is None or first.mark not in (Mark.WORD, Mark.NAME):
            raise place.refuse(f"what stands below the {accent} is no name")
        if not place.stands("{") and first.mark is Mark.WORD and len(first.text) > 1:
            place.split(1)
            return self._named(f"{first.text[0]}_{accent}")
        stem, *rest = (first.text,)
        if len(inside) > 1:
            group = self._formula.within(place.at + 1, end - 1)
            if not isinstance(group, Name):
                raise place.refuse(f"what stands below the {accent} is no name")
            stem, *rest = group.text.split("_")
        place.at = end
        return self._named("_".join((stem, accent, *rest)))

    def _named(self, stem: str) -> Expression:
        return self._functions.after_name(self._names.indexed(stem))

    def _braced(self) -> Expression:
        """What stands over a brace; what stands below it is noted."""
        place = self._place
        found = self._formula.group()
        while place.stands("_", "^"):
            end = place.after(place.at + 1)
            inside = place.pieces[place.at + 1 : end]
            if len(inside) > 2 and inside[0].is_sign("{"):
                inside = inside[1:-1]
            self._formula.notes.append(Note(found, tuple(inside)))
            place.at = end
        return found
