"""A real browser for the tests of a page, and what they look for in it, whichever service makes the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

_PATIENCE_MS = 30_000  # for a machine that has much else to do
expect.set_options(timeout=_PATIENCE_MS)

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}

_CANDIDATES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# runs before each page's own scripts: tells what the content policy refused
_WATCH = "document.addEventListener('securitypolicyviolation', (event) => console.error('policy: ' + event.blockedURI))"

# PAGE_DELAY_MS=500 lets every call of the page take up to so much longer, by chance: a test that does not wait for what
# it needs then fails, and not only once in a hundred runs on a busy machine
_DELAY_MS = int(os.environ.get("PAGE_DELAY_MS", "0"))
_LATE = """{
  const [later, asked] = [setTimeout.bind(window), fetch.bind(window)];
  const pause = () => new Promise((resolve) => later(resolve, Math.random() * DELAY));
  window.fetch = (...call) => pause().then(() => asked(...call));
}"""


@contextmanager
def launched() -> Iterator[Browser]:
    """Headless Chromium; skips where there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _CANDIDATES)), None)
    if found is None:
        pytest.skip("no Chromium on PATH and CHROMIUM is not set; on Debian: apt-get install chromium")
    # a browser that runs as root needs this; what it opens here is only our own page
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=arguments)
        yield started
        started.close()


@contextmanager
def watched(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A new tab, and everything that its console called an error, what the content policy refused included."""
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # an answer that refuses is part of the service's language, and the browser calls each one an error
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            errors.append(message.text)

    context = browser.new_context()
    tab = context.new_page()
    tab.set_default_timeout(_PATIENCE_MS)
    tab.add_init_script(_WATCH)
    if _DELAY_MS:
        tab.add_init_script(_LATE.replace("DELAY", str(_DELAY_MS)))
    tab.on("console", note)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    clear(tab)
    yield tab, errors
    context.close()


def clear(tab: Page) -> None:
    """Leaves the page, and makes the tab as good as new."""
    tab.unroute_all(behavior="ignoreErrors")
    tab.evaluate("try { sessionStorage.clear() } catch {}")  # a page without an address has none
    tab.goto("about:blank")
    tab.context.clear_cookies()
    tab.context.clear_permissions()
    tab.mouse.move(0, 0)  # nothing is hovered over
    tab.set_viewport_size(DESKTOP)
    tab.emulate_media(color_scheme="light")


@pytest.fixture(scope="module")
def shared_tab(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """One tab for the tests of a module, because opening one takes longer than many of them."""
    with watched(browser) as (tab, errors):
        tab.clock.install()  # goes as always, and can be put forward
        yield tab, errors


@pytest.fixture
def page(shared_tab: tuple[Page, list[str]]) -> Iterator[Page]:
    """An empty tab. Whatever the test does: no script fails in it, and the content policy refuses nothing."""
    tab, errors = shared_tab
    errors.clear()
    yield tab
    clear(tab)
    assert errors == []


def tab_to(page: Page, name: str) -> None:
    """Presses Tab until the focus is on the element with this accessible name, and sees that the focus shows."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()") == name:
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            return
    pytest.fail(f"Tab never comes to {name!r}")


# What axe is asked: its slowest rule is of colours, which no width changes, and colours change nothing else.
_COLOURS = "color-contrast"
_VIEWS: list[tuple[Any, Any, dict[str, Any]]] = [
    (DESKTOP, "light", {}),
    (DESKTOP, "dark", {"runOnly": [_COLOURS]}),
    (PHONE, "dark", {"rules": {_COLOURS: {"enabled": False}}}),
    (PHONE, "light", {"rules": {_COLOURS: {"enabled": False}}}),
]


def hindrances(page: Page) -> list[str]:
    """What keeps people from using the page: what axe finds, contrasts that are too low, and a page that is wider than
    a phone; on a desktop and a phone, in light and dark."""
    found = []
    for size, scheme, options in _VIEWS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        violations = Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
        wide = page.evaluate("document.documentElement.scrollWidth")
        said = [one["id"] for one in violations] + contrasts_too_low(page) + [f"{wide} wide"] * (wide > size["width"])
        found += [f"{scheme}, {size['width']}: {one}" for one in said]
    return found


def contrasts_too_low(page: Page) -> list[str]:
    """Texts whose contrast with what is behind them is under WCAG 2.2's 4.5 to 1, or 3 to 1 where they are large."""
    found: list[str] = page.evaluate(_CONTRAST)
    return found


_CONTRAST = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = parts(colour).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const low = [];
  for (const element of document.querySelectorAll("body *")) {
    const texts = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data);
    const own = String(element.value ?? texts.join("")).trim().slice(0, 40);
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [one, other] = [luminance(style.color), luminance(behind(element))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < (large ? 3 : 4.5)) low.push(`${element.tagName} ${own}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""
