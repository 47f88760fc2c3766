"""Pages: what a room wants to show, described once, shown as HTML, in a terminal, or as JSON.

This room knows pages, sections, figures and tables; it knows no result and no mathematics. Each
room describes its own page with these pieces.
"""

from thalweg.report._blocks import (
    Block,
    Code,
    Fact,
    Facts,
    Figure,
    Line,
    Mark,
    Marked,
    Table,
    Text,
)
from thalweg.report._ink import Ink
from thalweg.report._json import to_json, to_jsonable
from thalweg.report._page import Page, Section
from thalweg.report._paged import Interrupted, Paged, PagedResult
from thalweg.report._save import check_writable
from thalweg.report._schema import schema_of_list
from thalweg.report._terminal import print_page
from thalweg.report._tone import Tone
from thalweg.report._traces import band, line

__all__ = [
    "Block",
    "Code",
    "Fact",
    "Facts",
    "Figure",
    "Ink",
    "Interrupted",
    "Line",
    "Mark",
    "Marked",
    "Page",
    "Paged",
    "PagedResult",
    "Section",
    "Table",
    "Text",
    "Tone",
    "band",
    "check_writable",
    "line",
    "print_page",
    "schema_of_list",
    "to_json",
    "to_jsonable",
]
