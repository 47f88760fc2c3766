"""Prose: words that no formula is made of, in three languages."""

from __future__ import annotations

PROSE = frozenset((
    "and", "or", "with", "where", "so", "since", "because", "if", "then", "else", "for", "thus",
    "hence", "und", "oder", "mit", "wo", "also", "da", "weil", "wenn", "dann", "sonst", "fuer",
    "et", "ou", "avec", "car", "si", "donc", "alors", "pour", "sonst", "otherwise", "falls", "is",
    "ist", "est", "the", "der", "die", "das", "le", "la", "les", "we", "get", "gives", "by", "von",
    "bei", "at", "as", "in", "on", "to", "from", "using", "yields", "einsetzen", "soit", "ergibt",
    "folgt", "daraus", "therefore", "such", "that", "let", "sei", "given", "gegeben", "not",
    "nicht", "pas", "non", "yes", "ja", "oui", "correct", "wrong", "richtig", "falsch", "see",
    "siehe", "voir",
))  # fmt: skip
"""Words that are prose wherever they stand."""
