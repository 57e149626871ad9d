"""The real service for the tests of its page, with documents to ask about, and a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from chromium import launched
from conftest import TINY_T5
from pdf_files import pdf
from playwright.sync_api import Browser, Page, expect
from test_command import served
from test_generator import FACTS

from rag_service.settings import Settings

QUESTION = "What is the capital of Narvia?"
# the one says it in other words, the other has only the words
ROOTS = "Roots take up water from the soil and carry it to the leaves of trees and flowers."
WORKS = "The plants of the car maker were closed, and the workers went for a drink."
EVIL = "<img src=x onerror=\"console.error('script ran')\"><script>console.error('script ran')</script>"
# the wine glass counts as two in a browser's strings and as one in the service's
HOSTILE = f"🍷 Notes {EVIL} 🍷\n\nThe secret of Ostrava {EVIL} is a 🍷 glass of 42 marbles.\n\nNothing else 🍷 is said."


@pytest.fixture(scope="module")  # a longer life would keep playwright's event loop in the thread of other tests
def browser() -> Iterator[Browser]:
    """Headless Chromium; skips where there is none."""
    with launched() as started:
        yield started


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
        if document["name"] != "facts.txt":
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


def marked(page: Page) -> tuple[str, str]:
    """The marked words, and the whole text around them as the dialog shows it."""
    marks = page.get_by_role("dialog").locator("mark")
    expect(marks.first).to_be_in_viewport()
    own = "(shown) => [...shown.childNodes].filter((node) => node.className !== 'page')"
    text: str = page.locator("#reader-text").evaluate(own + ".map((node) => node.textContent).join('')")
    return "".join(marks.evaluate_all("(marks) => marks.map((mark) => mark.textContent)")), text
