"""An answer as events, from a real server with a generator that really writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conftest import TINY_T5
from test_command import served
from test_generator import FACTS

from rag_service.models.generator import T5Generator
from rag_service.settings import Settings

QUESTION = "What is the capital of Narvia?"
Event = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    own = settings.model_copy(update={"generator": str(TINY_T5), "data_dir": settings.data_dir / "streaming"})
    with served(own) as port:
        address = f"http://127.0.0.1:{port}"
        httpx.post(f"{address}/documents", files={"files": ("facts.txt", FACTS.encode())}).raise_for_status()
        yield address


def events(lines: Iterator[str]) -> Iterator[Event]:
    """The events of a stream, by the standard's rules as far as this service uses them."""
    name, data = "message", list[str]()
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data.append(line.removeprefix("data: "))
        elif not line and data:
            yield name, json.loads("\n".join(data))
            name, data = "message", []


def asked(url: str, question: str, **more: Any) -> list[Event]:
    body = {"question": question, **more}
    with httpx.stream("POST", f"{url}/ask", json=body, headers={"Accept": "text/event-stream"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(events(response.iter_lines()))


def test_passages_first_then_drafts_then_the_checked_answer(url: str) -> None:
    told = asked(url, QUESTION)

    names = [name for name, _ in told]
    assert names == ["retrieved", *["token"] * (len(told) - 2), "answer"]
    drafts = [data["text"] for name, data in told if name == "token" and data["draft"]]
    checked = [data["text"] for name, data in told if name == "token" and not data["draft"]]
    assert "".join(drafts).strip() == "".join(checked) == told[-1][1]["answer"] == "Beldorn"
    assert told[0][1]["hits"][0]["document"] == "facts.txt"


def test_the_last_event_is_the_answer_of_the_plain_call(url: str) -> None:
    plain = httpx.post(f"{url}/ask", json={"question": QUESTION}).json()

    streamed = asked(url, QUESTION)[-1][1]

    different = {"timings_ms": None, "request_id": None}
    assert {**streamed, **different} == {**plain, **different}
    assert streamed.keys() == plain.keys()


def test_what_is_not_answered_has_no_drafts(url: str) -> None:
    told = asked(url, "Who won the football cup?")

    assert [name for name, _ in told] == ["retrieved", "token", "answer"]
    assert told[1][1] == {"text": told[2][1]["answer"], "draft": False}
    assert told[2][1]["abstained"]


def test_passages_are_told_while_the_generator_still_writes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()

    def slow(*_: object) -> str:
        let_go.wait(60)
        return "Beldorn"

    monkeypatch.setattr(T5Generator, "generate", slow)
    body = {"question": QUESTION}
    with httpx.stream("POST", f"{url}/ask", json=body, headers={"Accept": "text/event-stream"}) as response:
        told = events(response.iter_lines())
        try:
            assert next(told)[0] == "retrieved"
        finally:
            let_go.set()
        assert [name for name, _ in told] == ["token", "answer"]


@pytest.mark.parametrize(("body", "status"), [({"question": QUESTION, "collection": "no"}, 404), ({}, 422)])
def test_what_is_wrong_with_the_question_is_an_ordinary_refusal(url: str, body: Any, status: int) -> None:
    response = httpx.post(f"{url}/ask", json=body, headers={"Accept": "text/event-stream"})

    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


def test_what_breaks_later_is_the_last_event(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(T5Generator, "generate", broken)

    told = asked(url, QUESTION)

    assert [name for name, _ in told] == ["retrieved", "error"]
    assert (told[1][1]["status"], told[1][1]["title"]) == (500, "Internal error")
    assert "secret" not in json.dumps(told)
    assert told[1][1]["request_id"] in caplog.text
    assert "a secret detail" in caplog.text  # the log has the details, as the hint says


def test_readers_that_go_away_give_their_places_back(url: str, settings: Settings) -> None:
    for _ in range(settings.max_waiting + 2):
        body, headers = {"question": QUESTION}, {"Accept": "text/event-stream"}
        with httpx.stream("POST", f"{url}/ask", json=body, headers=headers) as response:
            next(response.iter_lines())

    assert asked(url, QUESTION)[-1][0] == "answer"
