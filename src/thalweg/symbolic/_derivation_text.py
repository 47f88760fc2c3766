"""A derivation in LaTeX and in Markdown."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from thalweg.symbolic._finding import Finding
from thalweg.symbolic._spelling import GREEK

if TYPE_CHECKING:
    from thalweg.symbolic._derive import Derivation

_PREAMBLE = r"""% written by thalweg
\documentclass[fleqn]{article}
\usepackage[utf8]{inputenc}
\usepackage{amsmath}
\usepackage[margin=2cm]{geometry}
\setlength{\parindent}{0pt}
\allowdisplaybreaks
\begin{document}
"""
_ACCENTS = {"\u0302": r"\hat", "\u0304": r"\bar", "\u0303": r"\tilde", "\u0307": r"\dot"}
_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "−": "$-$", "ε": r"$\varepsilon$", "∇": r"$\nabla$", "‖": r"$\Vert$", "²": "$^{2}$",
    "½": r"$\tfrac{1}{2}$", "ᵀ": r"$^{\top}$", "…": r"\dots{}", "⁺": "$^{+}$", "⁻": "$^{-}$",
    "¹": "$^{1}$", "·": r"$\cdot$",
}  # fmt: skip


def latex_of(derivation: Derivation, is_document: bool) -> str:
    """Sections of displayed equations."""
    parts = [f"\\[ f = {derivation.formula.latex} \\]\n"]
    for finding in derivation.findings:
        parts.append(
            f"\\subsection*{{{_escaped(_title(finding))}}}\n\\[ {equation_of(finding)} \\]\n"
        )
        if finding.value is not None and finding.title not in ("value", "Newton step"):
            parts.append(f"Here: \\[ {finding.value.latex} \\]\n")
        said = _said(finding)
        if said:
            parts.append(f"{_escaped(said)}\n\n")
    if derivation.rules:
        rows = " \\\\\n".join(f"&{rule.latex}" for rule in derivation.rules)
        parts.append(f"\\subsection*{{Rules}}\n\\begin{{align*}}\n{rows}\n\\end{{align*}}\n")
    body = "".join(parts)
    return f"{_PREAMBLE}{body}\\end{{document}}\n" if is_document else body


def markdown_of(derivation: Derivation) -> str:
    """Sections of displayed equations."""
    parts = ["<!-- written by thalweg -->", f"$$\nf = {derivation.formula.latex}\n$$"]
    for finding in derivation.findings:
        parts += [f"## {_title(finding)}", f"$$\n{equation_of(finding)}\n$$"]
        if finding.value is not None and finding.title not in ("value", "Newton step"):
            parts += ["Here:", f"$$\n{finding.value.latex}\n$$"]
        if said := _said(finding):
            parts.append(said)
    if derivation.rules:
        parts.append("## Rules")
        parts += [f"$$\n{rule.latex}\n$$" for rule in derivation.rules]
    return "\n\n".join(parts) + "\n"


def equation_of(finding: Finding) -> str:
    """The finding as one equality; a series is approximate."""
    if finding.formula.text == "none":
        return f"{finding.symbol.latex}: \\text{{none}}"
    sign = r"\approx" if finding.title.startswith("Taylor") else "="
    return f"{finding.symbol.latex} {sign} {finding.formula.latex}"


def _title(finding: Finding) -> str:
    return finding.title[0].upper() + finding.title[1:]


def _said(finding: Finding) -> str:
    said = finding.verification.said if finding.verification else ""
    parts = [part[0].upper() + part[1:] for part in (said, finding.note) if part]
    return ". ".join(parts) + ("." if parts and not parts[-1].endswith("…") else "")


def _escaped(text: str) -> str:
    """Words with a name among them, such as θ₁ or ŷ, in letters that LaTeX has."""
    letters = list(unicodedata.normalize("NFD", text))
    shown = []
    for letter, accent in zip(letters, [*letters[1:], ""], strict=True):
        if accent in _ACCENTS:
            shown.append(f"${_ACCENTS[accent]}{{{letter}}}$")
        elif letter in GREEK:
            shown.append(f"$\\{GREEK[letter]}$")
        elif letter in "₀₁₂₃₄₅₆₇₈₉":
            shown.append(f"$_{{{unicodedata.normalize('NFKC', letter)}}}$")
        elif letter not in _ACCENTS:
            shown.append(_ESCAPES.get(letter, letter))
    return "".join(
        c if c.isascii() and (c.isprintable() or c == "\n") else "?" for c in "".join(shown)
    )
