r"""Units: 20\,\text{m/s} as 20, where all units of a stretch are of one system."""

from __future__ import annotations

import re
from collections.abc import Sequence

from thalweg._errors import FormulaError
from thalweg.symbolic.paper._brackets import after
from thalweg.symbolic.paper._pieces import Mark, Piece
from thalweg.symbolic.paper._place import Known

_COHERENT = frozenset((
    "m", "s", "kg", "N", "J", "W", "V", "A", "Hz", "Pa", "C", "K", "F", "T", "Ω", "rad", "mol",
))  # fmt: skip
"""Symbols between which no factor stands: 1 N m = 1 J."""

_DIMENSION = {
    "km": "length", "cm": "length", "mm": "length", "nm": "length", "h": "time", "min": "time",
    "ms": "time", "ns": "time", "μs": "time", "d": "time", "g": "mass", "mg": "mass", "t": "mass",
    "€": "money", "$": "money", "EUR": "money", "USD": "money", "bit": "information",
    "bits": "information", "nat": "information", "nats": "information", "Byte": "information",
    "px": "pixels", "L": "volume", "l": "volume", "kWh": "energy", "kJ": "energy", "eV": "energy",
    "m": "length", "s": "time", "kg": "mass", "kW": "power", "mV": "voltage", "mA": "current",
    "kHz": "frequency", "MHz": "frequency", "GHz": "frequency", "J": "energy", "W": "power",
    "V": "voltage", "A": "current", "Hz": "frequency", "Pa": "pressure", "hPa": "pressure",
    "bar": "pressure", "N": "force", "kN": "force",
}  # fmt: skip

_SYMBOL = re.compile(r"[A-Za-zΩμ€$]+")
_UNIT = re.compile(r"[A-Za-zΩμ€$]+(?:\^?-?\d|[²³])?(?:[ /·*][A-Za-zΩμ€$]+(?:\^?-?\d|[²³])?)*")
_UPRIGHT = frozenset(("mathrm", "operatorname", "mathsf"))


def without_units(pieces: Sequence[Piece], text: str, known: Known) -> list[Piece]:
    """Written mathematics without the units behind its numbers.

    Args:
        pieces: of one stretch.
        text: the stretch.
        known: names that the page has defined; these are no units.

    Raises:
        FormulaError: where units of different size stand side by side, such as km and m.
    """
    found: list[Piece] = []
    symbols: set[str] = set()
    at = 0
    while at < len(pieces):
        end = _end_of_unit(pieces, at, text, known) if found and _may_have_unit(found) else at
        if end == at:
            found.append(pieces[at])
            at += 1
            continue
        shown = "".join(piece.text for piece in pieces[at:end])
        symbols |= {s for s in _SYMBOL.findall(shown) if s not in _UPRIGHT}
        at = end
    if symbols - _COHERENT:
        dimensions = [_DIMENSION.get(symbol) for symbol in symbols]
        if len(set(dimensions)) < len(dimensions) or None in dimensions:
            raise FormulaError("units of different size")
    return found


def _may_have_unit(found: Sequence[Piece]) -> bool:
    """Whether a number has just ended, or the exponent of its power of ten."""
    last = found[-1]
    return last.mark in (Mark.NUMBER, Mark.CUT) or (
        last.is_sign("}") and any(p.mark is Mark.NUMBER and p.text == "10" for p in found[-6:-2])
    )


def _end_of_unit(pieces: Sequence[Piece], at: int, text: str, known: Known) -> int:
    """The place behind a unit that begins here; the same place if none does."""
    end = _end_of_symbol(pieces, at, text, known)
    if end == at:
        return at
    while end < len(pieces):
        if pieces[end].is_sign("^"):
            end = after(pieces, end + 1)
        elif re.fullmatch(r"\^-?\d", pieces[end].text):
            end += 1
        elif pieces[end].is_sign("/", "*"):
            further = _end_of_symbol(pieces, end + 1, text, known)
            if further == end + 1:
                break
            end = further
        else:
            break
    return end


def _end_of_symbol(pieces: Sequence[Piece], at: int, text: str, known: Known) -> int:
    if at >= len(pieces):
        return at
    piece = pieces[at]
    if piece.mark in (Mark.NAME, Mark.TEXT):
        is_upright = text.startswith("\\text", piece.start) or text.startswith(
            "\\mbox", piece.start
        )
        return at + 1 if is_upright and _is_unit(piece.text, known) else at
    if piece.mark is Mark.STYLE and piece.text in _UPRIGHT:
        end = after(pieces, at + 1)
        shown = "".join(p.text for p in pieces[at + 1 : end] if not p.is_sign("{", "}"))
        return end if end > at + 1 and _is_unit(shown, known) else at
    return at


def _is_unit(shown: str, known: Known) -> bool:
    shown = shown.strip()
    if not _UNIT.fullmatch(shown):
        return False
    symbols = _SYMBOL.findall(shown)
    return all(s in _COHERENT or s in _DIMENSION for s in symbols) and not (
        len(symbols) == 1 and (known.is_value(shown) or known.is_function(shown))
    )
