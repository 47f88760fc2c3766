"""Numbers as the pages of this room write them."""

from __future__ import annotations


def shown(value: float, digits: int = 4) -> str:
    """A number, with a true minus sign.

    Example:
        >>> shown(-0.123456)
        '−0.1235'
    """
    text = f"{value:.{digits}g}"
    return f"−{text[1:]}" if text.startswith("-") else text


def percent(share: float) -> str:
    """A share of 1 in percent.

    Example:
        >>> percent(0.0234), percent(0.87), percent(0.999999)
        ('2.3 %', '87 %', '> 99.9 %')
    """
    value = 100 * share
    if 99.95 < value < 100:
        return "> 99.9 %"
    if 99 <= value < 100:
        return f"{value:.1f} %"
    return f"{value:.2g} %" if value < 10 else f"{value:.0f} %"
