"""Numerals: numbers in a page's words as print sets them, whatever room wrote them."""

from __future__ import annotations

import re

_SCIENTIFIC = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)e([+-]?\d+)(?![\w.])")
_HYPHEN = re.compile(r"(?<![\w.)\]}\"'-])-(?=\d)")
_PERCENT = re.compile(r"(?<=\d)%(?!\w)")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def typeset(text: str) -> str:
    """Powers of ten raised, a minus that is one, and a space before a percent sign.

    Args:
        text: prose; code is left to itself by whoever calls.

    Returns:
        The same numbers.

    Example:
        >>> typeset("it shrinks 7.9e+04 times, to -1.3e-06; a 2-2-1 network, lr 1e-3")
        'it shrinks 7.9 × 10⁴ times, to −1.3 × 10⁻⁶; a 2-2-1 network, lr 10⁻³'
    """
    return spaced(_HYPHEN.sub("−", _SCIENTIFIC.sub(_raised, text)))


def spaced(text: str) -> str:
    """A space between a number and its percent sign, as before every other unit.

    Args:
        text: prose.

    Example:
        >>> spaced("60% of the units, 9.7 ± 0.3%")
        '60 % of the units, 9.7 ± 0.3 %'
    """
    return _PERCENT.sub(" %", text)


def _raised(number: re.Match[str]) -> str:
    mantissa, exponent = number[1], int(number[2])
    if exponent == 0:
        return mantissa if float(mantissa) else "0"
    power = f"10{str(exponent).translate(_RAISED)}"
    return power if mantissa == "1" else f"{mantissa} × {power}"
