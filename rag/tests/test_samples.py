"""Questions to begin with: made from the documents, and each of them answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import wait_until_ready
from fastapi.testclient import TestClient
from test_service import WINE, problem, upload

from rag_service.app import create_app
from rag_service.evaluation.samples import questions_in
from rag_service.settings import Settings

PLACES = b"The capital of Narvia is Beldorn. Beldorn is a town on the river Oste."


@pytest.mark.parametrize(
    ("text", "questions"),
    [
        ("The capital of Narvia is Beldorn.", ["What is the capital of Narvia?"]),
        ("Tannin is a phenol. Red wine has more tannin.", ["What is tannin?"]),
        ("Brettanomyces is a yeast.", ["What is Brettanomyces?"]),
        ("Die Hauptstadt von Narvien ist Beldorn, und sie ist alt.", ["Was ist die Hauptstadt von Narvien?"]),
        ("How do I change the port?\n\nSet RAG_PORT.", ["How do I change the port?"]),
        ("The sender is the subject. The following are the most common ones. Der Absender ist ein Amt.", []),
        ("Is it possible to use other databases?\n\nWhy shouldn't it be?", ["Is it possible to use other databases?"]),
        ("The tutorial project is a blog.", ["What is the tutorial project?"]),
        ("Name: bar | Says: Is there caramel in the bar?\n\nName: hard | Says: Is the candy hard?", []),
        ("It is a yeast. There is a town. The pump is green. The lamp is not a toy of his.", []),
    ],
)  # fmt: skip
def test_a_sentence_that_says_what_something_is_becomes_a_question(text: str, questions: list[str]) -> None:
    assert list(questions_in(text)) == questions


def test_a_collection_proposes_questions_that_it_answers(client: TestClient) -> None:
    [facts, wine] = upload(client, ("facts.txt", PLACES), ("wine.md", WINE), collection="begin")

    proposed = client.get("/collections/begin/questions").json()["questions"]

    assert set(proposed) == {"What is the capital of Narvia?", "What is Beldorn?"}
    for question in proposed:
        assert not client.post("/ask", json={"question": question, "collection": "begin"}).json()["abstained"]
    client.delete(f"/documents/{facts['document_id']}", params={"collection": "begin"})
    assert client.get("/collections/begin/questions").json() == {"questions": []}
    client.delete(f"/documents/{wine['document_id']}", params={"collection": "begin"})
    problem(client.get("/collections/begin/questions"), 404)


def test_what_is_not_answered_is_not_proposed(settings: Settings, tmp_path: Path) -> None:
    strict = settings.model_copy(update={"threshold": 1.0, "data_dir": tmp_path})
    with TestClient(create_app(strict)) as client:
        wait_until_ready(client)
        upload(client, ("facts.txt", PLACES))

        assert client.get("/collections/default/questions").json() == {"questions": []}
