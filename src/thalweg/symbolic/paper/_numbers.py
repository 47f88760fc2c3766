"""Numbers in digits: with a point or a comma, in groups, torn apart or blurred by a reader."""

from __future__ import annotations

import re

from thalweg.symbolic.paper._pieces import Hand, Mark

MAX_DIGITS = 120
"""Of a number."""

_POINT_NUMBER = re.compile(
    r"\d{1,3}(?:(?:\\,|\\;|[\u2009\u202f]|\{,\})\d{3})+(?!\d)(?:\.\d+)?"
    r"|\d{1,3}(?:,\d{3})+\.\d+"
    r"|\d*\.\d+(?:(?:\\,|[\u2009\u202f])\d{1,3})*|\d+"
)
_COMMA = r"(?:\{,\}|,)"
_COMMA_NUMBER = re.compile(
    rf"\d{{1,3}}(?:(?:\\,|\\;|[\u2009\u202f]|\.)\d{{3}})+(?!\d){_COMMA}\d+"
    r"|\d{1,3}(?:(?:\\,|\\;|[\u2009\u202f])\d{3})+(?!\d)"
    rf"|\d+{_COMMA}\d+(?:(?:\\,|[\u2009\u202f])\d{{1,3}})*|\d*\.\d+|\d+"
)
_BRACED_COMMA = re.compile(r"\d+\{,\}\d+")
_EXPONENT = re.compile(r"[eE]([+\-−–]?\d{1,5})(?![\d.A-Za-z])")
_DOTS = re.compile(r"\s?(?:\\[lc]?dots(?![A-Za-z])|…|\.\.\.)")
_TORN = re.compile(r"(?: ?\. (?=\d)| \.(?=\d))(\d+)")
_BLURRED = re.compile(r"[\dOolI]*[.,][\dOolI]+")
"""A number in which a reader of print has taken 0 for O or 1 for l."""


def number_at(text: str, at: int, hand: Hand) -> tuple[Mark, str, int] | None:
    """The number that begins at a place.

    Args:
        text: in which it stands.
        at: the place.
        hand: whether it has a decimal comma.

    Returns:
        What it is, its digits with a point, and where it ends; None if no number begins here.
    """
    if not ("0" <= text[at] <= "9" or text[at] in ".OolI"):
        return None
    found = _blurred(text, at, hand) or _clear(text, at, hand)
    if found is None:
        return None
    shown, end = found
    if exponent := _EXPONENT.match(text, end):
        shown += "e" + exponent[1].replace("−", "-").replace("–", "-")
        end = exponent.end()
    dots = _DOTS.match(text, end) if "." in shown else None
    if dots is not None:
        end = dots.end()
    if len(shown) > MAX_DIGITS:
        return Mark.COMMAND, "a number of too many digits", end
    return Mark.NUMBER if dots is None else Mark.CUT, shown, end


def _clear(text: str, at: int, hand: Hand) -> tuple[str, int] | None:
    """A number as it is printed."""
    has_comma = hand.has_comma or _BRACED_COMMA.match(text, at) is not None
    found = (_COMMA_NUMBER if has_comma else _POINT_NUMBER).match(text, at)
    if found is None or not found[0]:
        return None
    shown, end = _plain_digits(found[0], hand), found.end()
    # What a reader of print has torn off, "0. 9975", "0 .9975"; "3. 5" may be an item of a list,
    # and "1, 5" two numbers.
    may_be_torn = shown == "0" and not hand.has_comma and not hand.is_plain
    if may_be_torn and (torn := _TORN.match(text, end)):
        return f"{shown}.{torn[1]}", torn.end()
    return shown, end


def _plain_digits(found: str, hand: Hand) -> str:
    shown = re.sub(r"\\[,;]|[\u2009\u202f]", "", found)
    if hand.has_comma or "{,}" in found:
        groups = shown.replace("{,}", ",")
        if re.fullmatch(r"\d{1,3}(,\d{3})+\.\d+", groups):
            return groups.replace(",", "")
        return groups.replace(".", "").replace(",", ".") if "," in groups else groups
    return shown.replace(",", "")


def _blurred(text: str, at: int, hand: Hand) -> tuple[str, int] | None:
    """A number with letters for digits."""
    found = _BLURRED.match(text, at)
    if found is None or not re.search("[OolI]", found[0]) or not re.search(r"\d", found[0]):
        return None
    before = text[at - 1 : at]
    after = text[found.end() : found.end() + 1]
    if before.isalpha() or before == "\\" or after.isalpha():
        return None
    if "," in found[0] and not hand.has_comma:
        return None
    plain = found[0].translate(str.maketrans("OolI,", "0011."))
    return plain, found.end()
