"""The page at /, used in a real browser as a person would: asking, and reading where an answer stands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from browser import EVIL, QUESTION, ask, marked
from chromium import PHONE, contrasts_too_low, hindrances, tab_to, watched
from playwright.sync_api import Browser, Page, expect
from test_generator import FACTS

from rag_service.answering import answerer
from rag_service.models.generator import T5Generator


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A generator that says "It is" and then waits until it is let go."""
    let_go = threading.Event()

    def slow(_: Any, prompt: str, tell: Callable[[str], None] | None = None) -> str:
        assert tell
        tell("It is ")
        let_go.wait(60)
        tell("Beldorn")
        return "Beldorn"

    monkeypatch.setattr(T5Generator, "generate", slow)
    yield let_go.set
    let_go.set()


def answer_of(page: Page) -> dict[str, Any]:
    """What the service itself answers to the question on the page."""
    question = page.locator("#asked").inner_text()
    collection = page.get_by_label("Collection", exact=True).input_value()
    body = {"question": question, "collection": collection}
    answer: dict[str, Any] = httpx.post(page.url.split("#")[0] + "ask", json=body).json()
    return answer


def test_asking_and_reading_the_source_need_only_the_keyboard(open_page: Page) -> None:
    tab_to(open_page, "Skip to the content")
    open_page.keyboard.press("Enter")
    tab_to(open_page, "Question")
    open_page.keyboard.type(QUESTION)
    open_page.keyboard.press("Enter")
    expect(open_page.get_by_role("region", name=QUESTION)).to_contain_text("Beldorn")
    expect(open_page.locator("[aria-live=polite]")).to_contain_text("Beldorn")
    tab_to(open_page, "facts.txt")
    open_page.keyboard.press("Enter")
    reader = open_page.get_by_role("dialog", name="facts.txt")
    expect(reader.locator("mark")).to_be_focused()
    open_page.keyboard.press("Escape")
    expect(reader).to_be_hidden()
    expect(open_page.get_by_role("button", name="facts.txt").first).to_be_focused()


def test_passages_and_drafts_come_before_the_answer(open_page: Page, held: Callable[[], None]) -> None:
    ask(open_page, QUESTION)
    expect(open_page.get_by_role("status").filter(has_text="1 passage found. Reading…")).to_be_visible()
    draft = open_page.locator("#draft")
    expect(draft).to_contain_text("Being written, not checked yet")
    expect(draft).to_contain_text("It is")
    expect(open_page.locator("#said")).to_be_empty()
    held()
    expect(open_page.locator(".said")).to_have_text("Beldorn")
    expect(draft).to_be_hidden()
    expect(open_page.locator(".kind:visible")).to_have_text("Written by the model, found in the documents")


def test_a_question_can_be_stopped_and_asked_anew(open_page: Page, held: Callable[[], None]) -> None:
    ask(open_page, QUESTION)
    expect(open_page.locator("#draft")).to_be_visible()
    open_page.get_by_role("button", name="Stop").click()
    expect(open_page.get_by_role("status").filter(has_text="Stopped.")).to_be_visible()
    expect(open_page.get_by_label("Question", exact=True)).to_be_focused()
    held()
    open_page.keyboard.press("Enter")
    expect(open_page.locator(".said")).to_have_text("Beldorn")


def stored(page: Page, citation: dict[str, Any]) -> str:
    collection = page.get_by_label("Collection", exact=True).input_value()
    path = f"documents/{citation['document_id']}"
    text: str = httpx.get(page.url.split("#")[0] + path, params={"collection": collection}).json()["text"]
    return text


def test_a_citation_marks_exactly_the_quote_in_its_place(open_page: Page) -> None:
    ask(open_page, QUESTION)
    open_page.locator("#sources").get_by_role("button", name="facts.txt").first.click()
    citation = answer_of(open_page)["citations"][0]
    words, text = marked(open_page)
    assert words == FACTS[citation["start"] : citation["end"]] == "The capital of Narvia is Beldorn."
    assert text == FACTS


def test_a_documents_markup_stays_text_and_offsets_count_characters(open_page: Page) -> None:
    open_page.get_by_label("Collection", exact=True).select_option("hostile")
    ask(open_page, "How many marbles is the secret of Ostrava?")
    expect(open_page.locator("blockquote").first).to_contain_text("42 marbles")
    open_page.locator("#sources").get_by_role("button").first.click()
    citation = answer_of(open_page)["citations"][0]
    words, text = marked(open_page)
    assert text == stored(open_page, citation)
    assert words == text[citation["start"] : citation["end"]] == citation["quote"]
    assert EVIL in text
    assert citation["document"] == open_page.locator("#reader-title").inner_text()
    assert open_page.locator("img, main script").count() == 0


def test_a_quote_is_marked_on_its_page(open_page: Page) -> None:
    open_page.get_by_label("Collection", exact=True).select_option("pages")
    ask(open_page, "Which colour burns the lantern of Tarn?")
    open_page.locator("#sources").get_by_role("button", name="book.pdf").first.click()
    citation = answer_of(open_page)["citations"][0]
    words, text = marked(open_page)
    assert (words, text) == ("The lantern of Tarn burns blue.", stored(open_page, citation))
    shown = open_page.locator("#reader-text").inner_text()
    assert shown.index("Page 2") < shown.index("lantern") < shown.index("Page 3")


def test_a_pdfs_page_is_shown_with_the_quote_marked_in_it(open_page: Page) -> None:
    open_page.get_by_label("Collection", exact=True).select_option("pages")
    ask(open_page, "Which colour burns the lantern of Tarn?")
    open_page.locator("#sources").get_by_role("button", name="book.pdf").first.click()
    sheet = open_page.get_by_role("region", name="The page as it looks")
    image = sheet.get_by_role("img", name="Page 2 of 3, what is cited is marked")
    expect(image).to_be_in_viewport()
    yellow = """(canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let count = 0;
      for (let at = 0; at < data.length; at += 4) count += data[at] > 200 && data[at + 2] < 150;
      return count;
    }"""
    assert image.evaluate(yellow) > 1000
    sheet.get_by_role("button", name="Next page").click()
    last = sheet.get_by_role("img", name="Page 3 of 3", exact=True)
    expect(last).to_be_visible()
    assert last.evaluate(yellow) == 0
    expect(sheet.get_by_role("button", name="Next page")).to_be_disabled()
    assert contrasts_too_low(open_page) == []
    open_page.set_viewport_size(PHONE)
    expect(last).to_be_in_viewport()
    expect(open_page.locator("mark")).to_be_visible()
    assert open_page.locator("#reader").evaluate("(dialog) => dialog.scrollWidth") <= PHONE["width"]


def test_what_is_no_pdf_has_no_page(open_page: Page) -> None:
    ask(open_page, QUESTION)
    open_page.locator("#sources").get_by_role("button", name="facts.txt").first.click()
    expect(open_page.locator("mark")).to_be_in_viewport()
    expect(open_page.get_by_role("region", name="The page as it looks")).to_be_hidden()


def test_earlier_answers_stay_until_they_are_forgotten(open_page: Page) -> None:
    for question in (QUESTION, "Who won the football cup?"):
        ask(open_page, question)
        expect(open_page.locator("#said .said")).to_be_visible()
        expect(open_page.locator("#answer .after")).to_be_visible()
    earlier = open_page.get_by_role("region", name="Asked before")
    earlier.get_by_text(QUESTION).click()
    expect(earlier.locator(".said")).to_have_text("Beldorn")
    earlier.get_by_role("button", name="facts.txt").first.click()
    expect(open_page.locator("mark")).to_be_visible()
    open_page.keyboard.press("Escape")
    earlier.get_by_role("button", name="Begin a new conversation").click()
    expect(earlier).to_be_hidden()


def test_a_follow_up_is_completed_from_the_conversation_and_shown(open_page: Page) -> None:
    ask(open_page, QUESTION)
    expect(open_page.locator("#answer .after")).to_be_visible()
    ask(open_page, "And its river?")
    expect(open_page.locator("#asked-as")).to_contain_text("Narvia")
    expect(open_page.locator("#asked")).to_have_text("And its river?")
    expect(open_page.locator("#answer .after")).to_be_visible()
    link = open_page.locator("#answer").get_by_role("link", name="Link").get_attribute("href") or ""
    assert "Narvia" in link  # the question as it was completed stands alone


def test_a_link_opens_the_same_answer(open_page: Page, filled: str) -> None:
    open_page.get_by_label("Collection", exact=True).select_option("plants")
    open_page.get_by_label("In the document", exact=True).fill("works.txt")
    ask(open_page, "Where did the workers go?")
    expect(open_page.locator("#answer .after")).to_be_visible()
    link = open_page.get_by_role("link", name="Link").get_attribute("href")
    open_page.goto("about:blank")
    open_page.goto(f"{filled}/{link}")
    expect(open_page.locator("#asked")).to_have_text("Where did the workers go?")
    expect(open_page.locator("#answer .after")).to_be_visible()
    expect(open_page.get_by_label("Collection", exact=True)).to_have_value("plants")
    expect(open_page.get_by_label("In the document", exact=True)).to_have_value("works.txt")


def test_the_collection_of_the_address_is_chosen_else_one_that_holds_documents(filled: str, page: Page) -> None:
    chosen = page.get_by_label("Collection", exact=True)
    page.goto(f"{filled}/?collection=elsewhere")
    expect(chosen).to_have_value("elsewhere")
    page.goto(filled)
    expect(chosen).to_have_value("default")

    page.route("**/collections", lambda route: route.fulfill(json={"collections": [{"name": "wines", "documents": 2}]}))
    page.goto(filled)
    expect(chosen).to_have_value("wines")


def test_an_answer_is_copied_with_its_sources_and_rated(open_page: Page) -> None:
    open_page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(open_page, QUESTION)
    open_page.get_by_role("button", name="Copy").click()
    expect(open_page.get_by_text("Copied.")).to_be_visible()
    copied = open_page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("Beldorn\n\n[1] facts.txt: “The capital of Narvia is Beldorn.”")
    good, bad = open_page.get_by_role("button", name="Good answer"), open_page.get_by_role("button", name="Bad answer")
    good.click()
    expect(open_page.get_by_text("Kept as a question to evaluate with.")).to_be_visible()
    bad.click()
    expect(bad).to_have_attribute("aria-pressed", "true")
    expect(good).to_have_attribute("aria-pressed", "false")


def test_questions_to_begin_with_are_proposed_and_asked(open_page: Page) -> None:
    open_page.get_by_role("button", name=QUESTION).click()
    expect(open_page.locator(".said")).to_have_text("Beldorn")
    expect(open_page.get_by_text("For example:")).to_be_hidden()


def test_a_quotation_is_labelled_as_one(open_page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(T5Generator, "generate", lambda *_: "Atlantis")
    ask(open_page, QUESTION)
    expect(open_page.locator(".kind.extractive")).to_have_text("Quoted word for word")
    expect(open_page.locator("#said")).to_contain_text("What the model wrote does not stand in the documents")
    expect(open_page.locator(".said")).to_have_text("The capital of Narvia is Beldorn.")


def test_an_answer_that_is_less_likely_right_than_wrong_says_so(
    open_page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answerer, "confidence", lambda *_: 0.23)
    ask(open_page, QUESTION)
    expect(open_page.locator(".kind.none")).to_have_text("Unsure. Written by the model, found in the documents")
    expect(open_page.locator("#said")).to_contain_text("Read it in the document before you rely on it.")


def test_what_the_documents_do_not_say_is_shown_as_not_answered(open_page: Page) -> None:
    ask(open_page, "Who won the football cup?")
    expect(open_page.locator(".kind.none")).to_have_text("Not answered")
    expect(open_page.locator(".said")).to_contain_text("do not answer this question")
    expect(open_page.locator("#sources")).not_to_contain_text("Sources")
    expect(open_page.get_by_role("list", name="Passages looked at").get_by_role("listitem")).to_have_count(1)


def test_a_question_can_be_asked_of_one_document(open_page: Page) -> None:
    open_page.get_by_label("Collection", exact=True).select_option("plants")
    only = open_page.get_by_label("In the document", exact=True)
    expect(open_page.locator("#names option")).to_have_count(2)  # what the field proposes
    looked_at = open_page.get_by_role("list", name="Passages looked at", include_hidden=True).locator("button")
    for name, found in {
        "works.txt": ["works.txt"],
        "roots.txt": ["roots.txt"],
        " ": ["roots.txt", "works.txt"],
    }.items():
        only.fill(name)
        ask(open_page, "How do trees and plants drink?")
        expect(looked_at).to_have_text(found)
    only.fill("no-such.txt")
    only.press("Enter")
    expect(open_page.get_by_role("alert")).to_contain_text("no-such.txt")


def test_what_breaks_while_it_is_answered_is_said(open_page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(T5Generator, "generate", broken)
    ask(open_page, QUESTION)
    expect(open_page.get_by_role("alert")).to_contain_text("Internal error")
    expect(open_page.get_by_role("button", name="Stop")).to_be_hidden()


def test_the_content_policy_refuses_markup_and_what_lies_elsewhere(filled: str, browser: Browser) -> None:
    with watched(browser) as (tab, errors):
        tab.goto(filled)
        assert (
            tab.evaluate("try { document.body.innerHTML = '<p>'; 'taken' } catch (error) { error.name }") == "TypeError"
        )
        with tab.expect_console_message(lambda message: message.text == "policy: http://127.0.0.1:9/x.png"):
            tab.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    assert "policy: http://127.0.0.1:9/x.png" in errors  # so every other test would see it too


def test_everybody_can_use_the_page_for_asking(open_page: Page) -> None:
    ask(open_page, "Who won the football cup?")
    expect(open_page.locator(".kind.none")).to_be_visible()
    assert hindrances(open_page) == []
    ask(open_page, QUESTION)
    expect(open_page.locator(".kind.generator")).to_be_visible()
    assert hindrances(open_page) == []
    open_page.locator("#sources").get_by_role("button").first.click()
    expect(open_page.locator("mark")).to_be_visible()
    assert hindrances(open_page) == []
    nameless = (
        "[...document.querySelectorAll('input, select, textarea')].filter((field) => !field.labels.length).length"
    )
    assert open_page.evaluate(nameless) == 0


def test_everybody_can_use_the_other_pages(open_page: Page) -> None:
    for name in ("Retrieval", "Documents"):
        open_page.get_by_role("link").filter(has_text=name).first.click()
        expect(open_page.get_by_role("heading", level=1)).to_have_text(name)
        assert hindrances(open_page) == []


def test_a_phone_needs_no_sideways_scrolling(open_page: Page) -> None:
    open_page.set_viewport_size(PHONE)
    ask(open_page, QUESTION)
    expect(open_page.locator(".said")).to_be_in_viewport()
    assert open_page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    open_page.locator("#sources").get_by_role("button").first.click()
    expect(open_page.locator("mark")).to_be_in_viewport()
    assert open_page.locator("#reader").evaluate("(dialog) => dialog.scrollWidth") <= PHONE["width"]


def test_the_page_of_calls_is_one_of_the_family(filled: str, page: Page) -> None:
    page.goto(f"{filled}/docs")
    page.get_by_role("link", name="Back to the page").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ask your documents")
    page.get_by_role("link", name="API").click()
    page.get_by_role("link", name="The same as OpenAPI").click()
    expect(page.locator("body")).to_contain_text('"openapi"')
