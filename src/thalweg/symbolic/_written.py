r"""Names as they are set: θ₁ in text, \theta_{1} in LaTeX."""

from __future__ import annotations

import re
import unicodedata

from thalweg.symbolic._spelling import GREEK

_LETTERS = {spelling: letter for letter, spelling in reversed(GREEK.items())}
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_HATS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303", "dot": "\u0307"}
_ESCAPED = re.compile(r"[^\w]", re.ASCII)


def text_of_name(name: str) -> str:
    """A name with Greek letters, lowered digits and accents.

    Args:
        name: as `normalised` spells it.

    Returns:
        Such as θ₁, ŷ, y_pred.

    Example:
        >>> [text_of_name(name) for name in ("theta_1", "y_hat", "y_pred", "W_11")]
        ['θ₁', 'ŷ', 'y_pred', 'W₁₁']
    """
    stem, *lower = name.split("_")
    said = _LETTERS.get(stem, stem)
    if lower and lower[0] in _HATS and len(said) == 1:
        said += _HATS[lower.pop(0)]
    said = unicodedata.normalize("NFC", said)
    if len(lower) == 1 and lower[0].isdecimal() and lower[0].isascii():
        return said + lower[0].translate(_LOWERED)
    return "_".join((said, *(_LETTERS.get(part, part) for part in lower)))


def latex_of_name(name: str) -> str:
    r"""A name in LaTeX.

    Args:
        name: as `normalised` spells it.

    Returns:
        Such as `\theta_{1}`, `\hat{y}`, `y_{\mathrm{pred}}`.

    Example:
        >>> print(*(latex_of_name(name) for name in ("theta_1", "y_hat", "y_pred", "loss")))
        \theta_{1} \hat{y} y_{\mathrm{pred}} \mathrm{loss}
    """
    stem, *lower = name.split("_")
    said = _latex_of_word(stem)
    if lower and lower[0] in _HATS and len(_LETTERS.get(stem, stem)) == 1:
        said = f"\\{lower.pop(0)}{{{said}}}"
    if not lower:
        return said
    return f"{said}_{{{','.join(map(_latex_of_word, lower))}}}"


def _latex_of_word(word: str) -> str:
    if word in _LETTERS:
        return "\\" + word
    primes = "'" * (len(word) - len(word.rstrip("'")))
    # What is no letter or digit of ASCII could be a command, or have no glyph.
    word = _ESCAPED.sub(lambda found: f"u{ord(found[0]):x}", word.rstrip("'"))
    return (word if len(word) == 1 or word.isdecimal() else f"\\mathrm{{{word}}}") + primes
