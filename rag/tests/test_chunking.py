"""Passages are exact in tokens and in place."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_service.indexing.chunk import chunk
from rag_service.models.embedder import BertEmbedder
from rag_service.reading.blocks import Piece, Reading, assemble
from rag_service.types import Extracted, Page

SENTENCES = [f"Sentence number {number} tells of wine and of nothing else." for number in range(40)]


def texts(extracted: Extracted, embedder: BertEmbedder, limit: int, overlap: int = 0) -> list[str]:
    return [extracted.text[span.start : span.end] for span in chunk(extracted, embedder.count, limit, overlap)]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["Wine is red. ", "pH\n\n", "- an item\n", "x" * 700, "酒是红色的。", "e\u0301" * 90, "3.14159 "]
            ),
            st.text(max_size=60),
        ),
        max_size=25,
    ),
    st.integers(8, 254),
)
def test_no_passage_is_over_the_limit_and_no_word_is_lost(embedder: BertEmbedder, parts: list[str], limit: int) -> None:
    text = "".join(parts).encode("utf-8", "ignore").decode()
    spans = chunk(Extracted(text), embedder.count, limit, limit // 4)

    assert all(count <= limit for count in embedder.count([text[span.start : span.end] for span in spans]))
    covered = {place for span in spans for place in range(span.start, span.end)}
    assert all(place in covered or text[place].isspace() for place in range(len(text)))
    assert [span.start for span in spans] == sorted({span.start for span in spans})


def test_a_limit_of_the_models_whole_length_truncates_nothing(embedder: BertEmbedder) -> None:
    passages = texts(Extracted(" ".join(SENTENCES)), embedder, embedder.limit)

    with_specials = [len(embedder._tokenizer.encode(passage).ids) for passage in passages]
    assert max(with_specials) <= 256
    assert max(with_specials) > 230


def test_sentences_stay_whole_and_the_last_is_repeated(embedder: BertEmbedder) -> None:
    passages = texts(Extracted(" ".join(SENTENCES)), embedder, 64, 16)

    assert all(passage.startswith("Sentence") and passage.endswith("else.") for passage in passages)
    for one, following in pairwise(passages):
        assert following.startswith(one[one.rindex("Sentence") :])


def test_passages_end_at_paragraphs_and_headings_stay_with_their_text(embedder: BertEmbedder) -> None:
    first, second = " ".join(SENTENCES[:5]), " ".join(SENTENCES[5:10])

    parts = [
        Piece("heading", "Red", 1),
        Piece("paragraph", first),
        Piece("heading", "White", 1),
        Piece("paragraph", second),
    ]
    assert texts(assemble(Reading(parts), 10_000), embedder, 100, 20) == [
        f"Red\n\n{first}",
        f"White\n\n{second}",
    ]


@pytest.mark.parametrize("text", ["", "  \n "])
def test_no_text_gives_no_passage(text: str, embedder: BertEmbedder) -> None:
    assert texts(Extracted(text), embedder, 50) == []


def test_a_passage_is_on_the_page_where_it_begins(embedder: BertEmbedder) -> None:
    one, two = " ".join(SENTENCES[:6]), " ".join(SENTENCES[6:12])
    pages = (Page(1, 0, len(one)), Page(2, len(one) + 2, len(one) + 2 + len(two)))

    spans = chunk(Extracted(f"{one}\n\n{two}", pages=pages), embedder.count, 90, 0)

    assert [span.page for span in spans] == [1, 2]


def by_words(texts: Sequence[str]) -> list[int]:
    return [len(one.split()) for one in texts]


def passages(pieces: list[Piece], limit: int, overlap: int = 0) -> list[str]:
    extracted = assemble(Reading(pieces), 100_000)
    return [extracted.text[span.start : span.end] for span in chunk(extracted, by_words, limit, overlap)]


@pytest.mark.parametrize("lead", [Piece("heading", "White", 1), Piece("paragraph", "You need:")])
def test_what_leads_to_the_next_block_opens_its_passage(lead: Piece) -> None:
    long = "Wine is red and wine is white and wine is old too."

    cut = passages([Piece("paragraph", "Beer is brown."), lead, Piece("item", long)], 14)

    assert cut == ["Beer is brown.", f"{lead.text}\n\n{long}"]


def test_sentences_end_as_the_documents_language_ends_them() -> None:
    pieces = [Piece("paragraph", "Die Pumpe läuft am 4. Mai und nicht am 5. Juni. Sie steht dann im Keller.")]

    assert passages(pieces, 12) == ["Die Pumpe läuft am 4. Mai und nicht am 5. Juni.", "Sie steht dann im Keller."]


def test_a_row_that_does_not_fit_is_cut_between_its_cells() -> None:
    row = " | ".join(f"name{number}: some value" for number in range(9))

    cut = passages([Piece("row", row)], 20)

    assert len(cut) > 1
    assert all(part.startswith("name") for part in cut)
