"""A worked pass in LaTeX: one document that compiles, or its body to put into another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.sheet._lines import (
    Line,
    backward_lines,
    chain_lines,
    forward_lines,
    given_lines,
    local_lines,
)

if TYPE_CHECKING:
    from thalweg.sheet._worked import WorkedPass

PREAMBLE = r"""% written by thalweg
\documentclass[fleqn]{article}
\usepackage[utf8]{inputenc}
\usepackage{amsmath}
\usepackage[margin=2cm]{geometry}
\setlength{\parindent}{0pt}
\setcounter{MaxMatrixCols}{40}
\allowdisplaybreaks
\begin{document}
"""

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "…": r"\dots{}", "−": "$-$", "≈": r"$\approx$", "·": r"$\cdot$", "×": r"$\times$",
}  # fmt: skip

_BREAK = r"\\ &"


def document_of(worked: WorkedPass, digits: int) -> str:
    """A whole document."""
    return f"{PREAMBLE}{body_of(worked, digits)}\\end{{document}}\n"


def body_of(worked: WorkedPass, digits: int) -> str:
    """Sections of aligned equations; needs amsmath."""
    graph = worked.graph
    parts = [f"\\section*{{{escaped(worked.title)}}}\n"]
    for title, lines in (
        ("Given", given_lines(graph, digits)),
        ("Forward", forward_lines(graph, digits)),
        ("Local derivatives", local_lines(graph, digits)),
        ("Backward", backward_lines(graph, digits)),
        ("Back to what is given", chain_lines(graph, digits)),
    ):
        if lines:
            parts.append(f"\\subsection*{{{title}}}\n{_aligned(lines)}")
    if worked.remarks:
        said = "\n\n".join(_text(remark.latex) for remark in worked.remarks)
        parts.append(f"\\subsection*{{What it says}}\n{said}\n\n")
    parts.append(f"\\medskip {escaped(worked.proof)}\n\n")
    return "".join(parts)


def escaped(text: str) -> str:
    """Plain text, with nothing in it that LaTeX reads as a command or has no letter for."""
    shown = "".join(_ESCAPES.get(letter, letter) for letter in text)
    return "".join(c if c.isascii() and (c.isprintable() or c == "\n") else "?" for c in shown)


def _text(latex: str) -> str:
    """A sentence with formulas between dollars: the words are escaped, the formulas left."""
    parts = latex.split("$")
    return "".join(f"${p}$" if i % 2 else escaped(p) for i, p in enumerate(parts))


def _aligned(lines: list[Line]) -> str:
    rows = []
    for line in lines:
        first, *rest = line.members
        signs = ["="] * (len(rest) - 1) + [r"\approx" if line.is_rounded else "="]
        row = f"{first.latex} &"
        for number, (sign, member) in enumerate(zip(signs, rest, strict=True)):
            # A long line goes on below.
            is_long = number and sum(len(m.text) for m in rest) > 80
            row += f"{_BREAK if is_long else ''}{sign} {member.latex} "
        rows.append(row.rstrip())
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}\n"
