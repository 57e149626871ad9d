"""A PDF's page as an image: what is cited is marked where it stands, and nothing else."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from pdf_files import at, lines, pdf, pdf_of_pages
from storing import SPANS, TEXT, cut, edition, named, put, unit
from test_access import ALL, ONE, Front, bearer, front, keys_in  # noqa: F401
from test_service import problem, upload

from rag_service.reading import Limits, draw_page
from rag_service.settings import Settings
from rag_service.store.sqlite import SqliteStore

LAMP = "The lantern of Tarn burns blue."


def pixels(png: bytes) -> NDArray[numpy.uint8]:
    """`(height, width, 3)`: the pixels of a PNG file without filters."""
    width, height = struct.unpack(">II", png[16:24])
    data, place = b"", 8
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        data += png[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += length + 12
    raw = numpy.frombuffer(zlib.decompress(data), numpy.uint8).reshape(height, 3 * width + 1)
    return raw[:, 1:].reshape(height, width, 3)


def yellow(png: bytes, wide: float = 612, high: float = 792) -> list[tuple[int, int, int, int]]:
    """The marks, from the top: left, top, right and bottom of each, in points from the upper left corner."""
    shown = pixels(png)
    marked = (shown[..., 0] > 200) & (shown[..., 2] < 150)
    rows = numpy.flatnonzero(marked.any(axis=1))
    found = []
    for band in numpy.split(rows, numpy.flatnonzero(numpy.diff(rows) > 1) + 1) if len(rows) else []:
        across = numpy.flatnonzero(marked[band].any(axis=0))
        x, y = wide / shown.shape[1], high / shown.shape[0]
        found.append((round(across[0] * x), round(band[0] * y), round(across[-1] * x), round(band[-1] * y)))
    return found


def marks(limits: Limits, data: bytes, quote: str, before: str = "", **size: float) -> list[tuple[int, int, int, int]]:
    return yellow(draw_page(data, 1, before, quote, limits).png, **size)


def test_a_quote_is_marked_over_its_lines_and_nowhere_else(limits: Limits) -> None:
    data = pdf_of_pages(lines(60, 700, "The lamp is old. The lantern of", "Tarn burns blue. It is lit at dusk."))

    image = draw_page(data, 1, "The lamp is old.", LAMP, limits)
    first, second = yellow(image.png)

    assert pixels(image.png).shape == (1800, 1391, 3)  # Letter, 612 by 792 points
    assert first[0] > 130  # behind "The lamp is old."
    assert 80 < first[1] < first[3] <= second[1] < second[3] < 112
    assert second[0] < 61
    assert second[2] < 150  # before "It is lit"
    assert image.marked_at == pytest.approx(first[1] / 792, abs=0.002)


def test_of_several_places_the_one_that_is_cited_is_marked(limits: Limits) -> None:
    data = pdf_of_pages(lines(60, 700, LAMP, "Nothing else is said of it.", LAMP, step=50))

    [first] = marks(limits, data, LAMP)
    [last] = marks(limits, data, LAMP, before=f"{LAMP} Nothing else is said of it. ")

    assert last[1] - first[1] == pytest.approx(100, abs=1)


@pytest.mark.parametrize(
    ("content", "quote", "count"),
    [
        (lines(60, 700, "The lan-", "tern of Tarn burns blue."), LAMP, 2),
        (at(60, 700, "LAMP") + at(200, 700, "HUE") + at(60, 680, "oak") + at(200, 680, "red"),
         "LAMP: oak | HUE: red", 1),
        (at(60, 700, "The lantern") + at(300, 700, "A river") + at(60, 686, "of Tarn burns blue.") + at(300, 686, "is"),
         LAMP, 2),
        (at(60, 700, "\u706f\u7bc0\u306f\u9752\u304f", "U1") + at(60, 680, "\u71c3\u3048\u308b", "U1"),
         "\u706f\u7bc0\u306f\u9752\u304f\u71c3\u3048\u308b", 2),
        (at(60, 700, "The ofﬁce is blue.", "U1"), "The office is blue.", 1),
        (at(60, 700, LAMP), "Nothing of this stands there.", 0),
    ],
    ids=["hyphen", "row", "columns", "without blanks", "ligature", "not there"],
)  # fmt: skip
def test_what_the_reader_changes_is_found_all_the_same(content: str, quote: str, count: int, limits: Limits) -> None:
    assert len(marks(limits, pdf_of_pages(content), quote)) == count


def test_a_turned_page_is_marked_where_it_shows(limits: Limits) -> None:
    data = pdf_of_pages(at(60, 700, LAMP), page="/Rotate 90")

    [mark] = marks(limits, data, LAMP, wide=792, high=612)

    assert mark[0] == pytest.approx(698, abs=4)  # what is written upwards from the left is now downwards at the right
    assert mark[1] == pytest.approx(60, abs=3)


@pytest.fixture
def book(client: TestClient) -> Iterator[dict[str, Any]]:
    """A document of three pages with the lantern on the second, and where its text is."""
    [verdict] = upload(client, ("book.pdf", pdf("Nothing here.", LAMP, "Nor here.")))
    document = client.get(f"/documents/{verdict['document_id']}").json()
    yield {**document, "start": document["text"].index(LAMP), "end": document["text"].index(LAMP) + len(LAMP)}
    client.delete(f"/documents/{verdict['document_id']}")


def page_of(document: dict[str, Any], number: int) -> str:
    return f"/documents/{document['id']}/pages/{number}.png"


def test_a_citations_place_is_marked_on_its_page_alone(client: TestClient, book: dict[str, Any]) -> None:
    place = {"start": book["start"], "end": book["end"]}

    marked, beside = (client.get(page_of(book, number), params=place) for number in (2, 1))

    assert book["original"]
    assert (marked.headers["content-type"], marked.headers["cache-control"]) == ("image/png", "private, max-age=3600")
    assert yellow(marked.content)
    assert float(marked.headers["x-marked-at"]) == pytest.approx((792 - 210) / 792, abs=0.02)
    assert yellow(beside.content) == []
    assert "x-marked-at" not in beside.headers


def test_what_has_no_image_says_why(client: TestClient, book: dict[str, Any]) -> None:
    [text] = upload(client, ("a.txt", b"Wine is made from grapes."))

    assert "3 pages; there is no page 4" in problem(client.get(page_of(book, 4)), 404)["detail"]
    assert "was not kept" in problem(client.get(f"/documents/{text['document_id']}/pages/1.png"), 404)["detail"]
    assert not client.get(f"/documents/{text['document_id']}").json()["original"]
    problem(client.get("/documents/none/pages/1.png"), 404)
    problem(client.get(page_of(book, 0)), 422)


def test_a_page_needs_the_grant_of_its_document(front: Front, tmp_path: Path, book: dict[str, Any]) -> None:  # noqa: F811
    closed = front(api_key_file=keys_in(tmp_path))

    problem(closed.get(page_of(book, 2)), 401)
    problem(closed.get(page_of(book, 2), headers=bearer(ONE)), 403)
    assert closed.get(page_of(book, 2), headers=bearer(ALL)).status_code == 200


def test_more_pages_at_once_than_are_drawn_are_refused(
    client: TestClient, settings: Settings, book: dict[str, Any]
) -> None:
    places = client.app.state.drawing  # type: ignore[attr-defined]
    for _ in range(settings.max_uploads):
        places.acquire()
    try:
        refused = client.get(page_of(book, 2))
    finally:
        places.release(settings.max_uploads)

    assert problem(refused, 429)
    assert refused.headers["retry-after"] == "1"
    assert client.get(page_of(book, 2)).status_code == 200


def test_a_page_that_cannot_be_drawn_is_no_fault_of_the_service(
    client: TestClient, book: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Limits(2**20, 0, 2**29, 2**20)
    monkeypatch.setattr(client.app.state.service, "limits", lambda: slow)  # type: ignore[attr-defined]

    assert "cannot be drawn" in problem(client.get(page_of(book, 2)), 404)["detail"]


def test_a_file_is_kept_as_long_as_its_document_and_only_where_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(SqliteStore(path)) as store:
        put(store, "2", "b.txt")
        content = replace(named(), original=b"%PDF-")
        store.put("c", content, edition(), cut(TEXT, SPANS, unit(0, 1)))

        assert [(one.name, one.original) for one in store.documents("c")] == [("a.txt", True), ("b.txt", False)]
        assert (store.original("c", "1").data, store.original("c", "2").data) == (b"%PDF-", None)
        store.delete("c", "1")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM originals").fetchone() == (0,)
