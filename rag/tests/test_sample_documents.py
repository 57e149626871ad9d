"""The sample collection: large enough, of all four kinds, and its questions have their answers where they say."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

HERE = Path(__file__).parent
DOCUMENTS = HERE.parent / "documents"
QUESTIONS: list[dict[str, Any]] = json.loads((HERE / "data" / "sample-questions.json").read_text(encoding="utf-8"))[
    "data"
]


class Words(HTMLParser):
    """Collects the text between the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def text_of(path: Path) -> str:
    """The document's words, one blank between them."""
    if path.suffix == ".pdf":
        text = " ".join(page.get_textpage().get_text_bounded() for page in pypdfium2.PdfDocument(path))
    else:
        text = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        parser = Words()
        parser.feed(text)
        text = " ".join(parser.found)
    return re.sub(r"\s+", " ", text)


def test_at_least_fifteen_pages_of_four_kinds() -> None:
    files = sorted(DOCUMENTS.iterdir())
    assert {path.suffix for path in files} == {".md", ".html", ".txt", ".pdf"}
    assert sum(len(text_of(path).split()) for path in files) >= 15 * 450
    assert len(pypdfium2.PdfDocument(DOCUMENTS / "vinho-verde.pdf")) == 3


def test_there_are_twenty_questions() -> None:
    assert sum(len(paragraph["qas"]) for article in QUESTIONS for paragraph in article["paragraphs"]) == 20


@pytest.mark.parametrize("article", QUESTIONS, ids=lambda article: str(article["title"]))
def test_answers_stand_where_they_are_said_to(article: dict[str, Any]) -> None:
    document = text_of(DOCUMENTS / article["title"])
    for paragraph in article["paragraphs"]:
        context = paragraph["context"]
        assert re.sub(r"\s+", " ", context) in document
        for question in paragraph["qas"]:
            for answer in question["answers"]:
                start = answer["answer_start"]
                assert context[start : start + len(answer["text"])] == answer["text"]
