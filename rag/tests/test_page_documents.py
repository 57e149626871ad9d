"""The page's documents: files go in with a verdict each, and come out again; versions undo."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import add, ask
from chromium import PHONE, hindrances
from playwright.sync_api import Locator, Page, expect
from test_command import served

from rag_service.indexing.ingest import Library
from rag_service.settings import Settings
from rag_service.types import Verdict

LOOKS_EVERY_MS = 3_000  # for what others have begun
RIVER = "The river of Tarn is 40 kilometres long."


@pytest.fixture
def documents(address: str, page: Page) -> Page:
    """The view of a service that holds something."""
    add(address, "default", ("facts.txt", "The capital of Narvia is Beldorn."))
    page.goto(f"{address}#documents")
    expect(table(page).get_by_role("button", name="facts.txt", exact=True)).to_be_visible()
    return page


def table(page: Page) -> Locator:
    return page.get_by_role("region", name="What is there")


def verdicts(page: Page) -> Locator:
    return page.get_by_role("list", name="Verdicts").get_by_role("listitem")


def send(page: Page, collection: str, *files: tuple[str, bytes]) -> None:
    page.get_by_label("Into the collection").fill(collection)
    sent: list[Any] = [{"name": name, "mimeType": "", "buffer": content} for name, content in files]
    page.get_by_label("Choose files").set_input_files(sent)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Files whose name says so are not read before they are let go."""
    let_go, real = threading.Event(), Library.add

    def slow(self: Library, name: str, *rest: Any, on_passages: Callable[[int, int], None], **more: Any) -> Verdict:
        if name.startswith("slow"):
            on_passages(128, 512)
            let_go.wait(60)
        return real(self, name, *rest, on_passages=on_passages, **more)

    monkeypatch.setattr(Library, "add", slow)
    yield let_go.set
    let_go.set()


def test_every_file_gets_its_verdict_and_a_bad_one_stops_no_other(documents: Page) -> None:
    send(documents, "verdicts", ("cut.pdf", b"%PDF-1.4 cut"), ("river.md", RIVER.encode()), ("nothing.txt", b""))
    expect(verdicts(documents)).to_contain_text(["failed", "indexed", "failed"])
    expect(verdicts(documents)).to_contain_text(["cut.pdf", "river.md1 passage", "The file is empty."])
    expect(documents.get_by_text("3 of 3 files: 2 failed, 1 indexed.")).to_be_visible()
    expect(documents.get_by_role("progressbar")).to_be_hidden()
    expect(documents.get_by_label("Collection", exact=True)).to_have_value("verdicts")
    expect(table(documents).get_by_role("rowheader")).to_have_text(["river.md"])
    send(documents, "verdicts", ("river.md", RIVER.encode()))
    expect(verdicts(documents)).to_contain_text(["The same bytes are there already."])


def test_what_could_not_be_read_is_listed_after_the_page_is_loaded_again(documents: Page) -> None:
    send(documents, "unread", ("broken.pdf", b"%PDF-1.4 cut"))
    expect(verdicts(documents)).to_contain_text(["failed"])
    documents.reload()
    documents.clock.fast_forward(LOOKS_EVERY_MS)
    listed = documents.get_by_role("region", name="Files that could not be read").get_by_role("listitem")
    expect(listed.first).to_contain_text("broken.pdf")
    expect(listed.first).to_contain_text("PDF")


def test_progress_is_shown_while_files_are_read(documents: Page, held: Callable[[], None]) -> None:
    send(documents, "progress", ("first.md", RIVER.encode()), ("slow.md", b"The lake of Tarn is deep."))
    expect(documents.get_by_text("1 of 2 files: 1 indexed. Reading slow.md… 128 of 512 passages")).to_be_visible()
    expect(documents.get_by_role("progressbar", name="Progress")).to_have_js_property("value", 1.25)
    expect(verdicts(documents)).to_have_count(1)
    expect(documents.get_by_label("Choose files")).to_be_disabled()
    held()
    expect(documents.get_by_text("2 of 2 files: 2 indexed.")).to_be_visible()
    expect(documents.get_by_label("Choose files")).to_be_enabled()


def test_an_upload_is_cancelled(documents: Page, held: Callable[[], None]) -> None:
    send(documents, "cancelled", ("slow.md", RIVER.encode()), ("last.md", b"The lake of Tarn is deep."))
    expect(documents.get_by_text("Reading slow.md…")).to_be_visible()
    with documents.expect_response(lambda response: response.request.method == "DELETE"):
        documents.get_by_role("button", name="Cancel").click()
    held()
    expect(documents.get_by_role("alert")).to_contain_text("Cancelled")
    expect(documents.get_by_label("Choose files")).to_be_enabled()
    expect(verdicts(documents)).not_to_contain_text(["last.md"])


def test_documents_are_chosen_by_their_metadata(documents: Page) -> None:
    documents.locator("#upload-metadata").fill("year=2024; by=Ada")
    send(documents, "facts", ("river.md", RIVER.encode()))
    expect(table(documents).get_by_role("rowheader")).to_contain_text(["year=2024; by=Ada"])
    documents.get_by_role("link", name="Ask").click()
    for year, said in (("2024", "40 kilometres"), ("1999", "do not answer")):
        documents.locator("#ask-metadata").fill(f"year = {year}")
        ask(documents, "How long is the river of Tarn?")
        expect(documents.locator("#said .said")).to_contain_text(said)


def test_a_long_list_is_shown_part_by_part(documents: Page, address: str) -> None:
    for first in range(0, 104, 8):
        add(address, "long", *[(f"{number:03}.md", RIVER) for number in range(first, first + 8)])
    documents.reload()
    documents.get_by_label("Collection", exact=True).select_option("long")
    names = table(documents).get_by_role("rowheader")
    expect(names).to_have_count(100)
    expect(table(documents)).to_contain_text("100 of 104 documents.")
    documents.get_by_label("Look for a name").fill("103")
    expect(names).to_have_text(["103.md"])
    documents.get_by_label("Look for a name").fill("")
    documents.get_by_role("button", name="Show more").click()
    expect(names).to_have_count(104)
    expect(documents.get_by_role("button", name="Show more")).to_be_hidden()


def test_a_collection_is_deleted_after_a_question(documents: Page) -> None:
    send(documents, "brief", ("river.md", RIVER.encode()))
    expect(table(documents).get_by_role("rowheader")).to_have_text(["river.md"])
    documents.get_by_role("button", name="Delete the collection").click()
    question = documents.get_by_role("dialog", name="Delete the collection brief with 1 document?")
    question.get_by_role("button", name="Delete").click()
    expect(documents.get_by_label("Collection", exact=True)).to_have_value("default")
    expect(documents.get_by_label("Collection", exact=True)).not_to_contain_text("brief")


def test_more_files_than_one_request_takes_go_in_by_groups(documents: Page, settings: Settings) -> None:
    files = [(f"{number}.md", f"Number {number} is a number.".encode()) for number in range(settings.max_files + 1)]
    send(documents, "groups", *files)
    expect(documents.get_by_text("9 of 9 files: 9 indexed.")).to_be_visible()
    expect(verdicts(documents)).to_have_count(9)
    names = table(documents).get_by_role("rowheader")
    expect(names).to_have_count(9)
    documents.get_by_label("Look for a name").fill("3")
    expect(names).to_have_text(["3.md"])
    expect(table(documents)).to_contain_text("1 of 9 documents.")


def test_what_one_request_cannot_hold_is_a_verdict_too(documents: Page, settings: Settings, tmp_path: Path) -> None:
    large, small = tmp_path / "large.txt", tmp_path / "river.md"
    large.write_bytes(b"a" * settings.max_upload_bytes)
    small.write_text(RIVER)
    documents.get_by_label("Into the collection").fill("large")
    documents.get_by_label("Choose files").set_input_files([large, small])
    expect(verdicts(documents)).to_contain_text(["large.txt", "river.md"])
    expect(verdicts(documents).first).to_contain_text("larger than")


def test_a_folder_keeps_its_names(documents: Page, tmp_path: Path) -> None:
    (tmp_path / "notes" / "deep").mkdir(parents=True)
    (tmp_path / "notes" / "deep" / "river.md").write_text(RIVER)
    (tmp_path / "notes" / ".hidden.md").write_text("Hidden.")
    documents.get_by_label("Into the collection").fill("folder")
    documents.get_by_label("or a whole folder").set_input_files(tmp_path / "notes")
    expect(documents.get_by_text("1 of 1 file: 1 indexed.")).to_be_visible()
    expect(table(documents).get_by_role("rowheader")).to_have_text(["deep/river.md"])


def test_a_dropped_file_goes_in(documents: Page) -> None:
    documents.get_by_label("Into the collection").fill("dropped")
    make = "(text) => { const data = new DataTransfer(); data.items.add(new File([text], 'drop.md')); return data; }"
    documents.dispatch_event("#drop", "drop", {"dataTransfer": documents.evaluate_handle(make, RIVER)})
    expect(verdicts(documents)).to_contain_text(["drop.md"])
    expect(table(documents).get_by_role("rowheader")).to_have_text(["drop.md"])


def test_a_question_that_is_asked_again_at_once_has_its_own_answer(documents: Page) -> None:
    send(documents, "again", ("river.md", RIVER.encode()))
    delete = documents.get_by_role("button", name="Delete river.md")
    delete.evaluate(  # the dialog's event "close" comes when it is open again
        """button => new Promise((resolve) => {
            button.click();
            document.getElementById("confirm").addEventListener("close", resolve, { once: true });
            document.getElementById("confirm-no").click();
            button.click();
        })"""
    )
    documents.get_by_role("dialog", name="Delete river.md?").get_by_role("button", name="Delete").click()
    expect(table(documents)).to_contain_text("The collection again holds no document.")


def test_a_document_is_deleted_after_a_question_and_never_cited_again(documents: Page) -> None:
    send(documents, "gone", ("river.md", RIVER.encode()))
    delete = documents.get_by_role("button", name="Delete river.md")
    delete.press("Enter")
    question = documents.get_by_role("dialog", name="Delete river.md?")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    documents.keyboard.press("Enter")
    expect(question).to_be_hidden()
    expect(delete).to_be_focused()
    delete.press("Enter")
    question.get_by_role("button", name="Delete").press("Enter")
    expect(table(documents)).to_contain_text("The collection gone holds no document.")
    expect(documents.get_by_role("heading", name="What is there")).to_be_focused()
    documents.get_by_role("link", name="Ask").click()
    ask(documents, "How long is the river of Tarn?")
    expect(documents.get_by_role("alert")).to_contain_text("There is no document in the collection 'gone'.")


def test_a_document_can_be_read(documents: Page) -> None:
    table(documents).get_by_role("button", name="facts.txt", exact=True).click()
    reader = documents.get_by_role("dialog", name="facts.txt")
    expect(reader.get_by_role("region")).to_have_text("The capital of Narvia is Beldorn.")
    expect(reader).to_contain_text("33 characters.")
    reader.get_by_role("button", name="Close").click()
    expect(reader).to_be_hidden()


def test_a_copy_is_changed_put_in_use_and_taken_back(documents: Page) -> None:
    send(documents, "kept", ("river.md", RIVER.encode()))
    expect(table(documents).get_by_role("rowheader")).to_have_text(["river.md"])
    versions = documents.get_by_role("region", name="Versions")
    versions.get_by_role("button", name="Copy to change").click()
    expect(versions).to_contain_text("Add files into kept@next.")
    documents.get_by_label("Into the collection").fill("kept@next")
    documents.get_by_label("Choose files").set_input_files(
        {"name": "lake.md", "mimeType": "text/markdown", "buffer": b"The lake of Tarn is deep."}
    )
    expect(documents.get_by_text("1 of 1 file: 1 indexed.")).to_be_visible()
    documents.get_by_label("Collection", exact=True).select_option("kept")
    expect(table(documents).get_by_role("rowheader")).to_have_text(["river.md"])
    versions.get_by_role("button", name="Put in use").click()
    documents.get_by_role("dialog").get_by_role("button", name="Put in use").click()
    expect(table(documents).get_by_role("rowheader")).to_have_text(["lake.md", "river.md"])
    versions.get_by_role("button", name="Take back").click()
    documents.get_by_role("dialog").get_by_role("button", name="Take back").click()
    expect(table(documents).get_by_role("rowheader")).to_have_text(["river.md"])


def test_what_somebody_chooses_is_not_taken_back_by_an_answer_that_was_asked_for_before(documents: Page) -> None:
    send(documents, "chosen", ("river.md", RIVER.encode()))
    choice = documents.get_by_label("Collection", exact=True)
    expect(choice).to_have_value("chosen")
    documents.route("**/collections", lambda route: None)  # no answer comes
    documents.get_by_label("Into the collection").fill("other")
    with documents.expect_request("**/collections"):
        documents.get_by_label("Choose files").set_input_files(
            {"name": "lake.md", "mimeType": "text/markdown", "buffer": b"The lake of Tarn is deep."}
        )
    choice.select_option("chosen")
    documents.unroute("**/collections")  # lets go of what is held
    expect(choice).to_contain_text("other (1)")
    expect(choice).to_have_value("chosen")


def test_vectors_can_be_made_anew(documents: Page) -> None:
    documents.get_by_role("button", name="Reindex").click()
    expect(documents.get_by_text("The vectors of")).to_contain_text("are new.")
    documents.get_by_role("link", name="Ask").click()
    ask(documents, "What is the capital of Narvia?")
    expect(documents.locator(".said")).to_contain_text("Beldorn")


def test_what_others_have_begun_is_shown(documents: Page, address: str, held: Callable[[], None]) -> None:
    sent = {"files": ("slow.md", RIVER.encode())}
    begun = httpx.post(f"{address}/documents?background=true", files=sent, data={"collection": "default"})
    documents.clock.fast_forward(LOOKS_EVERY_MS)
    expect(documents.get_by_text("Files are taken in: 0 of 1, now slow.md.")).to_be_visible()
    held()
    while httpx.get(f"{address}/jobs/{begun.json()['job']}").json()["state"] == "running":
        documents.wait_for_timeout(10)
    documents.clock.fast_forward(LOOKS_EVERY_MS)
    expect(table(documents).get_by_role("rowheader")).to_have_text(["facts.txt", "slow.md"])
    expect(documents.get_by_text("Files are taken in")).to_have_count(0)


def test_a_service_that_is_not_ready_says_why(settings: Settings, page: Page, tmp_path: Path) -> None:
    with served(settings.model_copy(update={"embedder": str(tmp_path / "none"), "data_dir": tmp_path})) as port:
        page.goto(f"http://127.0.0.1:{port}")
        expect(page.locator("#not-ready")).to_contain_text("A model is missing")
        expect(page.get_by_text("No documents yet.")).to_be_visible()
        page.get_by_role("link", name="add them here").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Documents")
        expect(page.get_by_role("heading", name="What is there")).to_be_visible()
        expect(page.get_by_text("holds no document")).to_have_count(0)  # it is said once
        send(page, "default", ("river.md", RIVER.encode()))
        expect(page.get_by_role("alert")).to_contain_text("A model is missing")
    page.get_by_role("link", name="Ask").click()
    ask(page, "Is anybody there?")
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("The service does not answer.")


def test_everybody_can_use_it(documents: Page) -> None:
    send(documents, "readable", ("river.md", RIVER.encode()), ("nothing.txt", b""))
    expect(documents.get_by_text("2 of 2 files: 1 indexed, 1 failed.")).to_be_visible()
    assert hindrances(documents) == []
    documents.get_by_role("button", name="Delete river.md").click()
    assert hindrances(documents) == []


def test_a_phone_needs_no_sideways_scrolling(documents: Page) -> None:
    documents.set_viewport_size(PHONE)
    name = "name" * 50 + ".md"
    send(documents, "phone", (name, RIVER.encode()))
    expect(table(documents).get_by_role("rowheader")).to_have_text([name])
    assert documents.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
