r"""Mathematics as people write it, LaTeX or plain, to expressions; nothing in it is ever run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from thalweg._errors import FormulaError
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
from thalweg.symbolic._paper_nodes import At, CutNumber, Derivative, Entry, Percent, Series
from thalweg.symbolic._paper_tokens import PROSE, Hand, Mark, Piece
from thalweg.symbolic._spelling import FUNCTIONS, GREEK, function_named, normalised

MAX_NESTING = 40
"""Brackets within brackets: what a parser that calls itself for each has stack for."""

MAX_PIECES = 4000
"""Of one formula."""

_TIMES = {
    "*": Operator.TIMES, "/": Operator.OVER, "@": Operator.MATMUL, "⊙": Operator.ELEMENTWISE,
}  # fmt: skip
_OPENING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", "⟨": "⟩"}
_CLOSING = frozenset(_OPENING.values())
_FRACTIONS = frozenset(("frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac"))
_ACCENTS = {
    "hat": "hat", "widehat": "hat", "bar": "bar", "overline": "bar", "tilde": "tilde",
    "widetilde": "tilde", "dot": "dot", "ddot": "ddot", "check": "check",
}  # fmt: skip
_COMMAND_FUNCTIONS = frozenset(
    [
        "tanh",
        "exp",
        "log",
        "ln",
        "lg",
        "max",
        "min",
        "sin",
        "cos",
        "tan",
        "sinh",
        "cosh",
        "det",
        "tr",
        "arctan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "coth",
    ]
)
_WORD_FUNCTIONS = frozenset(
    [
        "sgn",
        "sign",
        "diag",
        "trace",
        "tr",
        "det",
        "lg",
        "ld",
        "lb",
        "log10",
        "log2",
        "step",
        "heaviside",
        "sech",
        "atan",
        "arctan",
        "asin",
        "acos",
        "artanh",
        "softsign",
        "transpose",
    ]
)
_FUNCTION_LETTERS = frozenset(
    [
        "f",
        "g",
        "F",
        "G",
        "J",
        "L",
        "E",
        "C",
        "Q",
        "R",
        "l",
        "loss",
        "cost",
        "error",
        "phi",
        "psi",
        "Phi",
        "varphi",
        "ell",
        "act",
        "activation",
    ]
)
_MATRICES = frozenset(
    ["matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array", "psmallmatrix"]
)
_ALIGNED = frozenset(
    [
        "align",
        "aligned",
        "split",
        "gather",
        "gathered",
        "equation",
        "eqnarray",
        "multline",
        "multlined",
        "alignat",
        "alignedat",
        "displaymath",
        "math",
        "flalign",
        "subequations",
        "center",
    ]
)
_WHOLE = frozenset(["mathrm", "operatorname", "mathop", "mathit", "mathsf", "mathtt", "text"])
_INDEX = re.compile(r"\d+|[a-zA-Z]([+-]\d+)?|new|old|neu|alt")


@runtime_checkable
class Known(Protocol):
    """What names stand for, as far as a page has said so."""

    def is_value(self, name: str) -> bool:
        """Whether it is a number, a vector or a matrix."""

    def is_function(self, name: str) -> bool:
        """Whether it is a function that has been defined."""


@dataclass(frozen=True)
class Member:
    """What stands between two relations.

    Args:
        relation: before it; "" for the first.
        pieces: what it is written with.
    """

    relation: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Note:
    """What is written below a brace.

    Args:
        of: the expression over it.
        pieces: the note.
    """

    of: Expression
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Written:
    """A member as it was read.

    Args:
        expression: the tree.
        notes: what braces below its parts say.
    """

    expression: Expression
    notes: tuple[Note, ...] = ()


def chains_of(pieces: Sequence[Piece]) -> list[list[Member]]:
    """Divides written mathematics into chains a = b ≈ c, over rows and sums that go on.

    Args:
        pieces: of one stretch of mathematics.

    Returns:
        The members of each chain, in order; a chain of one member has no relation.
    """
    return _Divider(_stacked(pieces)).divide()


def _stacked(pieces: Sequence[Piece]) -> list[Piece]:
    r"""\overset{(1)}{=} is =."""
    found: list[Piece] = []
    at = 0
    while at < len(pieces):
        piece = pieces[at]
        if piece.mark is Mark.RELATION and piece.text == "stackrel":
            end, relation = at + 1, "="
            for _ in range(2):
                start = end
                end = _after(pieces, start)
                inside = [p.text for p in pieces[start:end] if p.mark is Mark.RELATION]
                relation = inside[-1] if inside else relation
            found.append(Piece(Mark.RELATION, relation, piece.start, pieces[end - 1].end, True))
            at = end
            continue
        if piece.mark is Mark.COMMAND and piece.text == "right.":
            end = _reopened(pieces, at + 1)
            if end:
                at = end
                continue
        found.append(piece)
        at += 1
    return found


def _reopened(pieces: Sequence[Piece], at: int) -> int:
    r"""The place after \right. \\ \left., by which a bracket goes on in the next row; 0 if none."""
    while at < len(pieces) and pieces[at].mark in (Mark.ROW, Mark.BREAK, Mark.CELL):
        at += 1
    is_left = at < len(pieces) and pieces[at].mark is Mark.COMMAND and pieces[at].text == "left."
    return at + 1 if is_left else 0


def _after(pieces: Sequence[Piece], at: int) -> int:
    """The place after the group or piece that stands at a place."""
    if at >= len(pieces) or not pieces[at].is_sign("{"):
        return min(at + 1, len(pieces))
    depth = 0
    for place in range(at, len(pieces)):
        depth += pieces[place].is_sign("{") - pieces[place].is_sign("}")
        if depth == 0:
            return place + 1
    return len(pieces)


def matches_of(pieces: Sequence[Piece]) -> dict[int, int]:
    """For each bracket and environment that is closed, where; and the other way round."""
    matches: dict[int, int] = {}
    waiting: list[int] = []
    for at, piece in enumerate(pieces):
        if piece.mark is Mark.OPEN and piece.text not in _ALIGNED:
            waiting.append(at)
        elif piece.mark is Mark.CLOSE and piece.text not in _ALIGNED:
            while waiting and pieces[waiting[-1]].mark is not Mark.OPEN:
                waiting.pop()
            if waiting:
                _pair(matches, waiting.pop(), at)
        elif piece.mark is Mark.SIGN and piece.text in _OPENING:
            waiting.append(at)
        elif piece.mark is Mark.SIGN and piece.text in _CLOSING and waiting:
            top = pieces[waiting[-1]]
            if piece.text == "}":
                # A brace closes a brace: round brackets within it that were left open are lost.
                while waiting and not pieces[waiting[-1]].is_sign("{"):
                    if pieces[waiting[-1]].mark is Mark.OPEN:
                        break
                    waiting.pop()
                if waiting and pieces[waiting[-1]].is_sign("{"):
                    _pair(matches, waiting.pop(), at)
            elif top.mark is Mark.SIGN and top.text != "{":
                _pair(matches, waiting.pop(), at)
    return matches


def _pair(matches: dict[int, int], opening: int, closing: int) -> None:
    matches[opening], matches[closing] = closing, opening


class _Divider:
    """Walks over pieces outside of brackets, and cuts at relations and ends of statements."""

    def __init__(self, pieces: list[Piece]) -> None:
        self._pieces = pieces
        self._matches = matches_of(pieces)
        self._chains: list[list[Member]] = []
        self._chain: list[Member] = []
        self._relation = ""
        self._member: list[Piece] = []
        self._is_broken = False
        self._was_row = False

    def divide(self) -> list[list[Member]]:
        at = 0
        while at < len(self._pieces):
            piece = self._pieces[at]
            end = self._matches.get(at, at)
            if end > at:
                self._take(self._pieces[at : end + 1])
                at = end + 1
                continue
            self._step(piece, at)
            at += 1
        self._end_chain()
        return self._chains

    def _step(self, piece: Piece, at: int) -> None:
        if piece.mark in (Mark.OPEN, Mark.CLOSE):
            # The environments that only align: what follows one is another statement.
            if piece.text not in _ALIGNED:
                self._take([piece])
            else:
                self._was_row = False
                self._is_broken = bool(self._chain or self._member)
        elif piece.mark is Mark.RELATION:
            self._is_broken = self._was_row = False
            if not self._member and not self._chain:
                # A relation at the beginning goes on with what stands before on the page.
                self._chain.append(Member("", ()))
            elif self._member or self._relation:
                self._end_member()
            self._relation = piece.text
        elif piece.mark is Mark.ROW:
            if not self._goes_on_after():
                self._is_broken = True
            self._was_row = True
        elif piece.mark is Mark.CELL:
            self._cell(at)
        elif piece.mark is Mark.BREAK and piece.text == "quad" and self._was_row:
            pass
        elif piece.mark in (Mark.BREAK, Mark.TEXT):
            self._is_broken = True
            self._was_row = False
        elif piece.is_sign(":") and not self._is_division(at):
            # "Forward pass: z = …", "k = 1: w = …"
            self._is_broken = True
            self._was_row = False
        else:
            self._take([piece])

    def _cell(self, at: int) -> None:
        following = self._following(at)
        if following is None or following.mark is Mark.RELATION or not self._chain:
            return
        if following.mark is Mark.SIGN and following.text in "+-*/⊙@":
            if self._is_broken and self._was_row:
                self._is_broken = False
            return
        if self._relation and not self._member:
            return
        self._is_broken = True

    def _following(self, at: int) -> Piece | None:
        for piece in self._pieces[at + 1 : at + 4]:
            if piece.mark is not Mark.CELL and not (
                piece.mark is Mark.BREAK and piece.text == "quad"
            ):
                return piece
        return None

    def _is_division(self, at: int) -> bool:
        """Whether a colon divides: 6 : 2, with a space before it and numbers around it."""
        before = self._pieces[at - 1] if at else None
        after = self._pieces[at + 1] if at + 1 < len(self._pieces) else None
        return (
            before is not None
            and after is not None
            and self._pieces[at].is_apart
            and (before.mark is Mark.NUMBER or before.is_sign(")"))
            and (after.mark is Mark.NUMBER or after.is_sign("(", "-"))
        )

    def _goes_on_after(self) -> bool:
        """Whether a row ends where more must come: after an operator or a relation."""
        if not self._member:
            return bool(self._relation)
        last = self._member[-1]
        return last.mark is Mark.SIGN and last.text in "+-*/⊙@"

    def _take(self, pieces: Sequence[Piece]) -> None:
        if self._is_broken:
            first = pieces[0]
            goes_on = self._was_row and first.mark is Mark.SIGN and first.text in "+*/⊙@"
            if not goes_on:
                self._end_chain()
            self._is_broken = False
        self._was_row = False
        self._member.extend(pieces)

    def _end_member(self) -> None:
        self._chain.append(Member(self._relation, tuple(self._member)))
        self._member = []
        self._relation = ""

    def _end_chain(self) -> None:
        if self._member or self._relation:
            self._end_member()
        if self._chain:
            self._chains.append(self._chain)
        self._chain = []


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
        (kept[-1].mark is Mark.SIGN and kept[-1].text in ".?!:`")
        or (kept[-1].mark is Mark.COMMAND and kept[-1].text in ("left.", "right."))
    ):
        kept.pop()
    if not kept:
        raise FormulaError("nothing stands here")
    if len(kept) > MAX_PIECES:
        raise FormulaError(f"the formula is longer than {MAX_PIECES:,} signs")
    parser = _Parser(kept, known, hand, is_tight)
    expression = parser.whole()
    return Written(expression, tuple(parser.notes))


class _Parser:
    """Reads pieces from a place to an end; calls itself for what stands in brackets."""

    def __init__(self, pieces: list[Piece], known: Known, hand: Hand, is_tight: bool) -> None:
        self._pieces = pieces
        self._matches = matches_of(pieces)
        self._known = known
        self._hand = hand
        self._is_tight = is_tight
        self._at = 0
        self._end = len(pieces)
        self._nesting = 0
        self.notes: list[Note] = []

    # Places

    @property
    def _now(self) -> Piece | None:
        return self._pieces[self._at] if self._at < self._end else None

    def _peek(self, by: int = 1) -> Piece | None:
        at = self._at + by
        return self._pieces[at] if at < self._end else None

    def _is(self, *signs: str) -> bool:
        return self._now is not None and self._now.is_sign(*signs)

    def _refuse(self, why: str = "") -> FormulaError:
        if why:
            return FormulaError(why)
        if self._now is None:
            return FormulaError("the formula ends where a number or a name is expected")
        return FormulaError(f"{self._now.text!r} is not understood here")

    def _within(self, start: int, end: int) -> Expression:
        """Reads what stands from one place to another."""
        at, last = self._at, self._end
        self._nest()
        self._at, self._end = start, end
        try:
            return self.whole()
        finally:
            self._at, self._end = at, last
            self._nesting -= 1

    def _nest(self) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise FormulaError(f"brackets are nested more than {MAX_NESTING} deep")

    def _closing(self) -> int:
        """Where the bracket that opens here is closed."""
        closing = self._matches.get(self._at)
        if closing is None or closing >= self._end or closing < self._at:
            raise self._refuse("a bracket is not closed")
        return closing

    # Sums, products, powers

    def whole(self) -> Expression:
        found = self._sum()
        if self._at < self._end:
            raise self._refuse()
        return found

    def _sum(self) -> Expression:
        found = self._product()
        while self._is("+", "-"):
            assert self._now is not None, "a sign stands here"
            operator = Operator.PLUS if self._now.text == "+" else Operator.MINUS
            self._at += 1
            found = Binary(operator, found, self._product())
        return found

    def _product(self) -> Expression:
        found = self._factor()
        while self._now is not None:
            now = self._now
            if now.mark is Mark.SIGN and now.text in _TIMES:
                self._at += 1
                right = self._factor()
                if now.text == "/" and self._is_tight:
                    right = self._beside(right)
                found = Binary(_TIMES[now.text], found, right)
            elif now.is_sign("⊗"):
                self._at += 1
                found = Call("outer", (found, self._factor()))
            elif now.is_sign(":"):
                self._at += 1
                found = Binary(Operator.OVER, found, self._factor())
            elif self._is_cross():
                self._at += 1
                found = Binary(Operator.TIMES, found, self._factor())
            elif self._begins_factor():
                found = Binary(Operator.BESIDE, found, self._factor())
            else:
                break
        return found

    def _beside(self, found: Expression) -> Expression:
        while self._begins_factor() and not self._is_cross():
            found = Binary(Operator.BESIDE, found, self._factor())
        return found

    def _is_cross(self) -> bool:
        """Whether a letter x stands for ×: 4 x 1.5."""
        now, before, after = self._now, self._peek(-1), self._peek()
        return (
            now is not None
            and now.mark is Mark.WORD
            and now.text in ("x", "X")
            and now.is_apart
            and before is not None
            and after is not None
            and (before.mark is Mark.NUMBER or before.is_sign(")"))
            and (after.mark is Mark.NUMBER or after.is_sign("("))
            and after.is_apart
        )

    def _begins_factor(self) -> bool:
        now = self._now
        if now is None:
            return False
        if now.mark is Mark.SIGN:
            if now.text == "|":
                return self._bar_closes("|") is not None
            if now.text == "‖":
                return self._bar_closes("‖") is not None
            return now.text in ("(", "[", "{", r"\{", "∑", "∏", "∂", "∇", "√", "⟨")
        if now.mark is Mark.NUMBER:
            before = self._peek(-1)
            # 2 3 is no product, but (2) 3 and x 3 may be.
            return before is not None and before.is_sign(")", "}", "]", "|", "‖")
        return now.mark in (Mark.WORD, Mark.NAME, Mark.STYLE, Mark.OPEN) or (
            now.mark is Mark.COMMAND and now.text not in ("left.", "right.")
        )

    def _factor(self) -> Expression:
        num_minus = num_signs = 0
        while self._is("+", "-"):
            num_minus += self._is("-")
            num_signs += 1
            self._at += 1
            if num_signs > 3:
                raise self._refuse("too many signs follow one another")
        found = self._power()
        return Negative(found) if num_minus % 2 else found

    def _power(self) -> Expression:
        return self._raised(self._atom())

    def _raised(self, found: Expression) -> Expression:
        num_powers = 0
        while (now := self._now) is not None and now.mark is Mark.SIGN:
            num_powers += 1
            if num_powers > MAX_NESTING:
                raise self._refuse("too many powers")
            if now.text == "ᵀ":
                self._at += 1
                found = Transpose(found)
            elif now.text == "^":
                found = self._superscript(found)
            elif now.text.startswith("^"):
                found = self._unicode_power(found, now.text[1:])
            elif now.text == "%":
                self._at += 1
                found = Percent(found)
            elif now.text == "°":
                self._at += 1
            elif now.text == "|" and (after := self._peek()) is not None and after.is_sign("_"):
                found = self._evaluated(found)
            elif now.text == "_" or re.fullmatch(r"_\d+", now.text):
                found = self._entry(found)
            elif now.text == "'" and isinstance(found, Array | Transpose):
                self._at += 1
                found = Transpose(found)
            else:
                break
        return found

    def _superscript(self, found: Expression) -> Expression:
        self._at += 1
        now = self._now
        if now is None:
            raise self._refuse()
        if now.is_sign("{"):
            closing = self._closing()
            inside = self._pieces[self._at + 1 : closing]
            if self._is_transposition(inside):
                self._at = closing + 1
                return Transpose(found)
            exponent = self._within(self._at + 1, closing)
            self._at = closing + 1
        elif now.is_sign("ᵀ"):
            self._at += 1
            return Transpose(found)
        elif now.mark is Mark.WORD and now.text[0] == "T":
            self._split(1)
            return Transpose(found)
        elif now.mark is Mark.STYLE and self._is_transposition(
            self._pieces[self._at : _after(self._pieces, self._at + 1)]
        ):
            self._at = _after(self._pieces, self._at + 1)
            return Transpose(found)
        elif now.mark is Mark.WORD and not self._hand.is_plain:
            # In LaTeX a power without braces is one letter.
            exponent = Name(now.text[0])
            self._split(1)
        else:
            self._nest()
            exponent = self._factor_of_power()
            self._nesting -= 1
        return self._powered(found, exponent)

    def _factor_of_power(self) -> Expression:
        if self._is("-"):
            self._at += 1
            return Negative(self._atom())
        return self._atom()

    def _powered(self, found: Expression, exponent: Expression) -> Expression:
        if isinstance(found, Name) and found.text == "e" and not self._known.is_value("e"):
            return Call("exp", (exponent,))
        if isinstance(found, Name) and isinstance(exponent, Number) and exponent.text.isdigit():
            layered = f"{found.text}^{exponent.text}"
            if self._known.is_value(layered) and not self._known.is_value(found.text):
                return Name(layered)
        return Binary(Operator.POWER, found, exponent)

    def _unicode_power(self, found: Expression, text: str) -> Expression:
        self._at += 1
        index = text.strip("()")
        if text.startswith("(") and isinstance(found, Name) and _INDEX.fullmatch(index):
            return Name(f"{found.text}^{index}")
        if re.fullmatch(r"[+-]?\d+", text):
            number: Expression = Number(text.lstrip("+-"))
            return self._powered(found, Negative(number) if text[0] == "-" else number)
        if re.fullmatch(r"[a-z]", text):
            return self._powered(found, Name(text))
        raise self._refuse(f"the power {text!r} is not understood")

    def _is_transposition(self, inside: Sequence[Piece]) -> bool:
        shown = [p.text for p in inside if p.mark is not Mark.STYLE and not p.is_sign("{", "}")]
        return shown in (["T"], ["ᵀ"], ["t"], ["tr"])

    def _split(self, length: int) -> None:
        """Takes the first letters of a word, and leaves the others."""
        now = self._pieces[self._at]
        if len(now.text) > length:
            self._pieces[self._at] = replace(now, text=now.text[length:], is_apart=False)
        else:
            self._at += 1

    def _entry(self, found: Expression) -> Expression:
        index = self._lowered()
        if not re.fullmatch(r"\d+(,\d+)?|\d{2}", index):
            raise self._refuse(f"the index {index!r} is not understood here")
        if isinstance(found, Call) and found.function in ("norm", "abs"):
            if index == "2":
                return found
            raise self._refuse("a norm other than ‖x‖ and ‖x‖₂")
        places = tuple(map(int, index.split(",")))
        return Entry(found, places)

    def _evaluated(self, found: Expression) -> Expression:
        """f(x)|_{x=2}."""
        self._at += 2
        start = self._at
        if self._is("{"):
            start, end = self._at + 1, self._closing()
            self._at = end + 1
        elif self._now is None:
            raise self._refuse("nothing stands below the bar")
        else:
            self._at += 1
            end = self._at
        names: list[str] = []
        values: list[Expression] = []
        first = start
        for place in range(start, end + 1):
            piece = self._pieces[place] if place < end else None
            if piece is not None and not (piece.mark is Mark.BREAK and piece.text in ",;"):
                continue
            signs = [i for i in range(first, place) if self._pieces[i].mark is Mark.RELATION]
            if len(signs) == 1:
                name = self._within(first, signs[0])
                if not isinstance(name, Name):
                    raise self._refuse("what stands left of = below the bar is no name")
                names.append(name.text)
                values.append(self._within(signs[0] + 1, place))
            elif not signs and first == start and place == end:
                names.append("")
                values.append(self._within(first, place))
            else:
                raise self._refuse("what stands below the bar is not understood")
            first = place + 1
        return At(found, tuple(names), tuple(values))

    # Atoms

    def _atom(self) -> Expression:
        now = self._now
        if now is None:
            raise self._refuse()
        if now.mark in (Mark.NUMBER, Mark.CUT):
            self._at += 1
            found = Number(now.text) if now.mark is Mark.NUMBER else CutNumber(now.text)
            return self._scientific(found)
        if now.mark is Mark.WORD:
            return self._word(now)
        if now.mark is Mark.NAME:
            return self._after_name(self._letter(now))
        if now.mark is Mark.STYLE:
            return self._styled(now)
        if now.mark is Mark.COMMAND:
            return self._command(now)
        if now.mark is Mark.OPEN:
            return self._environment(now)
        if now.mark is Mark.SIGN:
            return self._signed(now)
        raise self._refuse()

    def _scientific(self, found: Number) -> Expression:
        """1.5 · 10⁻⁴ is one number, whatever stands before it."""
        ten, power = self._peek(), self._peek(2)
        if not (
            (self._is("*") or self._is_cross())
            and ten is not None
            and ten.mark is Mark.NUMBER
            and ten.text == "10"
            and power is not None
            and power.mark is Mark.SIGN
            and power.text.startswith("^")
        ):
            return found
        self._at += 1
        return Binary(Operator.TIMES, found, self._power())

    def _signed(self, now: Piece) -> Expression:
        if now.text in ("(", "[", r"\{", "{", "⟨"):
            return self._bracketed()
        if now.text in ("|", "‖"):
            return self._barred(now.text)
        if now.text in ("∑", "∏"):
            return self._series(now.text == "∏")
        if now.text == "√":
            self._at += 1
            return Call("sqrt", (self._power(),))
        if now.text == "∂":
            return self._partial()
        if now.text == "∇":
            return self._nabla()
        raise self._refuse()

    def _bracketed(self) -> Expression:
        closing = self._closing()
        start, self._at = self._at + 1, closing + 1
        is_group = self._pieces[start - 1].is_sign("{")
        return self._tuple(start, closing, is_group)

    def _tuple(self, start: int, end: int, is_group: bool) -> Expression:
        """What stands in brackets: an expression, or numbers beside one another."""
        rows = self._divided(start, end, {";"}, {Mark.ROW})
        cells = [self._divided(first, last, {","}, {Mark.CELL}) for first, last in rows]
        if all(first == last for row in cells for first, last in row):
            raise self._refuse("brackets with nothing in them")
        if len(rows) == 1 and len(cells[0]) == 1:
            beside = None if is_group else self._beside_one_another(start, end)
            if beside is not None:
                return beside
            found = self._within(start, end)
            opening = self._pieces[start - 1]
            if opening.is_sign("[") and isinstance(found, Array) and len(found.shape) == 1:
                return Array((found,))
            return found
        if len(rows) > 1 and rows[-1][0] == rows[-1][1]:
            cells.pop()
        read = [[self._within(first, last) for first, last in row] for row in cells]
        if len(read) == 1:
            return Array(tuple(read[0]))
        if all(len(row) == 1 for row in read):
            return Array(tuple(row[0] for row in read))
        return Array(tuple(Array(tuple(row)) for row in read))

    def _divided(
        self, start: int, end: int, breaks: set[str], marks: set[Mark]
    ) -> list[tuple[int, int]]:
        """The stretches between breaks that stand outside of further brackets."""
        found: list[tuple[int, int]] = []
        first = at = start
        while at < end:
            closing = self._matches.get(at, at)
            if at < closing < end:
                at = closing + 1
                continue
            piece = self._pieces[at]
            if piece.mark in marks or (piece.mark is Mark.BREAK and piece.text in breaks):
                found.append((first, at))
                first = at + 1
            at += 1
        found.append((first, end))
        return found

    def _beside_one_another(self, start: int, end: int) -> Array | None:
        """[0.1 -0.2]: numbers divided by spaces only."""
        numbers: list[Expression] = []
        sign = False
        at = start
        while at < end:
            piece = self._pieces[at]
            if piece.mark is Mark.BREAK and piece.text == "quad":
                at += 1
                continue
            if piece.is_sign("-") and not sign and (piece.is_apart or at == start):
                following = self._pieces[at + 1] if at + 1 < end else None
                if following is None or following.is_apart:
                    return None
                sign = True
            elif piece.mark is Mark.NUMBER:
                number: Expression = Number(piece.text)
                numbers.append(Negative(number) if sign else number)
                sign = False
            else:
                return None
            at += 1
        return Array(tuple(numbers)) if len(numbers) > 1 else None

    def _bar_closes(self, bar: str) -> int | None:
        """Where the bar that opens here is closed; None if it opens nothing."""
        at = self._at + 1
        while at < self._end:
            piece = self._pieces[at]
            if piece.is_sign(bar):
                after = self._pieces[at + 1] if at + 1 < self._end else None
                if bar == "|" and after is not None and after.is_sign("_"):
                    return None
                return at if at > self._at + 1 else None
            at = max(self._matches.get(at, at), at) + 1
        return None

    def _barred(self, bar: str) -> Expression:
        closing = self._bar_closes(bar)
        if closing is None:
            raise self._refuse("a bar is not closed")
        inside = self._within(self._at + 1, closing)
        self._at = closing + 1
        return Call("abs" if bar == "|" else "norm", (inside,))

    def _environment(self, now: Piece) -> Expression:
        closing = self._closing()
        start, self._at = self._at + 1, closing + 1
        if now.text not in _MATRICES and now.text not in ("vmatrix", "Vmatrix"):
            raise self._refuse(f"\\begin{{{now.text}}} is not read")
        rows = self._divided(start, closing, set(), {Mark.ROW})
        if len(rows) > 1 and rows[-1][0] == rows[-1][1]:
            rows.pop()
        read = [
            [
                self._within(first, last)
                for first, last in self._divided(first_of_row, last_of_row, {","}, {Mark.CELL})
            ]
            for first_of_row, last_of_row in rows
        ]
        array = Array(tuple(Array(tuple(row)) for row in read))
        if now.text == "vmatrix":
            return Call("det", (array,))
        return Call("norm", (array,)) if now.text == "Vmatrix" else array

    def _series(self, is_product: bool) -> Expression:
        self._at += 1
        index, first, last = "", None, None
        for _ in range(2):
            if self._is("_"):
                index, first = self._running()
            elif self._now is not None and self._now.is_sign("^"):
                self._at += 1
                last = self._group()
            elif self._now is not None and re.fullmatch(r"_[a-z]", self._now.text):
                index = self._now.text[1:]
                self._at += 1
        term = self._product()
        return Series(index, first, last, term, is_product)

    def _running(self) -> tuple[str, Expression | None]:
        """The i = 1 below a sum."""
        self._at += 1
        if not self._is("{"):
            now = self._now
            if now is None or now.mark is not Mark.WORD:
                raise self._refuse()
            index = now.text[0]
            self._split(1)
            return index, None
        closing = self._closing()
        start, self._at = self._at + 1, closing + 1
        inside = self._pieces[start:closing]
        if not inside or inside[0].mark is not Mark.WORD or len(inside[0].text) != 1:
            raise self._refuse("the index of a sum is not understood")
        if len(inside) == 1:
            return inside[0].text, None
        if inside[1].mark is not Mark.RELATION or inside[1].text != "=":
            raise self._refuse("the index of a sum is not understood")
        return inside[0].text, self._within(start + 2, closing)

    def _group(self) -> Expression:
        """A group in braces, or one piece."""
        if self._is("{"):
            closing = self._closing()
            found = self._within(self._at + 1, closing)
            self._at = closing + 1
            return found
        now = self._now
        if now is not None and now.mark is Mark.WORD and not self._hand.is_plain:
            self._split(1)
            return Name(now.text[0])
        return self._atom()

    # Derivatives

    def _partial(self) -> Expression:
        """∂L/∂w on one line, or ∂_w L."""
        if (
            (after := self._peek()) is not None
            and after.mark is Mark.SIGN
            and (after.text == "_" or after.text.startswith("_"))
        ):
            self._at += 1
            by = Name(self._lowered())
            return Derivative(self._power(), (by,))
        slash = self._slash()
        if slash is None:
            raise self._refuse("∂ without a denominator")
        over = self._stripped(self._at, slash)
        end = self._end_of_denominator(slash + 1)
        under = self._stripped(slash + 1, end)
        if over is None or under is None:
            raise self._refuse("∂ without a denominator")
        return self._derivative(over, under, end)

    def _slash(self) -> int | None:
        at = self._at + 1
        while at < self._end:
            piece = self._pieces[at]
            if piece.is_sign("/"):
                return at
            if piece.is_sign("+", "-", "*", "⊙", "@"):
                return None
            at = max(self._matches.get(at, at), at) + 1
        return None

    def _end_of_denominator(self, at: int) -> int:
        """∂w_1, dw², ∂W^{(1)}: the d, a name, what stands below and above it."""
        is_open = self._pieces[at].is_sign("(") if at < self._end else False
        if is_open and at in self._matches:
            return self._matches[at] + 1
        start = at
        while at < self._end:
            piece = self._pieces[at]
            if piece.is_sign("^", "_"):
                at = _after(self._pieces, at + 1)
            elif piece.mark is Mark.SIGN and re.match(r"[_^].|'", piece.text):
                at += 1
            elif piece.mark is Mark.STYLE or (
                piece.mark is Mark.COMMAND and piece.text in _ACCENTS
            ):
                at = _after(self._pieces, at + 1)
            elif (
                (piece.is_sign("∂") and (at == start or not piece.is_apart))
                or (
                    piece.mark in (Mark.WORD, Mark.NAME)
                    and (
                        at == start
                        or self._pieces[at - 1].is_sign("∂")
                        or not piece.is_apart
                        or (at == start + 1 and self._pieces[start].text in ("d", "delta"))
                    )
                )
                or (
                    piece.mark is Mark.NUMBER
                    and not piece.is_apart
                    and at > start
                    and self._pieces[at - 1].mark in (Mark.WORD, Mark.NAME)
                )
            ):
                at += 1
            else:
                break
        return min(at, self._end)

    def _stripped(self, start: int, end: int) -> tuple[int, int] | None:
        """What stands behind a d or ∂; None if there is none. A word dL is left as L."""
        if (
            start < end
            and self._pieces[start].is_sign("(", "{")
            and (self._matches.get(start) == end - 1)
        ):
            start, end = start + 1, end - 1
        if start >= end:
            return None
        first = self._pieces[start]
        if first.is_sign("∂") or (first.mark is Mark.NAME and first.text == "delta"):
            return start + 1, end
        if first.mark is Mark.NAME and first.text == "d":
            return start + 1, end
        if first.mark is Mark.STYLE and first.text in ("mathrm", "operatorname", "text", "rm"):
            last = _after(self._pieces, start + 1)
            shown = [p.text for p in self._pieces[start + 1 : last] if not p.is_sign("{", "}")]
            return (last, end) if shown == ["d"] else None
        if first.mark is Mark.WORD and first.text[0] == "d":
            if len(first.text) > 1:
                self._pieces[start] = replace(first, text=first.text[1:], is_apart=False)
                return start, end
            return start + 1, end
        return None

    def _looks_derived(self, start: int, end: int) -> bool:
        if (
            start < end
            and self._pieces[start].is_sign("(", "{")
            and (self._matches.get(start) == end - 1)
        ):
            start, end = start + 1, end - 1
        if start >= end:
            return False
        first = self._pieces[start]
        if first.is_sign("∂"):
            return True
        if first.mark is Mark.WORD and first.text[0] == "d":
            return not self._known.is_value(normalised(first.text)) or len(first.text) == 1
        if first.mark is Mark.STYLE and first.text in ("mathrm", "operatorname", "text"):
            last = _after(self._pieces, start + 1)
            return [p.text for p in self._pieces[start:last] if not p.is_sign("{", "}")][1:] == [
                "d"
            ]
        return (
            first.mark is Mark.NAME
            and first.text in ("delta", "d")
            and end - start >= 2
            and self._pieces[start + 1].mark in (Mark.WORD, Mark.NAME, Mark.STYLE, Mark.COMMAND)
        )

    def _derivative(self, over: tuple[int, int], under: tuple[int, int], after: int) -> Expression:
        order, start = self._order(*over)
        by = self._denominators(*under)
        if start < over[1]:
            of = self._within(start, over[1])
            self._at = after
        else:
            # d/dx (x²): what follows is derived.
            self._at = after
            of = self._power()
        order = max(order, len(by))
        by = by if len(by) == order else by * order
        return Derivative(of, tuple(by[:order]), order)

    def _order(self, start: int, end: int) -> tuple[int, int]:
        """The 2 of ∂²L, and where L begins."""
        if start < end:
            piece = self._pieces[start]
            if piece.mark is Mark.SIGN and re.fullmatch(r"\^[2-4]", piece.text):
                return int(piece.text[1]), start + 1
            if piece.is_sign("^"):
                last = _after(self._pieces, start + 1)
                digits = [p.text for p in self._pieces[start + 1 : last] if p.text.isdigit()]
                if len(digits) == 1 and digits[0] in "234":
                    return int(digits[0]), last
        return 1, start

    def _denominators(self, start: int, end: int) -> list[Name]:
        """The names of ∂w, ∂w², ∂w ∂b."""
        stretches = []
        first = start
        for place in range(start, end):
            if place > first and self._pieces[place].is_sign("∂"):
                stretches.append((first, place))
                first = place + 1
        stretches.append((first, end))
        names: list[Name] = []
        for one, other in stretches:
            found = self._within(one, other)
            times = 1
            if isinstance(found, Binary) and found.operator is Operator.POWER:
                power = found.right
                if isinstance(power, Number) and power.text in ("2", "3", "4"):
                    found, times = found.left, int(power.text)
            if isinstance(found, Transpose):
                found = found.of
            if not isinstance(found, Name):
                raise self._refuse("what is derived by is no name")
            names += [found] * times
        return names

    def _nabla(self) -> Expression:
        self._at += 1
        by: tuple[Name, ...] = ()
        order = 1
        while self._now is not None and self._now.mark is Mark.SIGN:
            text = self._now.text
            if text == "_" and (after := self._peek()) is not None and after.is_sign("{"):
                self._at += 1
                closing = self._closing()
                found = self._within(self._at + 1, closing)
                self._at = closing + 1
                if not isinstance(found, Name):
                    raise self._refuse("what is derived by is no name")
                by = (found,)
            elif text.startswith("_"):
                if text == "_":
                    self._at += 1
                    found = self._group()
                    if not isinstance(found, Name):
                        raise self._refuse("what is derived by is no name")
                    by = (found,)
                else:
                    by = (Name(self._lowered()),)
            elif text.startswith("^"):
                order, self._at = self._order(self._at, self._end)
                if order == 1:
                    raise self._refuse()
            else:
                break
        of = self._power()
        return Derivative(of, by * order, order)

    # Names

    def _word(self, now: Piece) -> Expression:
        text = now.text
        if self._is_slash_derivative(now):
            slash = self._slash()
            assert slash is not None, "looked for before"
            end = self._end_of_denominator(slash + 1)
            over, under = self._stripped(self._at, slash), self._stripped(slash + 1, end)
            assert over is not None
            assert under is not None
            return self._derivative(over, under, end)
        if self._is_function(text):
            self._at += 1
            return self._function(text)
        name = normalised(text)
        if len(text) == 1 or self._known.is_value(name) or text in GREEK.values():
            self._at += 1
            return self._after_name(self._indexed(name))
        after = self._peek()
        if text in ("net", "out", "err") or (
            len(text) == 3 and after is not None and after.text.startswith("_")
        ):
            # net_{h1} is a name; wx_1 is a product.
            self._at += 1
            return self._after_name(self._indexed(name))
        if text.lower() in PROSE:
            raise self._refuse(f"the word {text!r}")
        if self._hand.is_plain or len(text) > 3:
            self._at += 1
            return self._after_name(self._indexed(name))
        first = text[0]
        self._split(1)
        return Name(first)

    def _is_slash_derivative(self, now: Piece) -> bool:
        if now.text[0] != "d":
            return False
        slash = self._slash()
        if slash is None or slash > self._at + 8 or not self._looks_derived(self._at, slash):
            return False
        end = self._end_of_denominator(slash + 1)
        return self._looks_derived(slash + 1, end) and end > slash + 1

    def _is_function(self, text: str) -> bool:
        name = function_named(text)
        if name == "sigmoid" and text in ("sigma", "sig"):
            return self._opens_arguments(1)
        if self._known.is_value(normalised(text)):
            return False
        if name in FUNCTIONS or text.lower() in _WORD_FUNCTIONS:
            # A single letter or "sum = 3" is a name; "sum(…)" is a function.
            return name not in ("sum", "mean", "dot", "norm") or self._opens_arguments(1)
        return False

    def _opens_arguments(self, by: int) -> bool:
        """Whether ( follows, behind a prime or a power."""
        at = self._at + by
        while at < self._end:
            piece = self._pieces[at]
            if piece.is_sign("(", "["):
                return True
            if piece.is_sign("'", "''") or re.fullmatch(r"\^\d", piece.text):
                at += 1
            elif piece.is_sign("^", "_"):
                at = _after(self._pieces, at + 1)
            else:
                return False
        return False

    def _letter(self, now: Piece) -> Name:
        self._at += 1
        return self._indexed(now.text)

    def _indexed(self, stem: str) -> Name:
        """A name with all that stands below, above and behind it."""
        parts: list[str] = []
        above = ""
        while (now := self._now) is not None:
            if now.mark is Mark.NUMBER and not now.is_apart and now.text.isdigit() and not parts:
                before = self._pieces[self._at - 1]
                if before.mark not in (Mark.WORD, Mark.NAME):
                    break
                parts.append(now.text)
                self._at += 1
            elif now.mark is not Mark.SIGN:
                break
            elif now.text.startswith("_"):
                parts.append(self._lowered())
            elif (index := self._index_above()) is not None:
                above += f"^{index}"
            elif now.text in ("'", "''") and not self._opens_arguments(1):
                self._at += 1
                above += now.text
            else:
                break
        name = "_".join((stem, *(part for part in parts if part)))
        return Name(normalised(name) + above)

    def _index_above(self) -> str | None:
        """Takes the (1) of W^{(1)}, the [l] of a^{[l]}, the new of w^{new}; None if it is a power."""  # noqa: E501
        now = self._now
        assert now is not None, "a piece stands here"
        if now.text.startswith("^("):
            index = now.text[2:].rstrip(")")
            if not _INDEX.fullmatch(index):
                return None
            self._at += 1
            return index
        if now.text != "^":
            return None
        end = _after(self._pieces, self._at + 1)
        inside = list(self._pieces[self._at + 1 : min(end, self._end)])
        if inside and inside[0].is_sign("{"):
            inside = inside[1:-1]
        elif inside and inside[0].is_sign("(", "[") and (self._at + 1) in self._matches:
            end = self._matches[self._at + 1] + 1
            inside = list(self._pieces[self._at + 1 : end])
        shown = "".join(p.text for p in inside)
        if re.fullmatch(r"[(\[].*[)\]]|\\\{.*\\\}", shown):
            index = shown.strip("()[]\\{}")
            if not _INDEX.fullmatch(index):
                return None
        elif shown in ("+", "*", "'", "new", "old", "neu", "alt", "nouveau", "next", "prev"):
            index = shown
        else:
            return None
        if index == "'" and self._opens_arguments(end - self._at):
            return None
        self._at = end
        return index

    def _lowered(self) -> str:
        """Takes what stands below a name, as text."""
        now = self._now
        assert now is not None, "a piece stands here"
        self._at += 1
        if now.text != "_":
            return now.text[1:]
        now = self._now
        if now is None:
            raise self._refuse()
        if now.is_sign("{"):
            closing = self._closing()
            inside = self._pieces[self._at + 1 : closing]
            self._at = closing + 1
            shown = "".join(
                p.text.replace(" ", "_") for p in inside
                if p.mark is not Mark.STYLE and not p.is_sign("{", "}", "_", "|")
            )  # fmt: skip
            if any(p.mark in (Mark.OPEN, Mark.COMMAND, Mark.RELATION) for p in inside):
                raise self._refuse(f"the index {shown!r}")
            # w_{1,1} and w_{11} are one name.
            return re.sub(r"(?<=\d),(?=\d)", "", shown)
        if now.mark is Mark.WORD and len(now.text) > 1 and not self._hand.is_plain:
            after = self._peek()
            if len(now.text) == 2 and after is not None and after.is_sign("_", "^", "("):
                self._split(1)
                return now.text[0]
        if now.mark is Mark.STYLE:
            end = _after(self._pieces, self._at + 1)
            shown = "".join(
                p.text for p in self._pieces[self._at + 1 : end] if not p.is_sign("{", "}")
            )
            self._at = end
            return shown
        if now.mark not in (Mark.WORD, Mark.NUMBER, Mark.NAME, Mark.TEXT):
            raise self._refuse()
        self._at += 1
        return now.text

    def _after_name(self, name: Name) -> Expression:
        """A name; or, where brackets follow, a function of what is in them."""
        text, primes = name.text, ""
        if text.rstrip("'") == "pi" and not self._known.is_value("pi"):
            return name
        start = self._at
        while self._is("'", "''"):
            assert self._now is not None, "a sign stands here"
            primes += self._now.text
            self._at += 1
        if not primes and self._is("^"):
            end = _after(self._pieces, self._at + 1)
            shown = "".join(
                p.text for p in self._pieces[self._at + 1 : end] if not p.is_sign("{", "}")
            )
            if shown and set(shown) == {"'"} and end < self._end and self._pieces[end].is_sign("("):
                primes = shown
                self._at = end
        if primes:
            if self._is("(", "["):
                return self._function(text, primes)
            self._at = start
            return name
        is_sigmoid = function_named(text) == "sigmoid" and not self._known.is_value(text)
        if is_sigmoid and self._opens_arguments(0):
            return self._function(text)
        if text != text.rstrip("'") or not self._is("(", "["):
            return self._maybe_powered_call(name)
        if self._is("[") and not self._known.is_function(text):
            return name
        if self._is_applied(text):
            return self._function(text)
        return name

    def _maybe_powered_call(self, name: Name) -> Expression:
        return name

    def _is_applied(self, text: str) -> bool:
        """Whether text( … ) is a function of something, not a product."""
        if self._known.is_function(text):
            return True
        if self._known.is_value(text):
            return text in _FUNCTION_LETTERS and self._has_only_names()
        stem = re.split(r"[_^']", text)[0]
        if text in _FUNCTION_LETTERS or stem in _FUNCTION_LETTERS:
            return True
        closing = self._matches.get(self._at)
        if closing is None:
            return False
        inside = self._pieces[self._at + 1 : closing]
        if any(p.mark is Mark.BREAK and p.text in ",;" for p in inside):
            return True
        # "x(0) = 4" at the beginning, alone: the value at 0.
        is_alone = closing + 1 == self._end and all(
            p.mark in (Mark.WORD, Mark.NAME) or p.mark is Mark.NUMBER for p in inside
        )
        return is_alone and len(inside) == 1 and self._at <= 3

    def _has_only_names(self) -> bool:
        closing = self._matches.get(self._at)
        if closing is None:
            return False
        inside = self._pieces[self._at + 1 : closing]
        return bool(inside) and all(
            p.mark in (Mark.WORD, Mark.NAME, Mark.BREAK)
            or (p.mark is Mark.SIGN and re.fullmatch(r"[_^](\d|\{|$)?.*|\{|\}", p.text))
            or (p.mark is Mark.NUMBER and self._is_index(p))
            for p in inside
        )

    def _is_index(self, piece: Piece) -> bool:
        return piece.text.isdigit() and not piece.is_apart

    def _function(self, text: str, primes: str = "") -> Expression:
        """Takes the arguments of a function whose name has been taken."""
        name = function_named(text)
        if text == "ln":
            name = "ln"
        elif text in ("lg", "log10"):
            name = "log10"
        elif text in ("ld", "lb", "log2"):
            name = "log2"
        elif self._known.is_function(text):
            name = text
        power: Expression | None = None
        while self._now is not None and self._now.mark is Mark.SIGN:
            sign = self._now.text
            if sign in ("'", "''"):
                primes += sign
                self._at += 1
            elif sign.startswith("_"):
                name = self._subscripted(name, self._lowered())
            elif sign == "^" or sign.startswith("^"):
                if sign == "^":
                    self._at += 1
                    inside = self._power_of_function()
                else:
                    self._at += 1
                    inside = Number(sign[1:]) if sign[1:].isdigit() else None
                if inside is None:
                    raise self._refuse("the power of a function")
                if isinstance(inside, str):
                    primes += inside
                else:
                    power = inside
            else:
                break
        args = self._arguments()
        call: Expression = Call(name + primes, args)
        return call if power is None else Binary(Operator.POWER, call, power)

    def _power_of_function(self) -> Expression | str | None:
        end = _after(self._pieces, self._at)
        shown = "".join(p.text for p in self._pieces[self._at : end] if not p.is_sign("{", "}"))
        if shown and set(shown) == {"'"}:
            self._at = end
            return shown
        if shown.isdigit():
            self._at = end
            return Number(shown)
        return None

    def _subscripted(self, name: str, index: str) -> str:
        if name in ("log", "ln") and index in ("2", "10", "e"):
            return {"2": "log2", "10": "log10", "e": "ln"}[index]
        if name in ("sigmoid", "relu", "tanh"):
            return name
        return f"{name}_{index}"

    def _arguments(self) -> tuple[Expression, ...]:
        if self._is("(", "[", r"\{") or (
            self._is("{") and self._peek() is not None and not self._hand.is_plain
        ):
            closing = self._closing()
            start, self._at = self._at + 1, closing + 1
            stretches = self._divided(start, closing, {",", ";"}, set())
            return tuple(self._argument(first, last) for first, last in stretches)
        # ln 0.5, tanh z: the factors that follow without a sign.
        found = self._signless()
        while (
            self._begins_factor()
            and not self._is_cross()
            and not (self._now is not None and self._now.mark is Mark.COMMAND)
            and not self._is("(", "[", "∑", "|", "‖")
        ):
            found = Binary(Operator.BESIDE, found, self._power())
        return (found,)

    def _signless(self) -> Expression:
        if self._is("-"):
            self._at += 1
            return Negative(self._power())
        if self._now is None:
            raise self._refuse("a function of nothing")
        return self._power()

    def _argument(self, start: int, end: int) -> Expression:
        """An argument; α = 0.1 is 0.1."""
        beside = self._beside_one_another(start, end)
        if beside is not None:
            return beside
        signs = [i for i in range(start, end) if self._pieces[i].mark is Mark.RELATION]
        if len(signs) == 1 and self._pieces[signs[0]].text == "=":
            return self._within(signs[0] + 1, end)
        return self._within(start, end)

    # Commands

    def _styled(self, now: Piece) -> Expression:
        after = self._at + 1
        end = _after(self._pieces, after)
        if end > self._end or after >= self._end:
            raise self._refuse()
        if now.text in ("mathbb", "mathbf") and self._is_indicator(after, end):
            return self._indicator(end)
        inside = self._pieces[after:end]
        if inside and inside[0].is_sign("{"):
            inside = inside[1:-1]
        if now.text == "boxed" or now.text == "fbox":
            found = (
                self._within(after + 1, end - 1) if end - after > 1 else self._within(after, end)
            )
            self._at = end
            return found
        is_word = len(inside) == 1 and inside[0].mark in (Mark.WORD, Mark.NAME)
        if is_word:
            text = inside[0].text
            if text == "d" and now.text in _WHOLE and (slash := self._slash()) is not None:
                last = self._end_of_denominator(slash + 1)
                over, under = self._stripped(self._at, slash), self._stripped(slash + 1, last)
                if over is not None and under is not None:
                    return self._derivative(over, under, last)
            self._at = end
            is_whole = now.text in _WHOLE or len(text) == 1 or inside[0].mark is Mark.NAME
            if text in _COMMAND_FUNCTIONS or self._is_styled_function(text):
                return self._function(text)
            if is_whole or self._known.is_value(normalised(text)):
                return self._after_name(self._indexed(normalised(text)))
        if not inside:
            raise self._refuse()
        if (
            len(inside) > 1
            and all(
                p.mark in (Mark.WORD, Mark.NAME) or re.match(r"[_^{}]|\d", p.text) for p in inside
            )
            and now.text not in ("mathbb", "ensuremath")
        ):
            # \mathbf{w_1} is a name with all that belongs to it.
            found = self._within(after + 1, end - 1)
            self._at = end
            return found
        found = self._within(after + 1, end - 1) if end - after > 1 else self._within(after, end)
        self._at = end
        if isinstance(found, Name):
            return self._after_name(self._indexed(found.text))
        return found

    def _is_styled_function(self, text: str) -> bool:
        name = function_named(text)
        if self._known.is_value(normalised(text)):
            return False
        return (
            (name in FUNCTIONS or text.lower() in _WORD_FUNCTIONS)
            and text not in ("sum", "mean", "dot", "norm")
        ) or (self._opens_arguments(0) and len(text) > 1)

    def _is_indicator(self, start: int, end: int) -> bool:
        shown = [p.text for p in self._pieces[start:end] if not p.is_sign("{", "}")]
        after = self._pieces[end] if end < self._end else None
        return shown in (["1"], ["I"]) and after is not None and after.is_sign("_", "[", "(", r"\{")

    def _indicator(self, at: int) -> Expression:
        """1 where a relation holds: 𝟙[z > 0], 𝟙_{z>0}."""
        self._at = at
        if self._is("_"):
            self._at += 1
        closing = self._closing()
        start, self._at = self._at + 1, closing + 1
        signs = [i for i in range(start, closing) if self._pieces[i].mark is Mark.RELATION]
        if len(signs) != 1 or self._pieces[signs[0]].text not in ("<", ">", "≤", "≥"):
            raise self._refuse("the condition of an indicator is not understood")
        left, right = self._within(start, signs[0]), self._within(signs[0] + 1, closing)
        return Call(f"indicator{self._pieces[signs[0]].text}", (left, right))

    def _command(self, now: Piece) -> Expression:
        text = now.text
        if text.startswith("frac "):
            self._at += 1
            _, over, under = text.split()
            return Binary(Operator.OVER, Number(over), Number(under))
        if text in _FRACTIONS:
            return self._fraction()
        if text == "sqrt":
            return self._root()
        if text in _ACCENTS:
            return self._accented(_ACCENTS[text])
        if text in _COMMAND_FUNCTIONS:
            self._at += 1
            return self._function(text)
        if text in ("underbrace", "overbrace"):
            return self._braced()
        if text == "binom":
            self._at += 1
            first, second = self._group(), self._group()
            return Array((Array((first,)), Array((second,))))
        if text == "left.":
            # \left. … \right|_{…}: brackets of which one is not shown.
            self._at += 1
            return self._power()
        raise self._refuse()

    def _fraction(self) -> Expression:
        self._at += 1
        over, under = self._piece_or_group(), None
        if over[1] - over[0] == 1 and self._pieces[over[0]].mark is Mark.NUMBER:
            digits = self._pieces[over[0]].text
            if len(digits) == 2 and digits.isdigit() and not self._is("{"):
                # \frac12
                return Binary(Operator.OVER, Number(digits[0]), Number(digits[1]))
        under = self._piece_or_group()
        if self._looks_derived(*over) and self._looks_derived(*under):
            end = self._at
            stripped_over, stripped_under = self._stripped(*over), self._stripped(*under)
            if stripped_over is not None and stripped_under is not None:
                return self._derivative(stripped_over, stripped_under, end)
        return Binary(Operator.OVER, self._within(*over), self._within(*under))

    def _piece_or_group(self) -> tuple[int, int]:
        now = self._now
        if now is None:
            raise self._refuse()
        if now.is_sign("{"):
            closing = self._closing()
            start, self._at = self._at + 1, closing + 1
            return start, closing
        start = self._at
        if now.mark is Mark.WORD and len(now.text) > 1 and not self._hand.is_plain:
            self._pieces[self._at : self._at + 1] = [
                replace(now, text=now.text[0]),
                replace(now, text=now.text[1:], is_apart=False),
            ]
            self._matches = matches_of(self._pieces)
            self._end += 1
        self._at += 1
        return start, self._at

    def _root(self) -> Expression:
        self._at += 1
        if self._is("["):
            closing = self._closing()
            degree = self._within(self._at + 1, closing)
            self._at = closing + 1
            return Binary(Operator.POWER, self._group(), Binary(Operator.OVER, Number("1"), degree))
        return Call("sqrt", (self._group(),))

    def _accented(self, accent: str) -> Expression:
        self._at += 1
        end = _after(self._pieces, self._at)
        inside = [
            p for p in self._pieces[self._at : min(end, self._end)]
            if not p.is_sign("{", "}") and p.mark is not Mark.STYLE
        ]  # fmt: skip
        first = inside[0] if inside else None
        if first is None or first.mark not in (Mark.WORD, Mark.NAME):
            raise self._refuse(f"what stands below the {accent} is no name")
        if not self._is("{") and first.mark is Mark.WORD and len(first.text) > 1:
            self._split(1)
            return self._after_name(self._indexed(f"{first.text[0]}_{accent}"))
        if len(inside) > 1:
            group = self._within(self._at + 1, end - 1)
            if not isinstance(group, Name):
                raise self._refuse(f"what stands below the {accent} is no name")
            self._at = end
            stem, *rest = group.text.split("_")
            return self._after_name(self._indexed("_".join((stem, accent, *rest))))
        self._at = end
        return self._after_name(self._indexed(f"{first.text}_{accent}"))

    def _braced(self) -> Expression:
        self._at += 1
        found = self._group()
        while self._is("_", "^"):
            end = _after(self._pieces, self._at + 1)
            inside = self._pieces[self._at + 1 : end]
            if len(inside) > 2 and inside[0].is_sign("{"):
                inside = inside[1:-1]
            self.notes.append(Note(found, tuple(inside)))
            self._at = end
        return found
