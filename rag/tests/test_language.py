"""Sentences and words."""

from __future__ import annotations

import pytest

from rag_service.language import content_stems, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wine is red. Beer is not!  Is water?", ["Wine is red.", "Beer is not!", "Is water?"]),
        ("Dr. Cortez wrote it, e.g. in 2009. It holds.", ["Dr. Cortez wrote it, e.g. in 2009.", "It holds."]),
        ("It is 3.5 g. per litre.", ["It is 3.5 g. per litre."]),
        ("He said “no.” Then he left.", ["He said “no.”", "Then he left."]),
        ("Heading\n\nText here", ["Heading", "Text here"]),
        ("List:\n- one\n- two", ["List:", "- one", "- two"]),
        ("酒是红色的。水不是。", ["酒是红色的。", "水不是。"]),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


def test_sentences_of_a_part_keep_their_place_in_the_whole() -> None:
    text = "Zero. One is here. Two."

    assert [text[start:end] for start, end in sentences(text, 6)] == ["One is here.", "Two."]


def test_stems_bring_forms_of_a_word_together() -> None:
    assert content_stems("What does it ferment?") == content_stems("fermenting") == content_stems("Fermentation")
