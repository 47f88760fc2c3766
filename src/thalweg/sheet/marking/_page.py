"""Page reader: Markdown to stretches of mathematics with their lines, and what stands around."""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from thalweg.symbolic.paper import Hand

MAX_PAGE = 4_000_000
"""Characters of a page."""


@dataclass(frozen=True)
class Stretch:
    """Mathematics on a page.

    Args:
        text: without the dollars.
        lines: of every newline in it: the line of its first letter, from 1.
        before: the words right before it.
        is_plain: not set as mathematics: a line of prose in which there may be some.
        is_item: an item of a list, whose dash may be a minus.
    """

    text: str
    line: int
    before: str = ""
    is_plain: bool = False
    is_item: bool = False

    def line_of(self, place: int) -> int:
        """The line of a place in the text."""
        return self.line + self.text.count("\n", 0, place)


@dataclass(frozen=True)
class Turn:
    """A place where a page begins anew: another iteration, another part.

    Args:
        line: where.
    """

    line: int


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        cells: what stands in it.
        line: where.
        header: the cells of the first row.
    """

    cells: tuple[Stretch, ...]
    line: int
    header: tuple[str, ...]


@dataclass(frozen=True)
class Skipped:
    """What is not mathematics and is not read, such as a program.

    Args:
        line: where it begins.
        text: its first line.
        why: in words.
    """

    line: int
    text: str
    why: str


Item = Stretch | Turn | Row | Skipped

_FENCE = re.compile(r"\s{0,3}(?:>\s*)*(```+|~~~+)\s*([A-Za-z0-9_+-]*)")
_ENVIRONMENTS = "align|aligned|equation|gather|gathered|multline|eqnarray|displaymath|math|alignat|split|flalign"  # noqa: E501
_ENTITY = re.compile(r"&(?:[A-Za-z]{2,12}|#\d{1,6}|#x[0-9A-Fa-f]{1,5});")
_TAG = re.compile(r"</?(?:br|b|i|em|strong|p|div|span|center|u|small|hr|li|ul|ol|td|tr|th|table)\b[^<>\n]{0,200}>", re.IGNORECASE)  # fmt: skip  # noqa: E501
_LOWERED = re.compile(r"<sub>([^<>\n]{1,40})</sub>", re.IGNORECASE)
_RAISED = re.compile(r"<sup>([^<>\n]{1,40})</sup>", re.IGNORECASE)
_BULLET = re.compile(
    r"[ \t>]*(?:(?P<dash>[-*+•–])[ \t]+|\(?(?:\d{1,2}|[a-hA-H]|[ivx]{1,4})[.)][ \t]+)(?:\[[ xX]\][ \t]+)?"  # noqa: E501
)
_HEADING = re.compile(r"[ \t>]*#{1,6}[ \t]*")
_STRONG = re.compile(r"(?<![\w*])(\*\*|__)(?=\S)(.{1,300}?)(?<=\S)\1(?![\w*])")
_EMPHASIS = re.compile(r"(?<![\w*\\\d)])\*(?=[^\s*])([^*\n]{1,200}?)(?<=[^\s*])\*(?![\w*\d(])")
_ANEW = re.compile(
    r"\b(?:iterations?|itérations?|epochs?|epoche|époque|durchläufe?|durchlauf|runde|"
    r"(?:second|next|third|zweite[rsn]?|nächste[rsn]?|dritte[rsn]?|deuxième|seconde?|prochaine?)\s+"
    r"(?:step|update|iteration|schritt|itération|étape|pas|sample|point|example|punkt|beispiel)|"
    r"after the update|nach dem update|après la mise à jour|(?:gradient|newton|adam)[- ]?"
    r"(?:step|schritt|pas)\s*\d|updated?\b|mise à jour|aktualisier\w*|now with|nun mit|jetzt mit|"
    r"maintenant avec|instead|stattdessen|au lieu|à la place|example|beispiel|exemple|"
    r"(?:part|teil|partie|aufgabe|exercise|task|question|case|fall|cas|variant\w*|sample|"
    r"datenpunkt|échantillon)\s*[(]?(?:\d|[a-h]\b))",
    re.IGNORECASE,
)
_PART = re.compile(r"[ \t>*_#]*\(?[a-hA-H]\)")
_ACTIVATION = re.compile(
    r"\b(?:relu|tanh|sigmoid\w*|identity|identität|identité|leaky)\b", re.IGNORECASE
)
_COUNTED = re.compile(
    r"(?<![\w\\])(?:[ktn]|iter|step)\s*=\s*\d+\s*(?:\$|\))?\s*[:.)]", re.IGNORECASE
)


def hand_of(text: str) -> Hand:
    """How a page writes decimals: by what most of its numbers look like.

    Commas between the numbers of (1,2) and of w_{1,2} say nothing.
    """
    if re.search(r"\d\{,\}\d", text):
        return Hand(has_comma=True)
    bare = re.sub(r"_\{[^{}]{0,20}\}|^[ \t>#*]*\d+(?:\.\d+)+[ \t.)]", " ", text, flags=re.MULTILINE)
    # (0,1) is a pair before it is a decimal.
    bare = re.sub(r"\(-?\d,-?\d\)", " ", bare)
    points = len(re.findall(r"\d\.\d", bare))
    commas = re.findall(r"(?<![\d,.])(\d+),(\d+)(?![\d,])", bare)
    outside = len(re.findall(r"(?:^|[^(\[\d,;&])\s*(?<![\d,.(\[])-?\d+,\d+(?![\d,])", bare))
    telling = sum(1 for whole, rest in commas if whole == "0" or len(rest) > 1 or rest == "0")
    if not points:
        return Hand(has_comma=bool(telling or outside))
    return Hand(has_comma=telling + outside > 2 * points)


def items_of(page: str) -> Iterator[Item]:
    r"""Cuts a page into mathematics, turns and what is not read, from top to bottom.

    Args:
        page: Markdown, with LaTeX between dollars, \\[ \\] or in environments, or without.

    Yields:
        In the order of the page. Linear in its length.
    """
    yield from _Reader(_plain(page)).items()


def _plain(page: str) -> str:
    """Without tags, entities and comments; every line stays where it was."""
    page = page.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", " ")
    page = _without_comments(page)
    page = _ENTITY.sub(lambda found: html.unescape(found[0]).replace("\n", " "), page)
    page = _LOWERED.sub(r"_{\1}", page)
    page = _RAISED.sub(r"^{\1}", page)
    return _TAG.sub(" ", page)


def _without_comments(page: str) -> str:
    found: list[str] = []
    at = 0
    while (start := page.find("<!--", at)) >= 0:
        end = page.find("-->", start)
        if end < 0:
            break
        found += [page[at:start], "\n" * page.count("\n", start, end)]
        at = end + 3
    return "".join((*found, page[at:]))


class _Reader:
    def __init__(self, page: str) -> None:
        self._page = page
        self._starts = [0]
        for found in re.finditer("\n", page):
            self._starts.append(found.end())
        self._header: tuple[str, ...] = ()
        self._last_words = ""
        self._unclosed: dict[str, int] = {}

    def _line(self, place: int) -> int:
        return bisect_right(self._starts, place)

    def items(self) -> Iterator[Item]:
        """Fenced blocks first; all between them is Markdown."""
        at = 0
        lines = self._page.split("\n")
        place = 0
        start = 0
        while at < len(lines):
            fence = _FENCE.match(lines[at]) if ("```" in lines[at] or "~~~" in lines[at]) else None
            if fence is None or self._page.count("```", place, place + len(lines[at])) > 1:
                place += len(lines[at]) + 1
                at += 1
                continue
            yield from self._markdown(start, place)
            end, inside = at + 1, place + len(lines[at]) + 1
            length = 0
            while end < len(lines) and not lines[end].strip().startswith(fence[1][:3]):
                length += len(lines[end]) + 1
                end += 1
            yield from self._fenced(fence[2].lower(), lines[at + 1 : end], at + 2)
            place = inside + length + (len(lines[end]) + 1 if end < len(lines) else 0)
            at = end + 1
            start = place
        yield from self._markdown(start, len(self._page))

    def _fenced(self, language: str, lines: list[str], first: int) -> Iterator[Item]:
        if language in ("math", "latex", "tex", "katex"):
            text = "\n".join(lines).replace("$", " ")
            yield Stretch(text, first)
        elif language in ("", "text", "txt", "plain", "output", "plaintext"):
            for number, line in enumerate(lines, first):
                if line.strip():
                    yield Stretch(line, number, is_plain=True)
        elif any("=" in line for line in lines):
            yield Skipped(
                first - 1, lines[0].strip()[:80] if lines else "", f"a {language} program"
            )

    def _markdown(self, start: int, end: int) -> Iterator[Item]:
        """Paragraph by paragraph: display mathematics, tables, lines."""
        at = start
        while at < end:
            found = self._next_display(at, end)
            upto = found[0] if found else end
            yield from self._paragraphs(at, upto)
            if found is None:
                return
            _, inside, close, at = found
            text = self._page[inside:close]
            if text.strip():
                text = "\n".join(re.sub(r"^[ \t]*>[ \t]?", "", line) for line in text.split("\n"))
                yield Stretch(text.replace("$", " "), self._line(inside), self._last_words)
                self._last_words = ""

    def _next_display(self, at: int, end: int) -> tuple[int, int, int, int] | None:
        r"""The next $$ … $$, \[ … \] or environment: where it begins, its inside, where it ends."""
        for found in _DISPLAY.finditer(self._page, at, end):
            text = found[0]
            ending = _ENDINGS.get(text) or f"\\end{{{found['env']}}}"
            # What has no end further up has none further down: it is looked for once.
            if self._unclosed.get(ending) == end:
                continue
            close = self._page.find(ending, found.end(), end)
            if close < 0:
                self._unclosed[ending] = end
                continue
            if text in _ENDINGS:
                return found.start(), found.end(), close, close + 2
            if not self._is_in_dollars(found.start()):
                close += len(ending)
                return found.start(), found.start(), close, close
        return None

    def _is_in_dollars(self, place: int) -> bool:
        """Whether an odd number of dollars stands before a place on its line."""
        start = max(self._page.rfind("\n", 0, place) + 1, place - 2000)
        return len(re.findall(r"(?<!\\)\$", self._page[start:place])) % 2 == 1

    def _paragraphs(self, start: int, end: int) -> Iterator[Item]:
        text = self._page[start:end]
        first = self._line(start)
        lines = text.split("\n")
        at = 0
        while at < len(lines):
            line = lines[at]
            count = len(re.findall(r"(?<!\\)\$", line))
            taken = 1
            if count % 2 == 1:
                # Inline mathematics may go on in the next lines of a paragraph.
                for more in range(1, 4):
                    if at + more >= len(lines) or not lines[at + more].strip():
                        break
                    if len(re.findall(r"(?<!\\)\$", lines[at + more])) % 2 == 1:
                        line = "\n".join(lines[at : at + more + 1])
                        taken = more + 1
                        break
            elif count == 0 and "\\(" in line and "\\)" not in line:
                for more in range(1, 4):
                    if at + more < len(lines) and "\\)" in lines[at + more]:
                        line = "\n".join(lines[at : at + more + 1])
                        taken = more + 1
                        break
            yield from self._one_line(line, first + at)
            at += taken

    def _one_line(self, line: str, number: int) -> Iterator[Item]:
        if not line.strip():
            self._header = ()
            return
        if line.strip().startswith("|") and line.count("|") >= 2:
            yield from self._table_row(line, number)
            return
        self._header = ()
        heading = _HEADING.match(line)
        if self._begins_anew(line, heading is not None):
            yield Turn(number)
        if heading:
            line = " " * heading.end() + line[heading.end() :]
        line = re.sub(r"^[ \t]*(?:>[ \t]?)+", " ", line)
        bullet = _BULLET.match(line)
        is_item = bool(bullet and bullet["dash"] in ("-", "–"))
        if bullet:
            line = line[bullet.end() :]
        # $`x = 3`$ is how one site writes $x = 3$.
        line = line.replace("$`", "$").replace("`$", "$")
        code = list(_CODE.finditer(line)) if "$" not in line else []
        if any(_RELATED.search(span[1]) for span in code):
            yield from self._coded(line, code, number, is_item)
            return
        line = _STRONG.sub(r"\2", line)
        if "$" not in line:
            line = _EMPHASIS.sub(r"\1", line)
        yield from self._inline(line, number, is_item)

    def _coded(
        self, line: str, code: list[re.Match[str]], number: int, is_item: bool
    ) -> Iterator[Item]:
        """A line with mathematics between backticks: `z = w*x = 6`."""
        at = 0
        joined = ""
        for span in code:
            between = line[at : span.start()]
            if joined and _JOINT.fullmatch(between):
                joined += between + span[1]
            else:
                yield from self._code(joined, number)
                if re.search(r"\w|=|≈", between):
                    yield self._words(_STRONG.sub(r"\2", between), number, is_item and not at)
                joined = span[1]
            at = span.end()
        rest = line[at:]
        if joined and re.match(r"\s*[=≈]", rest):
            yield from self._code(joined + rest, number)
            return
        yield from self._code(joined, number)
        if re.search(r"\w|=|≈", rest):
            yield self._words(_STRONG.sub(r"\2", rest), number, False)

    def _code(self, text: str, number: int) -> Iterator[Item]:
        if text:
            yield Stretch(_MODULE.sub("", text), number, self._last_words, is_plain=True)
            self._last_words = ""

    def _begins_anew(self, line: str, is_heading: bool) -> bool:
        bare = re.sub(r"\$[^$]*\$", " ", line)
        return bool(
            _ANEW.search(bare)
            or _PART.match(line)
            or _COUNTED.search(line)
            or (is_heading and _ACTIVATION.search(bare))
        )

    def _table_row(self, line: str, number: int) -> Iterator[Item]:
        inside = line.strip().strip("|")
        cells = [
            cell.replace("\x01", "|").strip()
            for cell in re.sub(
                r"\$[^$]*\$|\\\|", lambda f: f[0].replace("|", "\x01"), inside
            ).split("|")
        ]
        if all(re.fullmatch(r":?-{1,}:?", cell) for cell in cells):
            return
        if not self._header:
            self._header = tuple(cells)
            if not any(re.search(r"\d", cell) for cell in cells[1:]):
                return
        stretches = tuple(
            Stretch(cell.strip("$").replace("$", " "), number, is_plain="$" not in cell)
            for cell in cells
        )
        yield Row(stretches, number, self._header)

    def _inline(self, line: str, number: int, is_item: bool) -> Iterator[Item]:
        r"""The mathematics between dollars or \( \), and the words between."""
        count = len(re.findall(r"(?<!\\)\$", line))
        if count % 2 == 1:
            # A dollar is missing: the line is read as if it had none.
            line = re.sub(r"(?<!\\)\$", " ", line)
        line = line.replace("\\(", "$").replace("\\)", "$")
        parts = re.split(r"(?<!\\)\$", line)
        if len(parts) == 1:
            yield self._words(line, number, is_item)
            return
        at = number
        index = 0
        first = True
        while index < len(parts):
            part = parts[index]
            if index % 2 == 0:
                if re.search(r"\w|=|≈", part):
                    yield self._words(part, at, is_item and first)
                at += part.count("\n")
                first = first and not part.strip()
                index += 1
                continue
            start = at
            text = part
            at += part.count("\n")
            # "$z$ = $6$": a relation outside of the dollars joins what they hold.
            while index + 2 < len(parts) and _JOINT.fullmatch(parts[index + 1]):
                text += parts[index + 1] + parts[index + 2]
                at += parts[index + 1].count("\n") + parts[index + 2].count("\n")
                index += 2
            yield Stretch(text, start, self._last_words, is_item=is_item and first)
            self._last_words = ""
            first = False
            index += 1

    def _words(self, text: str, number: int, is_item: bool) -> Stretch:
        found = Stretch(text, number, self._last_words, is_plain=True, is_item=is_item)
        self._last_words = text[-60:]
        return found


_CODE = re.compile(r"(?<!`)`([^`\n]{1,400})`(?!`)")
_RELATED = re.compile(r"[=≈<>]")
_MODULE = re.compile(r"\b(?:np|jnp|numpy|math|torch|F|nn)\.(?:functional\.)?(?=[a-z])")
"""Before a function in a line of code."""

_ENDINGS = {"$$": "$$", "\\[": "\\]"}
_DISPLAY = re.compile(rf"\$\$|\\\[|\\begin\{{(?P<env>(?:{_ENVIRONMENTS})\*?)\}}")
_JOINT = re.compile(r"\s*(?:=|≈|:=|\\approx|<|>|≤|≥)\s*")
