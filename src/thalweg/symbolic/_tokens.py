"""Tokens: a text cut into numbers, names and signs, each with its place."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum

from thalweg._errors import FormulaError

MAX_TEXT = 50_000
"""Characters of a text."""


class Kind(Enum):
    """What a token is."""

    NUMBER = "number"
    NAME = "name"
    SIGN = "sign"
    RAISED = "raised number"
    """x², read as x^2."""
    END = "end of line"


@dataclass(frozen=True)
class Token:
    """A piece of text.

    Args:
        kind: what it is.
        text: in plain letters: − is -, · is *, ½ is 1/2.
        line: its line, from 1.
        column: its column, from 1.
        is_apart: whether a space stands before it.
    """

    kind: Kind
    text: str
    line: int
    column: int
    is_apart: bool


SIGNS = {
    "−": "-", "–": "-", "·": "*", "⋅": "*", "∙": "*", "×": "*", "∗": "*", "÷": "/", "∕": "/",
    "⊙": "⊙", "∘": "⊙", "ᵀ": "ᵀ", "⊤": "ᵀ", "‖": "‖", "∥": "‖", "√": "√", "′": "'", "’": "'",
    "[": "[", "]": "]", "(": "(", ")": ")", "{": "{", "}": "}", ",": ",", ";": ";", "=": "=",
    "+": "+", "-": "-", "*": "*", "/": "/", "^": "^", "@": "@", "|": "|", "'": "'",
}  # fmt: skip
"""Signs of one letter, in the one spelling that the parser reads."""

_LONGER = {"**": "^", "||": "‖", ".*": "⊙", ".T": "ᵀ"}
_NUMBER = re.compile(r"(?:\d+(?:\.(?!T|\*)\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_RAISED = re.compile(r"⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_BRACES = re.compile(r"\{([^\W_]+)\}")
_ORDER = re.compile(r"_\{?\w+\}?|_?∞|[₀₁₂₃₄₅₆₇₈₉]")
_LOWERED = "₀₁₂₃₄₅₆₇₈₉"
_OPENING, _CLOSING = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}


def tokens_of(text: str) -> list[Token]:
    """All tokens, with an END after each line, but for lines broken within brackets.

    Raises:
        FormulaError: at a sign that means nothing, or a text beyond 50,000 characters.
    """
    if len(text) > MAX_TEXT:
        raise FormulaError(
            f"the text has {len(text):,} characters; thalweg reads small computations, of at most "
            f"{MAX_TEXT:,}"
        )
    found: list[Token] = []
    num_open = 0
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        for token in _of_line(line.split("#", 1)[0], number):
            found.append(token)
            num_open += (token.text in _OPENING) - (token.text in _CLOSING)
        if num_open <= 0:
            num_open = 0
            found.append(Token(Kind.END, "", number, len(line) + 1, True))
    if not found or found[-1].kind is not Kind.END:
        found.append(Token(Kind.END, "", len(lines) or 1, len(lines[-1]) + 1 if lines else 1, True))
    return found


def _of_line(line: str, number: int) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        is_apart = at == 0 or line[at - 1].isspace()
        kind, shown, length = _next(line, at, number)
        found.append(Token(kind, shown, number, at + 1, is_apart))
        at += length
    return found


def _next(line: str, at: int, number: int) -> tuple[Kind, str, int]:
    letter = line[at]
    if line[at : at + 2] in _LONGER:
        return Kind.SIGN, _LONGER[line[at : at + 2]], 2
    if letter in SIGNS:
        return Kind.SIGN, SIGNS[letter], 1
    if at and line[at - 1] in "|‖∥" and (order := _ORDER.match(line, at)):
        if unicodedata.normalize("NFKC", order[0]).strip("_{}") == "2":
            return Kind.SIGN, "₂", len(order[0])
        raise FormulaError(
            f"line {number}, column {at + 1}: norms are of order 2; write others out, such as "
            f"sum(abs(w))"
        )
    if found := _NUMBER.match(line, at):
        return Kind.NUMBER, found[0], len(found[0])
    if found := _RAISED.match(line, at):
        return Kind.RAISED, unicodedata.normalize("NFKC", found[0]).replace("−", "-"), len(found[0])
    if unicodedata.category(letter) == "No" and "⁄" in unicodedata.normalize("NFKC", letter):
        return Kind.NUMBER, unicodedata.normalize("NFKC", letter).replace("⁄", "/"), 1
    if letter.isalpha():
        length = _length_of_name(line, at)
        return Kind.NAME, line[at : at + length], length
    said = "quotes mean" if letter in '"`“”‘' else f"{letter!r} means"
    raise FormulaError(
        f"line {number}, column {at + 1}: {said} nothing in a formula; write lines such as "
        f"h = sigmoid(theta1 * x)"
    )


def _continues(letter: str) -> bool:
    """Whether a letter goes on with a name."""
    if not letter or letter in SIGNS:
        return False
    category = unicodedata.category(letter)
    # Raised letters (Lm) such as ᵀ are signs, accents (Mn) belong to the letter before.
    is_letter = letter.isalpha() and category != "Lm"
    return is_letter or category == "Mn" or letter in "0123456789_" + _LOWERED


def _length_of_name(line: str, at: int) -> int:
    end = at + 1
    while end < len(line):
        if line[end - 1] == "_" and (braces := _BRACES.match(line, end)):
            end = braces.end()
        elif line[end - 1] in _LOWERED and line[end].isalpha():
            break  # θ₁x is a product
        elif _continues(line[end]):
            end += 1
        else:
            break
    return end - at
