"""Formula: sums of products of powers, by a reader that calls itself for what stands within."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thalweg._errors import FormulaError
from thalweg.symbolic._expression import Binary, Call, Expression, Name, Negative, Number, Operator
from thalweg.symbolic.paper._built import Built
from thalweg.symbolic.paper._derivatives import Derivatives
from thalweg.symbolic.paper._descent import Note
from thalweg.symbolic.paper._enclosed import Enclosed
from thalweg.symbolic.paper._functions import Functions
from thalweg.symbolic.paper._names import Names
from thalweg.symbolic.paper._nodes import CutNumber
from thalweg.symbolic.paper._pieces import Hand, Mark, Piece
from thalweg.symbolic.paper._place import Known, Place
from thalweg.symbolic.paper._powers import Powers
from thalweg.symbolic.paper._series import series
from thalweg.symbolic.paper._styled import Styled
from thalweg.symbolic.paper._words import Words

MAX_PIECES = 4000
"""Of one formula."""

_TIMES = {
    "*": Operator.TIMES, "/": Operator.OVER, "@": Operator.MATMUL, "⊙": Operator.ELEMENTWISE,
}  # fmt: skip


@dataclass(frozen=True)
class Written:
    """A member as it was read.

    Args:
        expression: the tree.
        notes: what braces below its parts say.
    """

    expression: Expression
    notes: tuple[Note, ...] = ()


def written(pieces: Sequence[Piece], known: Known, hand: Hand, is_tight: bool = False) -> Written:
    r"""Reads a formula from its pieces.

    Args:
        pieces: of one member of a chain.
        known: what names stand for; decides between f(x) and a(1 − a).
        hand: how the page is written.
        is_tight: reads a/2b as a/(2b), not as (a/2)b.

    Raises:
        FormulaError: where it cannot be read.
    """
    kept = list(pieces)
    while kept and (
        (kept[-1].mark is Mark.SIGN and kept[-1].text in ".?:`")
        or (kept[-1].is_sign("!") and not _is_factorial(kept))
        or (kept[-1].mark is Mark.COMMAND and kept[-1].text in ("left.", "right."))
    ):
        kept.pop()
    if not kept:
        raise FormulaError("nothing stands here")
    if len(kept) > MAX_PIECES:
        raise FormulaError(f"the formula is longer than {MAX_PIECES:,} signs")
    formula = Formula(Place(kept, known, hand), is_tight)
    return Written(formula.whole(), tuple(formula.notes))


def _is_factorial(pieces: Sequence[Piece]) -> bool:
    """Whether the ! at the end belongs to a whole number or to brackets before it."""
    before = pieces[-2] if len(pieces) > 1 else None
    if before is None or pieces[-1].is_apart:
        return False
    return before.is_sign(")", "}") or (before.mark is Mark.NUMBER and before.text.isdigit())


class Formula:
    """Reads pieces from a place to an end.

    Args:
        place: where it begins.
        is_tight: reads a/2b as a/(2b).

    Attributes:
        notes: what braces below its parts say, as far as it was read.
    """

    def __init__(self, place: Place, is_tight: bool) -> None:
        self.place = place
        self.notes: list[Note] = []
        self._is_tight = is_tight
        names = Names(place)
        functions = Functions(self, names)
        derivatives = Derivatives(self, names)
        self._names, self._functions, self._derivatives = names, functions, derivatives
        self._powers = Powers(self, names)
        self._enclosed = Enclosed(self)
        self._words = Words(place, names, functions, derivatives)
        self._styled = Styled(self, names, functions, derivatives)
        self._built = Built(self, names, functions, derivatives)

    def within(self, start: int, end: int) -> Expression:
        """What stands from one place to another, as a formula of its own."""
        place = self.place
        at, last = place.at, place.end
        place.deepen()
        place.at, place.end = start, end
        try:
            return self.whole()
        finally:
            place.at, place.end = at, last
            place.emerge()

    # Sums, products, powers

    def whole(self) -> Expression:
        """Everything up to the end."""
        found = self._sum()
        if self.place.at < self.place.end:
            raise self.place.refuse()
        return found

    def _sum(self) -> Expression:
        found = self.product()
        while self.place.stands("+", "-"):
            operator = Operator.PLUS if self.place.stands("+") else Operator.MINUS
            self.place.at += 1
            found = Binary(operator, found, self.product())
        return found

    def product(self) -> Expression:
        """Factors from here on."""
        place = self.place
        found = self._factor()
        while (now := place.now) is not None:
            if now.mark is Mark.SIGN and now.text in _TIMES:
                place.at += 1
                right = self._factor()
                if now.text == "/" and self._is_tight:
                    right = self._with_factors(right)
                found = Binary(_TIMES[now.text], found, right)
            elif now.is_sign("⊗"):
                place.at += 1
                found = Call("outer", (found, self._factor()))
            elif now.is_sign(":"):
                place.at += 1
                found = Binary(Operator.OVER, found, self._factor())
            elif place.is_cross():
                place.at += 1
                found = Binary(Operator.TIMES, found, self._factor())
            elif place.begins_factor():
                found = Binary(Operator.BESIDE, found, self._factor())
            else:
                break
        return found

    def _with_factors(self, found: Expression) -> Expression:
        """A factor with those that follow without a sign."""
        while self.place.begins_factor() and not self.place.is_cross():
            found = Binary(Operator.BESIDE, found, self._factor())
        return found

    def _factor(self) -> Expression:
        num_minus = num_signs = 0
        while self.place.stands("+", "-"):
            num_minus += self.place.stands("-")
            num_signs += 1
            self.place.at += 1
            if num_signs > 3:
                raise self.place.refuse("too many signs follow one another")
        found = self.power()
        return Negative(found) if num_minus % 2 else found

    def power(self) -> Expression:
        """One factor, with what stands above and below it."""
        return self._powers.raised(self.atom())

    # Atoms

    def group(self) -> Expression:
        """A group in braces, or one piece."""
        place = self.place
        if place.stands("{"):
            return self.within(*place.enclosed())
        now = place.now
        if now is not None and now.mark is Mark.WORD and not place.hand.is_plain:
            place.split(1)
            return Name(now.text[0])
        return self.atom()

    def atom(self) -> Expression:
        """One factor without what stands above and below it."""
        now = self.place.now
        if now is None:
            raise self.place.refuse()
        match now.mark:
            case Mark.NUMBER | Mark.CUT:
                self.place.at += 1
                return self._number(now)
            case Mark.WORD:
                return self._words.word(now)
            case Mark.NAME:
                self.place.at += 1
                return self._functions.after_name(self._names.indexed(now.text))
            case Mark.STYLE:
                return self._styled.styled(now)
            case Mark.COMMAND:
                return self._built.command(now)
            case Mark.OPEN:
                return self._enclosed.environment(now.text)
            case Mark.SIGN:
                return self._signed(now.text)
        raise self.place.refuse()

    def _number(self, piece: Piece) -> Expression:
        """A number; 1.5 · 10⁻⁴ is one number, whatever stands before it."""
        found = Number(piece.text) if piece.mark is Mark.NUMBER else CutNumber(piece.text)
        place = self.place
        if piece.text.isdigit() and (mixed := self._built.mixed(found)) is not None:
            return mixed
        ten, power = place.peek(), place.peek(2)
        if not (
            (place.stands("*") or place.is_cross())
            and ten is not None
            and ten.mark is Mark.NUMBER
            and ten.text == "10"
            and power is not None
            and power.mark is Mark.SIGN
            and power.text.startswith("^")
        ):
            return found
        place.at += 1
        return Binary(Operator.TIMES, found, self.power())

    def _signed(self, sign: str) -> Expression:
        match sign:
            case "(" | "[" | r"\{" | "{" | "⟨":
                return self._enclosed.bracketed()
            case "|" | "‖":
                return self._enclosed.barred(sign)
            case "⌊" | "⌈":
                inside = self.within(*self.place.enclosed())
                return Call("floor" if sign == "⌊" else "ceil", (inside,))
            case "∑" | "∏":
                return series(self)
            case "√":
                self.place.at += 1
                return Call("sqrt", (self.power(),))
            case "∂":
                return self._derivatives.partial()
            case "∇":
                return self._derivatives.nabla()
        raise self.place.refuse()
