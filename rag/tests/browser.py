"""A real browser on the real service: what the tests of the page share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from conftest import TINY_T5
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from test_command import served
from test_generator import FACTS
from test_loaders import pdf

from rag_service.settings import Settings

_PATIENCE_MS = 30_000  # for a machine that has much else to do
expect.set_options(timeout=_PATIENCE_MS)

QUESTION = "What is the capital of Narvia?"
# the one says it in other words, the other has only the words
ROOTS = "Roots take up water from the soil and carry it to the leaves of trees and flowers."
WORKS = "The plants of the car maker were closed, and the workers went for a drink."
EVIL = "<img src=x onerror=\"console.error('script ran')\"><script>console.error('script ran')</script>"
# the wine glass counts as two in a browser's strings and as one in the service's
HOSTILE = f"🍷 Notes {EVIL} 🍷\n\nThe secret of Ostrava {EVIL} is a 🍷 glass of 42 marbles.\n\nNothing else 🍷 is said."

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}

_CANDIDATES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# runs before each page's own scripts: tells what the content policy refused
_WATCH = "document.addEventListener('securitypolicyviolation', (event) => console.error('policy: ' + event.blockedURI))"


@pytest.fixture(scope="module")  # a longer life would keep playwright's event loop in the thread of other tests
def browser() -> Iterator[Browser]:
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


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty tab. Whatever the test does: no script fails in it, and the content policy refuses nothing."""
    with watched(browser) as (tab, errors):
        yield tab
    assert errors == []


@contextmanager
def watched(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A tab, and everything that its console called an error, what the content policy refused included."""
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    tab = context.new_page()
    tab.set_default_timeout(_PATIENCE_MS)
    tab.add_init_script(_WATCH)
    log = _Log()
    tab.on("console", log.note)
    tab.on("pageerror", lambda error: log.errors.append(str(error)))
    yield tab, log.errors
    context.close()


@dataclass
class _Log:
    errors: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        # an answer that refuses is part of the service's language, and the browser calls each one an error
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.errors.append(message.text)


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[str]:
    """One service for all of them, with the real embedder and a generator that really writes."""
    folder = tmp_path_factory.mktemp("page")
    with served(settings.model_copy(update={"generator": str(TINY_T5), "data_dir": folder})) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def filled(address: str) -> str:
    """The service with something to ask about, and nothing of what another test has left in the first collection."""
    for document in httpx.get(f"{address}/documents", params={"collection": "default"}).json()["documents"]:
        httpx.delete(f"{address}/documents/{document['id']}").raise_for_status()
    add(address, "default", ("facts.txt", FACTS))
    add(address, "hostile", (f"{EVIL.replace('/', '')}.txt", HOSTILE))
    add(address, "plants", ("roots.txt", ROOTS), ("works.txt", WORKS))
    add(address, "pages", ("book.pdf", pdf("Nothing here.", "The lantern of Tarn burns blue.", "Nor here.")))
    return address


@pytest.fixture
def open_page(filled: str, page: Page) -> Page:
    page.goto(filled)
    expect(page.locator("#models")).to_contain_text("tiny-t5")
    return page


def add(address: str, collection: str, *files: tuple[str, str | bytes]) -> list[dict[str, Any]]:
    """Adds documents by name and content; gives their verdicts."""
    sent = [("files", file) for file in files]
    response = httpx.post(f"{address}/documents", files=sent, data={"collection": collection})
    verdicts: list[dict[str, Any]] = response.raise_for_status().json()["documents"]
    return verdicts


def ask(page: Page, question: str) -> None:
    """Asks as a person would."""
    page.get_by_label("Question", exact=True).fill(question)
    page.get_by_role("button", name="Ask").click()


def tab_to(page: Page, name: str) -> None:
    """Presses Tab until the focus is on the element with this accessible name, and sees that the focus shows."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()") == name:
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
            return
    pytest.fail(f"Tab never comes to {name!r}")


def marked(page: Page) -> tuple[str, str]:
    """The marked words, and the whole text around them as the dialog shows it."""
    marks = page.get_by_role("dialog").locator("mark")
    expect(marks.first).to_be_in_viewport()
    own = "(shown) => [...shown.childNodes].filter((node) => node.className !== 'page')"
    text: str = page.locator("#reader-text").evaluate(own + ".map((node) => node.textContent).join('')")
    return "".join(marks.evaluate_all("(marks) => marks.map((mark) => mark.textContent)")), text


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
