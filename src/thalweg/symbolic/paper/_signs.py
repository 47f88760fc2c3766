"""Signs: what stands for an operation, a relation or an index without a command of LaTeX."""

from __future__ import annotations

SIGNS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "－": "-", "·": "*", "⋅": "*",
    "∙": "*", "×": "*", "∗": "*", "•": "*", "✕": "*", "✖": "*", "*": "*", "÷": "/", "∕": "/",
    "⁄": "/", "⊙": "⊙", "∘": "⊙", "◦": "⊙", "⊗": "⊗", "ᵀ": "ᵀ", "⊤": "ᵀ", "‖": "‖", "∥": "‖",
    "√": "√", "′": "'", "’": "'", "‘": "'", "'": "'", "`": "'", "″": "''", "∂": "∂", "∇": "∇",
    "∑": "∑", "∏": "∏", "±": "±", "∓": "∓", "%": "%", "…": "…",
    "[": "[", "]": "]", "(": "(", ")": ")",
    "{": "{", "}": "}", "+": "+", "-": "-", "/": "/", "^": "^", "_": "_", "@": "@", "|": "|",
    "!": "!", "⌊": "⌊", "⌋": "⌋", "⌈": "⌈", "⌉": "⌉",
    "⟨": "⟨", "⟩": "⟩", ":": ":", ".": ".", "?": "?", "<": "<", ">": ">", "°": "°",
}  # fmt: skip
"""Signs, and what they are written as here."""

RELATIONS = {
    "=": "=", "≈": "≈", "≃": "≈", "≅": "≈", "≐": "≈", "≡": "=", "≔": ":=", "≜": "=", "←": ":=",
    "≤": "≤", "≥": "≥", "<": "<", ">": ">", "≠": "≠", "∈": "∈", "∝": "∝", "∼": "~", "≪": "<",
    "≫": ">", "＝": "=", "≟": "=", "⩽": "≤", "⩾": "≥",
}  # fmt: skip
"""Relations of one sign."""

LONG_RELATIONS = {
    ":=": ":=", "==": "=", "~=": "≈", "=~": "≈", "<=": "≤", ">=": "≥", "!=": "≠", "<-": ":=",
    "≈=": "≈",
}  # fmt: skip
"""Relations of two signs."""

LONG_SIGNS = {"**": "^", "||": "‖", ".*": "⊙"}
"""Signs of two."""

BREAKS = {"⇒", "→", "⇔", "⟹", "⟶", "↦", "∧", "∴", "⟺", "➔", "➜", "➡"}
"""Arrows, behind which another statement begins."""

LONG_BREAKS = {"=>", "->", "<=>", "==>", "-->"}
"""The same of several signs."""

RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾"
"""Digits and signs above a letter."""

RAISED_LETTERS = {"ⁿ": "n", "ⁱ": "i", "ᵗ": "t", "ᵏ": "k", "ˡ": "l", "⁺": "+"}
"""Letters above a letter."""

LOWERED = "₀₁₂₃₄₅₆₇₈₉₊₋ᵢⱼₖₗₘₙₒₚₜₓₐₑₕₛ"
"""Digits, signs and letters below a letter."""

SPECIAL_LETTERS = frozenset(RAISED_LETTERS) | frozenset(LOWERED) | {"ᵀ"}
"""What Unicode takes for letters, and is none of a name."""

ACCENTS = {"\u0302": "hat", "\u0304": "bar", "\u0303": "tilde", "\u0307": "dot"}
"""Marks upon a letter."""
