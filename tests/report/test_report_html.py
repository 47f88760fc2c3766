"""The HTML file: escaped, alone, in order, and in colours that can be told from the page."""

import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from math import inf, nan

import numpy as np
import pytest
import torch
from plotly.offline import get_plotlyjs
from sample import sample_page

from thalweg.report import (
    Code,
    Fact,
    Facts,
    Figure,
    Ink,
    Page,
    Section,
    Table,
    Text,
    Tone,
    _blocks,
    line,
)

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>&\"λ∇"


def page_of(*blocks, **section):
    return Page("t", "v", Tone.PLAIN, sections=(Section("s", "", blocks, **section),))


def without_plotly(html):
    return html.replace(get_plotlyjs(), "")


class Reader(HTMLParser):
    """Tags in order, and the text of each script."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.scripts, self.words = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        place = self.scripts if self.lasttag == "script" else self.words
        place.append(data)


def specs(html):
    pattern = r'<script type="application/json">(.*?)</script>'
    return [json.loads(text) for text in re.findall(pattern, html, re.DOTALL)]


def test_everything_is_escaped():
    page = Page(
        HOSTILE,
        HOSTILE,
        Tone.BAD,
        HOSTILE,
        (
            Section(
                HOSTILE,
                HOSTILE,
                (
                    Text(HOSTILE),
                    Facts((Fact(HOSTILE, HOSTILE, HOSTILE, HOSTILE),)),
                    Table((HOSTILE,), ((HOSTILE,),), HOSTILE),
                    Code(HOSTILE, HOSTILE),
                    Figure(
                        [line([HOSTILE], [1], name=HOSTILE)],
                        {"title": {"text": HOSTILE}},
                        HOSTILE,
                        HOSTILE,
                    ),
                ),
            ),
        ),
        HOSTILE,
    )
    read = Reader(without_plotly(page.html()))
    assert "img" not in [tag for tag, _ in read.tags]
    assert not any(name.startswith("on") for _, attrs in read.tags for name in attrs)
    # The figure's own, plotly.js, ours.
    assert [tag for tag, _ in read.tags].count("script") == 3
    assert HOSTILE in "".join(read.words)


def test_code_between_backticks():
    html = page_of(Text("use `nn.ReLU<x>` here, and a lone ` is kept")).html()
    assert "a lone ` is kept" in html
    html = page_of(Text("use `nn.ReLU<x>` here")).html()
    assert "use <code>nn.ReLU&lt;x&gt;</code> here" in html


def test_numbers_reach_the_figure_exactly_and_gaps_as_null():
    values = torch.tensor([0.1, nan, inf, -inf], dtype=torch.float64)
    data = [{"y": values, "x": np.arange(4), "z": [1e-300, np.float32(0.5)]}]
    (spec,) = specs(page_of(Figure(data, {}, "c", "a", height=200)).html())
    assert spec["data"] == [{"y": [0.1, None, None, None], "x": [0, 1, 2, 3], "z": [1e-300, 0.5]}]
    assert spec["height"] == 200


def test_large_arrays_reach_the_figure_in_full():
    (spec,) = specs(page_of(Figure([{"y": torch.zeros(5000)}], {}, "c", "a")).html())
    assert len(spec["data"][0]["y"]) == 5000


def test_names_that_look_like_markup_are_shown_as_written():
    trace = line([1], [1], name="<lambda> 10<sup>2</sup> a<b")
    (spec,) = specs(page_of(Figure([trace], {}, "c", "a")).html())
    assert spec["data"][0]["name"] == "&lt;lambda> 10<sup>2</sup> a&lt;b"


def test_plotly_is_there_once_and_only_where_it_is_needed():
    assert sample_page().html().count(get_plotlyjs()) == 1
    assert len(page_of(Text("words")).html()) < 50_000


def test_nothing_points_to_the_network():
    html = without_plotly(sample_page().html())
    assert "http:" not in html
    assert "https:" not in html
    assert "//" not in re.sub(r"^\s*// .*$|(?<=[;)]) // .*$", "", html, flags=re.MULTILINE)
    read = Reader(html)
    links = [
        value
        for _, attrs in read.tags
        for name, value in attrs.items()
        if name in ("src", "href", "srcset", "action", "data")
    ]
    assert links
    assert all(link.startswith("#") for link in links)


def test_head_says_who_wrote_it_and_in_which_language():
    tags = Reader(sample_page().html()[:20_000]).tags
    metas = {attrs.get("name") or attrs.get("http-equiv"): attrs for tag, attrs in tags}
    assert dict(tags)["html"]["lang"] == "en"
    assert metas["generator"]["content"].startswith("thalweg ")
    assert metas["viewport"]["content"] == "width=device-width, initial-scale=1"
    assert "default-src 'none'" in metas["Content-Security-Policy"]["content"]


def test_the_same_page_is_the_same_file():
    assert sample_page().html() == sample_page().html()


@pytest.mark.parametrize("tone", list(Tone))
def test_tone_is_said_in_words_beside_the_colour(tone):
    section = Section("s", "", tone=tone)
    read = Reader(Page("t", "v", tone, sections=(section,)).html())
    assert [word for word in read.words if tone.word and word == tone.word] == (
        [tone.word] * 2 if tone.word else []
    )


def test_folded_sections_are_details():
    assert "<details>" in page_of(Text("words"), is_folded=True).html()
    assert "<details>" not in page_of(Text("words")).html()


# Colours


def palettes():
    """The colours of light and of dark mode by name."""
    css = files("thalweg.report").joinpath("templates", "page.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root[^{]*\{([^}]*--page[^}]*)\}", css)
    return [dict(re.findall(r"--([\w-]+):\s*([^;]+);", block)) for block in (light, dark)]


def luminance(color):
    """Relative luminance, WCAG 2.2."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
def test_contrast_of_words_and_lines(palette):
    page = palette["page"]
    for name in ("text", "quiet", "good", "bad", "unsure", "plain"):
        assert contrast(palette[name], page) >= 4.5, name
    for name in ("good", "bad", "unsure"):
        assert contrast(palette[name], palette[f"{name}-wash"]) >= 4.5, name
    assert contrast(palette["quiet"], palette["surface"]) >= 4.5
    for ink in Ink:
        name = ink.value[len("var(--") : -1]
        assert contrast(palette[name], page) >= 3, name
        assert f"{name}-faint" in palette


def test_columns_of_a_long_table_are_looked_at_once(monkeypatch):
    looked_at = []
    known = _blocks._all_numbers
    monkeypatch.setattr(_blocks, "_all_numbers", lambda cells: looked_at.append(1) or known(cells))
    table = Table(("step", "value"), tuple((f"{i}", f"{i / 7:.3f}") for i in range(300)))
    page = Page("a table", "It is long", Tone.PLAIN, "", (Section("rows", "", (table,)),))
    page.html()
    page.text()
    assert len(looked_at) == 2
