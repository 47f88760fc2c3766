"""A headless Chromium for tests of pages, and what must hold for every page thalweg writes.

from browser import check_page
def test_page(tmp_path): check_page(result.save(tmp_path / "report.html"))
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

WIDTHS = (360, 1440)
VIEWS = (("light", 360), ("light", 1440), ("dark", 1440), ("dark", 360))
"""Each needs one change from the one before."""
LEAST_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3, for small letters; large ones get no discount here."""
LEAST_LETTER = 10
"""In CSS pixels; words of the page itself have 13 and more."""
MOST_BYTES = 6_000_000

_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_opened: list[Browser] = []


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """The browser; the one that is open already where there is one.

    Playwright keeps an event loop running while it is open, so it is closed again soon.
    """
    if _opened:
        yield _opened[0]
        return
    path = shutil.which("chromium") or missing_browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        _opened.append(browser)
        try:
            yield browser
        finally:
            _opened.remove(browser)
            browser.close()


def missing_browser() -> NoReturn:
    """Skips the test aloud; in CI, where nobody would hear it, fails it."""
    reason = "NO BROWSER, pages are not tested: get one with `apt-get install chromium`"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a module."""
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def browser_page(chromium: Browser) -> Iterator[Page]:
    """An empty tab that is cut off from the network, 1440 wide."""
    context = chromium.new_context(offline=True, viewport={"width": 1440, "height": 900})
    yield context.new_page()
    context.close()


def check_page(path: Path) -> None:
    """What must hold for every page.

    Small, whole, offline, drawn; nothing sticks out on a phone or a desk; words that can be read in
    light and in dark; headings, names and keys in order.
    """
    size = path.stat().st_size
    assert size < MOST_BYTES, f"{path} has {size:,} bytes, more than {MOST_BYTES:,}"
    with open_chromium() as browser:
        context = browser.new_context(offline=True, viewport={"width": WIDTHS[0], "height": 900})
        page = context.new_page()
        complaints = listen(page)
        page.goto(path.as_uri())
        faults = [*misnamed(page), *misordered(page)]
        assert faults == [], f"{path.name}: {faults}"
        for scheme, width in VIEWS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            open_all(page)
            where = f"{path.name} at {width} px, {scheme}"
            faults = [*complaints, *overflowing(page), *undrawn(page), *faint(page)]
            assert faults == [], f"{where}: {faults}"
            assert first_text(page) == page.locator("h1").inner_text(), where
        # Last: with sections unfolded, all that takes keys is there.
        faults = astray(page)
        assert faults == [], f"{path.name}: {faults}"
        context.close()


def listen(page: Page) -> list[str]:
    """Everything that page says to the console from now on, errs at, or asks the network for."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.extend(_complaint(message)))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("data:", "blob:"))
            or (request.is_navigation_request() and request.url.startswith("file:"))
            else complaints.append(f"request: {request.url}")
        ),
    )
    return complaints


def _complaint(message: ConsoleMessage) -> list[str]:
    # Of a machine without a graphics card Chromium says that drawing is slow.
    is_about_speed = message.text.startswith(("Canvas2D", "[.WebGL"))
    is_grave = message.type in ("error", "warning") and not is_about_speed
    return [f"console: {message.text}"] if is_grave else []


def open_all(page: Page) -> None:
    """Unfolds all sections and waits until every figure is drawn as wide as its place."""
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.wait_for_function(
        """() => {
          if (!window.thalweg || thalweg.errors.length) return window.thalweg;
          const fits = (plot) =>
            plot.querySelector('.main-svg')?.getBoundingClientRect().width === plot.clientWidth
            && plot.drawnScheme === matchMedia('(prefers-color-scheme: dark)').matches;
          return thalweg.drawn === thalweg.figures
            && [...document.querySelectorAll('.plot')].every(fits);
        }"""
    )
    assert page.evaluate("thalweg.errors") == []


def overflowing(page: Page) -> list[str]:
    """What sticks out of the page sideways, boxes that scroll on their own set aside."""
    return page.evaluate(
        """() => {
          const wide = innerWidth + 1;
          const inBox = (e) => e.closest('.scroll, pre, svg, .unseen, .skip');
          const out = [...document.body.querySelectorAll('*')].filter((e) => !inBox(e)
            && e.getClientRects().length
            && (e.getBoundingClientRect().right > wide || e.getBoundingClientRect().left < -1));
          const names = out.map((e) => `${e.tagName} ${e.className}`);
          if (document.documentElement.scrollWidth > innerWidth) names.push('the page scrolls');
          return names;
        }"""
    )


def undrawn(page: Page) -> list[str]:
    """Figures without a picture, without a trace in it, or sticking out of the window."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.plot')].flatMap((plot) => {
          const box = plot.querySelector('.main-svg')?.getBoundingClientRect();
          const marks = plot.querySelectorAll(
            '.trace path, .hm image, .contour path, .point path, .points path, canvas');
          const isSeen = (mark) => mark.getBoundingClientRect().width > 0;
          const name = plot.getAttribute('aria-label');
          if (!box || !box.width || !box.height) return [`${name}: no picture`];
          if (![...marks].some(isSeen)) return [`${name}: no trace`];
          if (box.left < 0 || box.right > innerWidth) return [`${name}: outside`];
          return [];
        })"""
    )


def misnamed(page: Page) -> list[str]:
    """What a screen reader could not say: language, title, names of pictures, keys and tables."""
    return page.evaluate(
        """() => {
          const out = [];
          if (!document.documentElement.lang) out.push('the page names no language');
          if (!document.title.trim()) out.push('the page has no title');
          const named = (e) => (e.getAttribute('aria-label') || e.textContent || '').trim();
          const pictures = document.querySelectorAll('img, svg, canvas, [role=img]');
          for (const e of pictures) {
            if (e.closest('[aria-hidden=true]')) continue;
            const holder = e.closest('[role=img]') ?? e;
            const words = holder.getAttribute('aria-label') || holder.getAttribute('alt') || '';
            if (words.trim().length < 10) out.push(`a picture without words: ${e.outerHTML}`);
          }
          for (const e of document.querySelectorAll('a, button, [tabindex], summary')) {
            if (!named(e) && e.id !== 'evidence') out.push(`keys without a name: ${e.outerHTML}`);
          }
          for (const e of document.querySelectorAll('th')) {
            if (!e.textContent.trim()) {
              const table = e.closest('figure').querySelector('figcaption')?.textContent;
              out.push(`a heading without a word in the table ${table}`);
            }
          }
          const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
          if (new Set(ids).size !== ids.length) out.push('an id stands twice');
          return out;
        }"""
    )


def misordered(page: Page) -> list[str]:
    """Headings that skip a level, and sections that are not called by their heading."""
    return page.evaluate(
        """() => {
          const headings = [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')];
          const levels = headings.map((e) => +e.tagName[1]);
          const out = [];
          if (levels[0] !== 1 || levels.filter((n) => n === 1).length !== 1)
            out.push(`headings do not begin with one h1: ${levels}`);
          if (levels.some((n, i) => i && n > levels[i - 1] + 1))
            out.push(`headings skip a level: ${levels}`);
          if (headings.some((e) => !e.textContent.trim())) out.push('a heading says nothing');
          for (const link of document.querySelectorAll('nav a')) {
            const section = document.querySelector(link.getAttribute('href'));
            const title = section?.querySelector('h2')?.textContent.trim();
            if (!title || !link.textContent.trim().startsWith(title))
              out.push(`the link ${link.textContent} leads to ${title}`);
          }
          return out;
        }"""
    )


def astray(page: Page) -> list[str]:
    """What the tab key skips, reaches out of order, or reaches without showing where it is."""
    takers = page.evaluate(
        """() => {
          const isThere = (e) => e.getClientRects().length && !e.disabled && e.tabIndex >= 0;
          const all = document.querySelectorAll('a[href], button, summary, [tabindex]');
          window.takers = [...all].filter((e) => isThere(e));
          document.activeElement.blur();
          window.scrollTo(0, 0);
          return takers.map((e) => `${e.tagName} ${e.getAttribute('aria-label') ?? e.innerText}`);
        }"""
    )
    faults = []
    for number, name in enumerate(takers):
        page.keyboard.press("Tab")
        at, is_shown = page.evaluate(
            """() => {
              const e = document.activeElement, style = getComputedStyle(e);
              return [window.takers.indexOf(e),
                style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0];
            }"""
        )
        if at != number:
            return [*faults, f"the tab key goes to {at} instead of {number}, {name}"]
        if not is_shown:
            faults.append(f"nothing shows that the keys are at {name}")
    return faults


def faint(page: Page) -> list[str]:
    """Words whose contrast with what lies behind them is too low, or whose letters are too small.

    A half-transparent colour is laid over what is behind it; of a gradient the worst colour counts.
    Letters within a picture are held against the page, of which they are the foreground.
    """
    return page.evaluate(
        """([least, smallest]) => {
          const parse = (color) => {
            const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
            return [r, g, b, a];
          };
          const over = (top, below) =>
            [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * below[i]).concat(1);
          const light = (c) => {
            const [r, g, b] = c.slice(0, 3).map((v) => v / 255)
              .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const contrast = (a, b) => {
            const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
            return (high + 0.05) / (low + 0.05);
          };
          const ground = parse(getComputedStyle(document.body).backgroundColor);
          const behind = (element) => {
            let found = [ground];
            const line = [];
            for (let e = element; e && e !== document.body; e = e.parentElement) line.unshift(e);
            for (const e of line) {
              const style = getComputedStyle(e);
              const flat = parse(style.backgroundColor);
              found = found.map((below) => over(flat, below));
              if (style.backgroundImage.includes('gradient') && !e.matches('.scroll')) {
                const colors = style.backgroundImage.match(/rgba?\\([^)]*\\)/g).map(parse);
                found = found.flatMap((below) => colors.map((c) => over(c, below)));
              }
            }
            return found;
          };
          const seen = new Map();
          const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          while (words.nextNode()) {
            const node = words.currentNode, holder = node.parentElement;
            if (!node.data.trim() || holder.closest('script, style, noscript, .skip, .unseen'))
              continue;
            if (!holder.getClientRects().length) continue;
            const style = getComputedStyle(holder);
            if (style.visibility === 'hidden') continue;
            const isDrawn = holder.closest('svg') !== null;
            const ink = parse(isDrawn ? style.fill : style.color);
            const alpha = +style.opacity * (isDrawn ? +style.fillOpacity : 1);
            const grounds = isDrawn ? [ground] : behind(holder);
            const worst = Math.min(...grounds.map((g) =>
              contrast(over([...ink.slice(0, 3), ink[3] * alpha], g), g)));
            const said = node.data.trim().slice(0, 40);
            if (worst < least) seen.set(said, `contrast ${worst.toFixed(2)} of ${said}`);
            // Of a power, the exponent is smaller than the letters around it, as in print.
            const size = parseFloat(style.fontSize) / (holder.matches('sup, sub, tspan') ? 0.7 : 1);
            if (size < smallest && !holder.closest('math'))
              seen.set(said, `letters of ${size} px in ${said}`);
          }
          return [...seen.values()];
        }""",
        [LEAST_CONTRAST, LEAST_LETTER],
    )


def first_text(page: Page) -> str:
    """The text of the element whose words stand first for the eye, from the top down."""
    return page.evaluate(
        """() => {
          const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          let first = null, top = Infinity;
          while (words.nextNode()) {
            const node = words.currentNode, holder = node.parentElement;
            const isUnseen = holder.closest('script, style, noscript, .skip, .unseen');
            if (!node.data.trim() || isUnseen) continue;
            const range = document.createRange();
            range.selectNodeContents(node);
            const box = range.getBoundingClientRect();
            if (box.width && box.top < top - 1) { top = box.top; first = holder; }
          }
          return first.closest('h1, h2, p, dt, td, th')?.innerText ?? first.innerText;
        }"""
    )
