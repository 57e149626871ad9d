"""The page's retrieval view in a real browser: how passages were found, and where they stand."""

from __future__ import annotations

import httpx
from browser import marked
from playwright.sync_api import Page, Route, expect
from test_generator import FACTS

from rag_service.types import Weights


def test_of_a_long_document_the_part_around_the_mark_is_shown(open_page: Page) -> None:
    long = "🍷" * 120_000

    def lengthened(route: Route) -> None:
        document = route.fetch().json()
        moved = [{**heading, "start": heading["start"] + len(long)} for heading in document["headings"]]
        route.fulfill(json={**document, "text": long + document["text"] + long, "headings": moved})

    def moved(route: Route) -> None:
        [hit] = route.fetch().json()["hits"]
        start, end = hit["start"] + len(long), hit["end"] + len(long)
        route.fulfill(json={"hits": [{**hit, "start": start, "end": end, "terms": []}]})

    open_page.route("**/documents/*", lengthened)
    open_page.route("**/search", moved)
    open_page.get_by_role("link", name="Retrieval").click()
    open_page.get_by_label("Query").fill("river of Narvia")
    open_page.keyboard.press("Enter")
    open_page.get_by_role("list", name="Passages found").get_by_role("button").click()
    reader = open_page.get_by_role("dialog")
    words, text = marked(open_page)
    assert words == FACTS
    assert len(text) < len(long)
    reader.get_by_role("button", name="Show later text").click()
    reader.get_by_role("button", name="Show earlier text").click()
    expect(reader.get_by_role("button", name="Show earlier text")).to_have_count(0)
    expect(reader.get_by_role("button", name="Show later text")).to_have_count(0)
    shown = reader.locator("#reader-text").evaluate("(shown) => shown.textContent")
    assert shown == long + FACTS + long


def test_retrieval_shows_ranks_and_scores(open_page: Page) -> None:
    open_page.get_by_role("link", name="Retrieval").click()
    expect(open_page.get_by_role("heading", level=1)).to_be_focused()
    open_page.get_by_label("Query").fill("river of Narvia")
    open_page.keyboard.press("Enter")
    hit = open_page.get_by_role("list", name="Passages found").get_by_role("listitem")
    [found] = httpx.post(open_page.url.split("#")[0] + "search", json={"query": "river of Narvia"}).json()["hits"]
    expect(hit).to_contain_text("facts.txt")
    for said in ("by meaningrank 1", "by wordsrank 1", f"similarity{found['similarity']:.2f}", FACTS):
        expect(hit).to_contain_text(said)
    drawn = hit.locator(".bar").evaluate_all("(bars) => bars.map((bar) => bar.style.getPropertyValue('--share'))")
    assert [float(share) for share in drawn] == [found["similarity"], found["late_interaction"]]
    hit.get_by_role("button", name="facts.txt").click()
    assert marked(open_page) == (found["text"], FACTS)


def test_settings_can_be_tried_and_what_they_change_is_shown(open_page: Page) -> None:
    open_page.get_by_label("Collection", exact=True).select_option("plants")
    open_page.get_by_role("link", name="Retrieval").click()
    open_page.get_by_label("Query").fill("How do trees and plants drink?")
    open_page.keyboard.press("Enter")
    hits = open_page.get_by_role("list", name="Passages found").get_by_role("listitem")
    names = hits.get_by_role("button")
    expect(names).to_have_text(["roots.txt", "works.txt"])
    expect(hits.nth(1).locator(".term")).to_have_text(["plants", "drink"])
    expect(hits.first).to_contain_text("late interaction")
    open_page.get_by_text("Settings to try").click()
    late, lexical = (
        open_page.get_by_label("Word by word, by meaning"),
        open_page.get_by_label("By the words themselves"),
    )
    expect(late).to_have_value(str(Weights.late))
    late.fill("0")
    lexical.fill("1")
    open_page.keyboard.press("Enter")
    expect(names).to_have_text(["works.txt", "roots.txt"])
    expect(hits.locator(".source")).to_contain_text(["was 2", "was 1"])
    open_page.get_by_label("Only in the document").fill("roots.txt")
    open_page.keyboard.press("Enter")
    expect(names).to_have_text(["roots.txt"])
    open_page.get_by_label("Only in the document").fill("no-such.txt")
    open_page.keyboard.press("Enter")
    expect(open_page.get_by_role("alert")).to_contain_text("no-such.txt")
    open_page.get_by_role("button", name="Defaults again").click()
    expect(late).to_have_value(str(Weights.late))
    open_page.get_by_role("button", name="Search").click()
    expect(names).to_have_text(["roots.txt", "works.txt"])
