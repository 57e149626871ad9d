"""Whatever is asked: each quote stands word for word where its citation says, and an abstention has none."""

from __future__ import annotations

import random
from pathlib import Path

from fastapi.testclient import TestClient
from test_service import upload

from rag_service.evaluation.questions import make_questions
from rag_service.types import Extracted

DOCUMENTS = Path(__file__).parents[1] / "documents"


def questions(count: int) -> list[str]:
    """Made ones, and words thrown together, with marks that could be taken for a query's or a page's."""
    texts = [(path.name, Extracted(path.read_text())) for path in sorted(DOCUMENTS.glob("*.md"))]
    source = random.Random(7)
    words = " ".join(content.text for _, content in texts).split()
    thrown = [" ".join(source.choices(words, k=source.randint(1, 12))) for _ in range(count)]
    return [one.text for one in make_questions(texts, count, 7)] + thrown + ['"', "NEAR(", "<b>", "é" * 300, "?"]


def test_every_quote_is_verbatim(client: TestClient) -> None:
    files = [(path.name, path.read_bytes()) for path in sorted(DOCUMENTS.iterdir())]
    for start in range(0, len(files), 8):
        upload(client, *files[start : start + 8], collection="sample")
    texts: dict[str, str] = {}
    answered = 0
    for question in questions(30):
        answer = client.post("/ask", json={"question": question, "collection": "sample"}).json()
        # What is related and no answer is shown too, with what of the question it does not meet.
        assert answer["abstained"] == (answer["answered_by"] == "none"), question
        assert answer["abstained"] or answer["citations"], question
        for citation in answer["citations"]:
            document = citation["document_id"]
            if document not in texts:
                there = client.get(f"/documents/{document}", params={"collection": "sample"})
                texts[document] = there.json()["text"]
            assert texts[document][citation["start"] : citation["end"]] == citation["quote"], question
            answered += 1
        assert answer["abstained"] or answer["answer"] == answer["citations"][0]["quote"]
    assert answered > 30
    for document in client.get("/documents", params={"collection": "sample"}).json()["documents"]:
        client.delete(f"/documents/{document['id']}", params={"collection": "sample"})
