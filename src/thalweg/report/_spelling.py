"""Spelling: mathematics for a terminal that cannot show its letters."""

from __future__ import annotations

import re
import unicodedata

_SPELLINGS = {
    "−": "-", "–": "-", "—": "-", "±": "+/-", "→": "->", "←": "<-", "×": "x", "·": "*", "…": "...",
    "≤": "<=", "≥": ">=", "≈": "~", "≠": "!=", "∞": "inf", "√": "sqrt ", "‖": "||", "∈": "in",
    "∇": "grad ", "∂": "d", "∑": "sum", "Σ": "Sigma", "Δ": "Delta", "Λ": "Lambda", "Ω": "Omega",
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "u", "ν": "nu", "ξ": "xi",
    "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "χ": "chi", "ψ": "psi",
    "ω": "omega", "⊤": "^T", "‘": "'", "’": "'", "“": '"', "”": '"', "✓": "+", "✗": "x", "•": "*",
}  # fmt: skip

_POWER = re.compile(r"[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")


def spelled(text: str, encoding: str) -> str:
    """The text in letters that the encoding has: unchanged if it has them all."""
    if _fits(text, encoding):
        return text
    text = _POWER.sub(lambda power: _raise(power[0], encoding), text)
    return "".join(_spell(letter, encoding) for letter in text)


def _raise(power: str, encoding: str) -> str:
    """10⁻² as 10^-2."""
    if _fits(power, encoding):
        return power
    return "^" + unicodedata.normalize("NFKD", power).replace("−", "-")


def _spell(letter: str, encoding: str) -> str:
    if _fits(letter, encoding):
        return letter
    spelling = _SPELLINGS.get(letter) or unicodedata.normalize("NFKD", letter)
    return "".join(part if _fits(part, encoding) else "?" for part in spelling)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
