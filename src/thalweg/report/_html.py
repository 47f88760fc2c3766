"""HTML: a page as one file that needs nothing from the network."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from thalweg.report._blocks import Figure
from thalweg.report._json import to_plottable
from thalweg.report._mathml import with_formulas
from thalweg.report._numerals import typeset
from thalweg.report._page import Page


def render(page: Page) -> str:
    """The page as HTML."""
    blocks = [block for section in page.sections for block in section.blocks]
    has_figures = any(isinstance(block, Figure) for block in blocks)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            version=_version(),
            style=Markup(_resource("page.css")),
            script=Markup(_resource("page.js")),
            plotly=Markup(get_plotlyjs() if has_figures else ""),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["prose"] = _prose
    environment.filters["number"] = _number
    environment.filters["formulas"] = with_formulas
    environment.filters["plot"] = _plot
    environment.filters["kind"] = lambda block: type(block).__name__
    return environment


def _resource(name: str) -> str:
    return files("thalweg.report").joinpath("templates", name).read_text(encoding="utf-8")


def _version() -> str:
    try:
        return version("thalweg")
    except PackageNotFoundError:
        return "(not installed)"


def _prose(text: str) -> Markup:
    """Escaped text, its numbers as in print, with `code` between backticks set as code."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return escape(typeset(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(typeset(part))
        for number, part in enumerate(parts)
    )


def _number(text: str) -> Markup:
    """A cell of numbers: a doubt in brackets may stand below its value, neither is broken."""
    parts = re.split(r" (?=\()", str(text))
    whole = Markup('<span class="whole">{}</span>')
    return Markup(" ").join(whole.format(_prose(part)) for part in parts)


_MARKUP = re.compile(r"<(?!/?(?:b|i|em|sub|sup|extra)>|br/?>)")


def _plot(figure: Figure) -> Markup:
    """The figure as JSON inside a script element, which nothing in it can close."""
    spec = {"data": figure.data, "layout": figure.layout, "height": figure.height}
    text = json.dumps(_shown_as_written(to_plottable(spec)), allow_nan=False, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))


def _shown_as_written(value: Any) -> Any:
    """Plotly reads strings as markup: names such as "<lambda>" would vanish from the legend."""
    if isinstance(value, str):
        return _MARKUP.sub("&lt;", value)
    if isinstance(value, dict):
        return {key: _shown_as_written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown_as_written(item) for item in value]
    return value
