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
SCHEMES = ("light", "dark")
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
    """What must hold for every page: small, whole, offline, drawn, readable on phone and desk."""
    size = path.stat().st_size
    assert size < MOST_BYTES, f"{path} has {size:,} bytes, more than {MOST_BYTES:,}"
    with open_chromium() as browser:
        for scheme in SCHEMES:
            context = browser.new_context(offline=True, color_scheme=scheme)
            _check_views(context.new_page(), path, scheme)
            context.close()


def _check_views(page: Page, path: Path, scheme: str) -> None:
    complaints = listen(page)
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    page.goto(path.as_uri())
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        open_all(page)
        where = f"{path.name} at {width} px, {scheme}"
        faults = [*complaints, *overflowing(page), *undrawn(page)]
        assert faults == [], f"{where}: {faults}"
        assert first_text(page) == page.locator("h1").inner_text(), where
        assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 14, where


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
            plot.querySelector('.main-svg')?.getBoundingClientRect().width === plot.clientWidth;
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
