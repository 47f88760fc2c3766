"""A worked pass in Markdown with LaTeX formulas, as people hand it in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.sheet._lines import (
    backward_lines,
    chain_lines,
    forward_lines,
    given_lines,
    local_lines,
)

if TYPE_CHECKING:
    from thalweg.sheet._worked import WorkedPass


def markdown_of(worked: WorkedPass, digits: int) -> str:
    """Sections of displayed equations."""
    graph = worked.graph
    parts = [f"# {_plain(worked.title)}"]
    for title, lines in (
        ("Given", given_lines(graph, digits)),
        ("Forward", forward_lines(graph, digits)),
        ("Local derivatives", local_lines(graph, digits)),
        ("Backward", backward_lines(graph, digits)),
        ("Back to what is given", chain_lines(graph, digits)),
    ):
        if lines:
            parts.append(f"## {title}")
            parts += [f"$$\n{line.latex}\n$$" for line in lines]
    if worked.remarks:
        parts.append("## What it says")
        parts += [remark.latex for remark in worked.remarks]
    parts.append(worked.proof)
    return "<!-- written by thalweg -->\n\n" + "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|$" else c for c in text)
