"""MathML: formulas in LaTeX as browsers draw them, without a font or a script of our own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markupsafe import Markup, escape

MAX_LETTERS = 2000
"""Of a formula that is set; longer ones are shown as they are written."""

_ELEMENTS = frozenset((
    "math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub",
    "msup", "msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd", "menclose",
    "mstyle", "mpadded", "mphantom",
))  # fmt: skip
_ATTRIBUTES = frozenset((
    "display", "displaystyle", "scriptlevel", "mathvariant", "accent", "accentunder",
    "stretchy", "fence", "form", "width", "height", "depth", "lspace", "rspace", "minsize",
    "maxsize", "columnalign", "rowspacing", "columnspacing", "linethickness", "notation",
    "linebreak", "movablelimits", "separator", "symmetric",
))  # fmt: skip
_DECIMAL_COMMA = re.compile(
    r"<mn>(\d+)</mn><mrow><mo>&#x0002C;</mo></mrow><mn>(\d+)</mn>", re.IGNORECASE
)
_STRUCTURE = re.compile(
    r"\\(?:begin|end)(?![a-z])|\\left(?![a-z])|\\right(?![a-z])|\\[{}]|[{}()\[\]]|\\approx(?![a-z])|="
)
_OPENING = frozenset(("\\begin", "\\left", "\\{", "{", "(", "["))
_CLOSING = frozenset(("\\end", "\\right", "\\}", "}", ")", "]"))
_FORMULA = re.compile(r"(?<!\\)(\$\$?)((?:[^$\\]|\\.)+?)\1", re.DOTALL)


def with_formulas(text: str) -> Markup:
    """Escaped text in which what stands between dollars is set as mathematics."""
    found = Markup("")
    at = 0
    for formula in _FORMULA.finditer(text):
        found += escape(text[at : formula.start()])
        is_display = formula[1] == "$$"
        parts = (mathml(part, is_display=is_display) for part in _parts(formula[2]))
        found += Markup(" ").join(parts)
        at = formula.end()
    return found + escape(text[at:])


def _parts(latex: str) -> Iterator[str]:
    """A chain a = b = c before each relation outside of brackets, where a line may break."""
    depth = start = 0
    for found in _STRUCTURE.finditer(latex):
        if found[0] in _OPENING:
            depth += 1
        elif found[0] in _CLOSING:
            depth -= 1
        elif depth == 0 and latex[start : found.start()].strip():
            yield latex[start : found.start()]
            start = found.start()
    yield latex[start:]


def mathml(latex: str, *, is_display: bool = False) -> Markup:
    """A formula as MathML; as it is written, where it cannot be set.

    What comes from strangers may hold markup: only elements and attributes of mathematics pass.
    """
    shown = Markup("<code>{}</code>").format(latex.strip())
    if len(latex) > MAX_LETTERS or not latex.strip():
        return shown
    try:
        text = convert(latex, display="block" if is_display else "inline")
        root = ElementTree.fromstring(_DECIMAL_COMMA.sub(r"<mn>\1,\2</mn>", text))
    except (Exception, RecursionError):
        return shown
    if not all(_is_mathematics(element) for element in root.iter()):
        return shown
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _is_mathematics(element: ElementTree.Element) -> bool:
    # A command that is not known is set as a name with its backslash: better as it is written.
    is_known = element.tag.rpartition("}")[2] in _ELEMENTS and "\\" not in (element.text or "")
    return is_known and not (set(element.attrib) - _ATTRIBUTES)
