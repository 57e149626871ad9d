"""The page at /docs, used in a real browser as a person would: each call can be sent from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from browser import EVIL, QUESTION
from chromium import hindrances
from playwright.sync_api import Locator, Page, expect
from test_access import ALL, keys_in
from test_command import served
from test_page import held  # noqa: F401  # a fixture

from rag_service.settings import Settings


def call(page: Page, name: str) -> Locator:
    """The section of a call, with its form open."""
    section = page.get_by_role("region", name=name, exact=True)
    section.get_by_text("Try it", exact=True).click()
    return section


def send(section: Locator, status: str) -> Locator:
    """Sends the call, and gives its answer."""
    section.get_by_role("button", name="Send").click()
    expect(section.get_by_role("status")).to_contain_text(status)
    return section.get_by_label("Answer to")


def test_a_question_is_asked(filled: str, page: Page) -> None:
    page.goto(f"{filled}/docs")
    section = call(page, "POST /ask")
    expect(section.get_by_role("rowheader", name="conversation[].question")).to_be_visible()
    section.get_by_text("Answer 200: application/json or text/event-stream").click()
    expect(section.get_by_role("rowheader", name="citations[].quote", exact=True)).to_be_visible()
    section.get_by_label("Body").fill(f'{{"question": "{QUESTION}"}}')
    expect(send(section, "200 OK")).to_contain_text('"answer": "Beldorn"')
    section.get_by_label("Body").fill("{}")
    expect(send(section, "422")).to_contain_text("question: Field required")
    section.get_by_label("Body").fill('{"question": "What is the secret of Ostrava?", "collection": "hostile"}')
    expect(send(section, "200 OK")).to_contain_text(EVIL.replace('"', '\\"'))
    assert page.locator("main img").count() == 0


def test_an_answer_is_shown_as_it_comes(filled: str, page: Page, held: Callable[[], None]) -> None:  # noqa: F811
    page.goto(f"{filled}/docs")
    section = call(page, "POST /ask")
    section.get_by_label("Accept").select_option("text/event-stream")
    section.get_by_label("Body").fill(f'{{"question": "{QUESTION}"}}')
    expect(section.locator(".command")).to_contain_text("-H 'Accept: text/event-stream'")
    answer = send(section, "200 OK")
    expect(answer).to_contain_text('data: {"text": "It is ", "draft": true}')
    expect(answer).not_to_contain_text("event: answer")
    held()
    expect(answer).to_contain_text("event: answer")


def test_files_are_added_and_a_document_is_deleted_after_a_question(filled: str, page: Page) -> None:
    page.goto(f"{filled}/docs")
    section = call(page, "POST /documents")
    section.get_by_label("files").set_input_files({"name": "a b.txt", "mimeType": "text/plain", "buffer": b"Wine."})
    section.get_by_label("collection").fill("tried")
    expect(section.locator(".command")).to_have_text(
        f"curl -X POST {filled}/documents -F 'files=@a b.txt' --form-string collection=tried"
    )
    expect(send(section, "200 OK")).to_contain_text('"verdict": "indexed"')
    [document] = httpx.get(f"{filled}/documents", params={"collection": "tried"}).json()["documents"]
    section = call(page, "DELETE /documents/{document_id}")
    section.get_by_label("document_id").fill(document["id"])
    section.get_by_label("collection").fill("tried")
    page.once("dialog", lambda dialog: dialog.dismiss())
    section.get_by_role("button", name="Send").click()
    expect(section.get_by_role("status")).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.accept())
    send(section, "204")
    assert httpx.get(f"{filled}/documents", params={"collection": "tried"}).json()["documents"] == []


@pytest.fixture(scope="module")
def closed(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that asks for keys."""
    folder = tmp_path_factory.mktemp("closed")
    different = {"api_key_file": keys_in(folder), "data_dir": folder / "data"}
    with served(settings.model_copy(update=different)) as port:
        yield f"http://127.0.0.1:{port}"


def test_with_keys_the_page_asks_for_one(closed: str, page: Page) -> None:
    refused = httpx.get(f"{closed}/docs")
    assert (refused.status_code, "curl" in refused.text) == (401, False)
    page.goto(f"{closed}/docs")
    page.get_by_label("API key").fill(ALL)
    page.get_by_role("button", name="Use this key").click()
    section = call(page, "GET /collections")
    expect(section.locator(".command")).to_contain_text('-H "X-API-Key: $API_KEY"')
    expect(send(section, "200 OK")).to_contain_text('"collections": [')
    assert ALL not in page.content()


def test_the_page_for_asking_goes_on_with_its_key(closed: str, page: Page) -> None:
    page.goto(closed)
    page.get_by_label("API key").fill(ALL)
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("#models")).to_contain_text("Embedder")
    page.get_by_role("link", name="Documents").click()
    page.get_by_label("Choose files").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"Wine."})
    expect(page.locator("#documents-list")).to_contain_text("a.txt")
    expect(page.locator("#key")).to_be_hidden()


def test_everybody_can_use_it(filled: str, page: Page) -> None:
    page.goto(f"{filled}/docs")
    send(call(page, "GET /collections"), "200 OK")
    assert hindrances(page) == []
    nameless = "[...document.querySelectorAll('input, select, textarea')].filter((one) => !one.labels.length).length"
    assert page.evaluate(nameless) == 0
