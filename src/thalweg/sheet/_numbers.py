"""Numbers as they are set: so many digits, small matrices in full, large ones by shape and norm."""

from __future__ import annotations

from math import floor, log10

import torch
from torch import Tensor

from thalweg.symbolic import Label

DIGITS = 8
"""Shown where nothing else is asked for; float64 has 16."""

ALMOST = 1e-13
"""Nearer to 1 than this, the digits that tell a number from 1 are rounding."""

MAX_SHOWN = 36
"""Entries up to which a matrix is shown in full."""


def number(value: float, digits: int = DIGITS) -> Label:
    """A number, correctly rounded to so many digits."""
    text = f"{value + 0.0:.{digits}g}"
    if text in ("1", "-1") and abs(1 - abs(value)) > ALMOST:
        # What is almost 1 is told from it: 0.99999999972.
        text = f"{value:.{2 - floor(log10(abs(1 - abs(value))))}g}"
    if text == "-0":
        text = "0"
    if text == "-inf":
        return Label("−∞", r"-\infty")
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return Label(text, text)
    return Label(text, f"{mantissa} \\times 10^{{{int(exponent)}}}")


def is_exact(value: Tensor, digits: int = DIGITS) -> bool:
    """Whether nothing is rounded where the value is shown."""
    if value.numel() > MAX_SHOWN:
        return False
    finite = value[torch.isfinite(value)].tolist()
    return all(float(number(v, digits).text) == v for v in finite)


def held(label: Label) -> Label:
    """A negative number in brackets."""
    if label.text.startswith(("-", "−")):
        return Label(f"({label.text})", f"({label.latex})")
    return label


def shown(value: Tensor, digits: int = DIGITS) -> Label:
    """A number, vector or matrix."""
    if value.ndim == 0:
        return number(float(value), digits)
    if value.numel() > MAX_SHOWN or not value.numel():
        size = "×".join(map(str, value.shape))
        norm = number(float(torch.linalg.vector_norm(value)), digits)
        return Label(
            f"{size} entries, ‖·‖ = {norm.text}",
            f"\\left[{size.replace('×', chr(92) + 'times ')} \\text{{ entries}}, "
            f"\\lVert \\cdot \\rVert = {norm.latex}\\right]",
        )
    if value.ndim == 1:
        labels = [number(v, digits) for v in value.tolist()]
        return _vector(labels)
    if value.ndim > 2:
        parts = [shown(part, digits) for part in value]
        latex = r",\, ".join(part.latex for part in parts)
        return Label(f"[{', '.join(p.text for p in parts)}]", f"\\left[{latex}\\right]")
    rows = [[number(v, digits) for v in row] for row in value.tolist()]
    text = ", ".join(f"[{', '.join(label.text for label in row)}]" for row in rows)
    latex = r" \\ ".join(" & ".join(label.latex for label in row) for row in rows)
    return Label(f"[{text}]", f"\\begin{{pmatrix}} {latex} \\end{{pmatrix}}")


def _vector(labels: list[Label]) -> Label:
    """A vector stands upright."""
    text = ", ".join(label.text for label in labels)
    latex = r" \\ ".join(label.latex for label in labels)
    return Label(f"[{text}]", f"\\begin{{pmatrix}} {latex} \\end{{pmatrix}}")
