"""A question that leans on the conversation is completed before it is searched for; any other stays as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest
from fastapi.testclient import TestClient
from test_generated import Chat
from test_service import problem

from benchmarks.follow_ups import changed, dialogues
from rag_service.answering.follow_ups import complete
from rag_service.models.engines import Message
from rag_service.types import Turn

PUMP = Turn("When must the filter of pump 7 be changed?", "Every 200 hours.")
BUILT = Turn("Who built the tower?", "Ada Byron.")
HOURS = Turn("When does the museum open in summer?", "At nine.")


@pytest.mark.parametrize(
    ("turns", "question", "whole"),
    [
        ([PUMP], "How is it cleaned?", "How is it cleaned? (filter, pump 7, changed)"),
        ([PUMP], "Why?", "Why? (filter, pump 7, changed)"),
        ([BUILT], "When was she born?", "When was she born? (built, tower, Ada Byron)"),
        ([PUMP, HOURS], "How large is it?", "How large is it? (museum open, summer)"),
        ([Turn("Wann muss der Filter gewechselt werden?")], "Und im Winter?", "Und im Winter? (Filter gewechselt)"),
        ([Turn("What pH has white wine?")], "Why is that of red wine higher?", "Why is that of red wine higher? (pH)"),
        ([Turn("Which port has MLflow in Docker?")], "And Airflow?", "And Airflow? (port, MLflow, Docker)"),
        ([Turn("When was Bach born?")], "And in Leipzig?", "And in Leipzig? (Bach born)"),
        ([Turn("When did Bach write the toccata?")], "And the fugue?", "And the fugue? (Bach write, toccata)"),
        ([Turn("How long does a red fermentation take?")], "And a white one?", "And a white one? (red fermentation)"),
        ([Turn("What is free sulphur?")], "And bound?", "And bound? (free sulphur)"),
        ([Turn("Who makes beer?")], "What about wines?", "What about wines? (makes beer)"),
    ],
)  # fmt: skip
def test_subject_words_of_the_last_turn_are_carried_over(turns: list[Turn], question: str, whole: str) -> None:
    assert complete(question, turns) == whole


@pytest.mark.parametrize(
    ("before", "question", "whole"),
    [
        ("When does the museum open in summer?", "And in winter?", "When does the museum open in winter?"),
        ("When does the museum open in summer?", "In winter?", "When does the museum open in winter?"),
        ("Which port does MLflow use?", "And Airflow?", "Which port does Airflow use?"),
        ("gini index of Alabama?", "And of Alaska?", "gini index of Alaska?"),
        ("Where does the state of Alabama lie?", "And New Mexico?", "Where does the state of New Mexico lie?"),
        ("How much does a house in Bonn cost?", "And in Paris?", "How much does a house in Paris cost?"),
        ("When is the status 413?", "And 415?", "When is the status 415?"),
        ("When must the filter of pump 7 be changed?", "And pump 8?", "When must the filter of pump 8 be changed?"),
        ("What does red wine cost?", "And the white wine?", "What does the white wine cost?"),
        ("How much may a dry red wine hold?", "And a dry white one?", "How much may a dry white wine hold?"),
        ("What does brut mean?", "And extra brut?", "What does extra brut mean?"),
        ("How many dental hygienists are male?", "What about carpenters?", "How many carpenters are male?"),
        ("What share of dental hygienists is male?", "And carpenters?", "What share of carpenters is male?"),
        ("Which port does MLflow use?", "And the prediction service?", "Which port does the prediction service use?"),
        ("Which port does the prediction service use?", "And MLflow?", "Which port does MLflow use?"),
        ("What is tannin?", "And malic acid?", "What is malic acid?"),
        ("How much acid may a red wine hold?", "And a beer?", "How much acid may a beer hold?"),
        ("Was kostet der rote Wein?", "Und der weiße Wein?", "Was kostet der weiße Wein?"),
    ],
)  # fmt: skip
def test_what_a_fragment_names_takes_its_place_in_the_question_before(before: str, question: str, whole: str) -> None:
    assert complete(question, [Turn(before)]) == whole


def test_a_question_that_does_not_lean_stays_as_it_is() -> None:
    assert changed() == []
    assert complete("And in winter?", []) == "And in winter?"


def test_nearly_all_of_the_dialogues_lean() -> None:
    assert sum(complete(question, turns) != question for turns, question, _ in dialogues()) >= 37


@pytest.mark.parametrize(
    "written",
    [
        "When does the museum open in winter?",
        "“When does the museum open in winter?”\n",
        "<think>in winter?\n</think>\nWhen does the museum open in winter?",
    ],
)
def test_a_chat_model_completes_it(written: str) -> None:
    assert complete("And in winter?", [HOURS], Chat(written)) == "When does the museum open in winter?"


@pytest.mark.parametrize(
    "chat",
    [
        Chat(""),
        Chat("In winter the museum opens at ten."),
        Chat("When does the museum open?"),
        Chat("Does the museum open at 10 in winter?"),
        Chat("When does the museum in Bonn open in winter?"),
        Chat("When does the museum open in winter?\nIt opens at ten?"),
        Chat("When does the museum open in winter, " + "as it does " * 40 + "?"),
        Chat("When does the museum open in winter?", ended=False),
        Chat("When does the museum", failure="It broke."),
        Chat("When does the museum open in winter?", window=10),
    ],
    ids=["empty", "answer", "other question", "number", "name", "lines", "long", "cut off", "failure", "window"],
)
def test_a_bad_rewriting_falls_back_to_the_words_of_the_last_turn(chat: Chat) -> None:
    assert complete("And in winter?", [HOURS], chat) == complete("And in winter?", [HOURS])


def test_the_model_sees_the_last_turns_and_no_order_to_answer() -> None:
    seen: list[Sequence[Message]] = []

    class Watched(Chat):
        def count(self, messages: Sequence[Message]) -> int:
            seen.append(messages)
            return 0

    turns = [Turn(f"Question {number}?", "a" * 5000) for number in range(9)]
    complete("And in winter?", turns, Watched())

    assert "Question 8?" in seen[0][1].content
    assert "Question 4?" not in seen[0][1].content
    assert len(seen[0][1].content) < 4000


# ---- through the service --------------------------------------------------------------------------------------------

FACTS = {
    "museum.txt": b"The museum opens at nine in summer. In winter the museum opens at ten.",
    "library.txt": b"The library is closed in winter. It lends books and maps.",
}
FOLLOW_UP = {"question": "And in winter?", "collection": "hours"}
EARLIER = [{"question": "When does the museum open in summer?", "answer": "At nine."}]
WHOLE = "When does the museum open in winter?"


@pytest.fixture(scope="module")
def hours(client: TestClient) -> Iterator[TestClient]:
    client.post("/documents", files=[("files", pair) for pair in FACTS.items()], data={"collection": "hours"})
    yield client
    client.delete("/collections/hours")


def test_an_answer_says_what_was_searched_for(hours: TestClient) -> None:
    answer = hours.post("/ask", json={**FOLLOW_UP, "conversation": EARLIER}).json()

    assert answer["asked"] == WHOLE
    assert answer["citations"][0]["quote"] == "In winter the museum opens at ten."
    assert hours.post("/ask", json=FOLLOW_UP).json()["asked"] == "And in winter?"


def test_a_stream_says_it_before_the_passages(hours: TestClient) -> None:
    asked = {**FOLLOW_UP, "conversation": EARLIER}
    events = hours.post("/ask", json=asked, headers={"Accept": "text/event-stream"}).text.split("\n\n")
    assert events[0] == f"event: asked\ndata: {json.dumps({'question': WHOLE})}"
    assert events[1].startswith("event: retrieved")

    missing = {**asked, "collection": "none"}
    problem(hours.post("/ask", json=missing, headers={"Accept": "text/event-stream"}), 404)


def test_chat_completions_read_the_messages_before_the_question(hours: TestClient) -> None:
    turns = [("system", "Be kind."), ("user", EARLIER[0]["question"]), ("assistant", "At nine.\n\nSources:\n[1] bonn")]
    messages = [{"role": role, "content": text} for role, text in [*turns, ("user", "And in winter?")]]

    answer = hours.post("/v1/chat/completions", json={"model": "hours", "messages": messages}).json()

    assert answer["asked"] == WHOLE


@pytest.mark.parametrize(
    "conversation", [EARLIER * 51, [{"question": "w" * 2001}], [{"question": "Why?", "answer": "w" * 10_001}], [{}]]
)
def test_a_conversation_is_bounded(conversation: list[dict[str, str]], hours: TestClient) -> None:
    problem(hours.post("/ask", json={**FOLLOW_UP, "conversation": conversation}), 422)
