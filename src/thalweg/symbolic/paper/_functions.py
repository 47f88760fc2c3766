"""Functions: which names are some here, and what they are taken of."""

from __future__ import annotations

import re

from thalweg.symbolic._expression import Binary, Call, Expression, Name, Negative, Number, Operator
from thalweg.symbolic._spelling import FUNCTIONS, function_named, normalised
from thalweg.symbolic.paper._descent import Descent
from thalweg.symbolic.paper._enclosed import numbers_beside
from thalweg.symbolic.paper._names import Names
from thalweg.symbolic.paper._pieces import Mark, Piece

COMMANDS = frozenset((
    "tanh", "exp", "log", "ln", "lg", "max", "min", "sin", "cos", "tan", "sinh", "cosh", "det",
    "tr", "arctan", "cot", "sec", "csc", "arcsin", "arccos", "coth",
))  # fmt: skip
r"""Functions with a command of their own: \tanh."""

_WORDS = frozenset((
    "sgn", "sign", "diag", "trace", "tr", "det", "lg", "ld", "lb", "log10", "log2", "step",
    "heaviside", "sech", "atan", "arctan", "asin", "acos", "artanh", "softsign", "transpose",
))  # fmt: skip
_LETTERS = frozenset((
    "f", "g", "F", "G", "J", "L", "E", "C", "Q", "R", "l", "loss", "cost", "error", "phi", "psi",
    "Phi", "varphi", "ell", "act", "activation",
))  # fmt: skip
_AMBIGUOUS = ("sum", "mean", "dot", "norm")
_LOGARITHMS = {"ln": "ln", "lg": "log10", "log10": "log10", "ld": "log2", "lb": "log2",
               "log2": "log2"}  # fmt: skip


class Functions:
    """Tells f(x) from a(1 − a), and reads what a function is taken of.

    Args:
        formula: in which they stand.
        names: by which an index is read.
    """

    def __init__(self, formula: Descent, names: Names) -> None:
        self._formula = formula
        self._place = formula.place
        self._known = formula.place.known
        self._names = names

    # Which names are functions

    def is_word(self, text: str) -> bool:
        """Whether a word is the name of a function here."""
        name = function_named(text)
        if name == "sigmoid" and text in ("sigma", "sig"):
            return self._place.opens_arguments(1)
        if self._known.is_value(normalised(text)):
            return False
        if name in FUNCTIONS or text.lower() in _WORDS:
            # A single letter or "sum = 3" is a name; "sum(…)" is a function.
            return name not in _AMBIGUOUS or self._place.opens_arguments(1)
        return False

    def is_styled(self, text: str) -> bool:
        """Whether a word that a command has set, and that has been taken, is a function's name."""
        if text in COMMANDS:
            return True
        if self._known.is_value(normalised(text)):
            return False
        is_usual = function_named(text) in FUNCTIONS or text.lower() in _WORDS
        return (is_usual and text not in _AMBIGUOUS) or (
            self._place.opens_arguments(0) and len(text) > 1
        )

    def after_name(self, name: Name) -> Expression:
        """A name that has been taken; or, where brackets follow, a function of what is in them."""
        place = self._place
        text = name.text
        if text.rstrip("'") == "pi" and not self._known.is_value("pi"):
            return name
        start = place.at
        primes = self._primes()
        if primes:
            if place.stands("(", "["):
                return self.call(text, primes)
            place.at = start
            return name
        if place.stands("(") and self._is_probability(text):
            return Name(f"{text}({place.shown(*place.enclosed())})")
        is_sigmoid = function_named(text) == "sigmoid" and not self._known.is_value(text)
        if is_sigmoid and place.opens_arguments(0):
            return self.call(text)
        if text != text.rstrip("'") or not place.stands("(", "["):
            return name
        if place.stands("[") and not self._known.is_function(text):
            return name
        return self.call(text) if self._is_applied(text) else name

    def _primes(self) -> str:
        """Takes the primes behind a name, and those of f^{'}(x)."""
        place = self._place
        primes = ""
        while (now := place.now) is not None and now.is_sign("'", "''"):
            primes += now.text
            place.at += 1
        if not primes and place.stands("^"):
            end = place.after(place.at + 1)
            shown = place.shown(place.at + 1, end)
            if shown and set(shown) == {"'"} and end < place.end and place.pieces[end].is_sign("("):
                primes = shown
                place.at = end
        return primes

    def _is_probability(self, text: str) -> bool:
        """Whether text( … ) is the probability of an event: P(A), p(y = 1 | x)."""
        if text not in ("P", "Pr", "p", "q") or self._known.is_function(text):
            return False
        inside = self._inside() or []
        if any(piece.is_sign("|") for piece in inside):
            return sum(piece.is_sign("|") for piece in inside) == 1
        is_event = bool(inside) and inside[0].text[:1].isupper()
        return is_event and text in ("P", "Pr")

    def _is_applied(self, text: str) -> bool:
        """Whether text( … ) is a function of something, not a product."""
        place = self._place
        if self._known.is_function(text):
            return True
        if self._known.is_value(text):
            return text in _LETTERS and self._has_only_names()
        if text in _LETTERS or re.split(r"[_^']", text)[0] in _LETTERS:
            return True
        inside = self._inside()
        if inside is None:
            return False
        if any(p.mark is Mark.BREAK and p.text in ",;" for p in inside):
            return True
        # "x(0) = 4" at the beginning, alone: the value at 0.
        is_alone = place.at + len(inside) + 2 == place.end and all(
            p.mark in (Mark.WORD, Mark.NAME, Mark.NUMBER) for p in inside
        )
        return is_alone and len(inside) == 1 and place.at <= 3

    def _inside(self) -> list[Piece] | None:
        """What stands in the brackets that open here; None if they are not closed."""
        place = self._place
        closing = place.matches.get(place.at)
        return None if closing is None else place.pieces[place.at + 1 : closing]

    def _has_only_names(self) -> bool:
        inside = self._inside()
        return bool(inside) and all(
            p.mark in (Mark.WORD, Mark.NAME, Mark.BREAK)
            or (p.mark is Mark.SIGN and re.fullmatch(r"[_^](\d|\{|$)?.*|\{|\}", p.text))
            or (p.mark is Mark.NUMBER and p.text.isdigit() and not p.is_apart)
            for p in inside or ()
        )

    # What they are taken of

    def call(self, text: str, primes: str = "") -> Expression:
        """Takes the arguments of a function whose name has been taken."""
        place = self._place
        if text in _LOGARITHMS:
            name = _LOGARITHMS[text]
        else:
            name = text if self._known.is_function(text) else function_named(text)
        power: Expression | None = None
        while (now := place.now) is not None and now.mark is Mark.SIGN:
            if now.text in ("'", "''"):
                primes += now.text
                place.at += 1
            elif now.text.startswith("_"):
                name = _with_index(name, self._names.lowered())
            elif now.text.startswith("^"):
                raised = self._raised(now.text)
                if isinstance(raised, str):
                    primes += raised
                else:
                    power = raised
            else:
                break
        call = Call(name + primes, self._as_many(self._arguments(), name))
        return call if power is None else Binary(Operator.POWER, call, power)

    def _raised(self, sign: str) -> Expression | str:
        """The power of a function, tanh²(z), or its primes, f^{''}(x)."""
        place = self._place
        place.at += 1
        shown = sign[1:]
        if not shown:
            end = place.after(place.at)
            shown = place.shown(place.at, end)
            if shown and set(shown) == {"'"}:
                place.at = end
                return shown
            if shown.isdigit():
                place.at = end
        if not shown.isdigit():
            raise place.refuse("the power of a function")
        return Number(shown)

    def _arguments(self) -> tuple[Expression, ...]:
        place = self._place
        is_group = place.stands("{") and place.peek() is not None and not place.hand.is_plain
        if is_group or place.stands("(", "[", r"\{"):
            stretches = place.divided(*place.enclosed(), {",", ";"}, set())
            return tuple(self._argument(first, last) for first, last in stretches)
        # ln 0.5, tanh z: the factors that follow without a sign.
        found = self._signless()
        while (
            place.begins_factor()
            and not place.is_cross()
            and not (place.now is not None and place.now.mark is Mark.COMMAND)
            and not place.stands("(", "[", "∑", "|", "‖")
        ):
            found = Binary(Operator.BESIDE, found, self._formula.power())
        return (found,)

    def _as_many(self, args: tuple[Expression, ...], name: str) -> tuple[Expression, ...]:
        """The f(1,2) of a page with a decimal comma as two arguments, where f takes two."""
        only = args[0] if len(args) == 1 else None
        number = only.of if isinstance(only, Negative) else only
        if (
            not self._place.hand.has_comma
            or not isinstance(number, Number)
            or self._known.num_arguments(name) != 2
            or not re.fullmatch(r"\d+\.([1-9]\d*|0)", number.text)
        ):
            return args
        first, second = map(Number, number.text.split("."))
        return (Negative(first) if isinstance(only, Negative) else first, second)

    def _signless(self) -> Expression:
        if self._place.stands("-"):
            self._place.at += 1
            return Negative(self._formula.power())
        if self._place.now is None:
            raise self._place.refuse("a function of nothing")
        return self._formula.power()

    def _argument(self, start: int, end: int) -> Expression:
        """An argument; α = 0.1 is 0.1."""
        beside = numbers_beside(self._place.pieces, start, end)
        if beside is not None:
            return beside
        signs = self._place.relations(start, end)
        if len(signs) == 1 and self._place.pieces[signs[0]].text == "=":
            return self._formula.within(signs[0] + 1, end)
        return self._formula.within(start, end)


def _with_index(name: str, index: str) -> str:
    if name in ("log", "ln") and index in ("2", "10", "e"):
        return {"2": "log2", "10": "log10", "e": "ln"}[index]
    if name in ("sigmoid", "relu", "tanh"):
        return name
    return f"{name}_{index}"
