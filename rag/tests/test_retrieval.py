"""Passages are found by meaning and by words, and every hit says how."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from storing import library_over

from rag_service.errors import UnknownDocument
from rag_service.models.embedder import BertEmbedder
from rag_service.reading import Limits
from rag_service.search.maxsim import interaction, signs, word_vectors
from rag_service.search.retriever import Retriever, fuse
from rag_service.store.faiss_index import Index
from rag_service.store.protocol import Store
from rag_service.types import Hit, SearchOptions, Weights

PLACES = {
    "harbour.txt": "The harbour of Vell was dug in 1702. Ships from Oram brought salt, and left with dried fish.",
    "tower.txt": "The clock tower of Vell was built by Anna Riedl. Its bell rings at noon and can be heard in Oram.",
    "market.txt": "On market day the farmers of Oram sell cheese and apples. Fish is sold by the boats themselves.",
    "flood.txt": "In the spring of 1766 the river rose over the market. The tower stood, but its bell fell silent.",
    "school.txt": "Children learn to swim before they learn to read. The teacher keeps a boat for this purpose.",
    "law.txt": "Whoever sells fish must weigh it in public. A false weight costs the seller a month's trade.",
}
ASKED = [
    ("Who designed the building that strikes twelve?", "tower.txt"),
    ("When was the port excavated?", "harbour.txt"),
    ("What is the penalty for cheating with scales?", "law.txt"),
    ("Which year saw high water?", "flood.txt"),
    ("What do pupils have to master first?", "school.txt"),
    ("Where can one buy fruit from the countryside?", "market.txt"),
    ("What did vessels carry away?", "harbour.txt"),
    ("Why did nobody hear the hour any more?", "flood.txt"),
]


@pytest.fixture
def retriever(store: Store, embedder: BertEmbedder, limits: Limits) -> Retriever:
    library = library_over(store, embedder, limits)
    for name, text in PLACES.items():
        library.add(name, text.encode(), "default")
    return Retriever(Index(store, embedder.dimension), store)


Names = Callable[..., list[str]]


@pytest.fixture
def names(retriever: Retriever, embedder: BertEmbedder, store: Store) -> Names:
    """Gives the documents of the three best hits for a question."""

    def found(question: str, options: SearchOptions | None = None) -> list[str]:
        hits = retriever.find(store.view("default"), question, embedder.encode_question(question), 3, options)
        return [hit.passage.document for hit in hits]

    return found


def test_questions_in_other_words_find_their_passage_first(names: Names) -> None:
    right = [names(question)[0] == document for question, document in ASKED]

    assert sum(right) >= 7, dict(zip(ASKED, right, strict=True))


def test_a_hit_says_how_it_was_found(retriever: Retriever, embedder: BertEmbedder, store: Store) -> None:
    question = "Who sold the dried fish?"
    encoded = embedder.encode_question(question)
    hits = retriever.find(store.view("default"), question, encoded, 6)
    harbour = next(hit for hit in hits if hit.passage.document == "harbour.txt")

    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert harbour.lexical_rank is not None
    assert harbour.dense_rank is not None
    [stored] = store.vectors([harbour.passage.chunk_id]).values()
    assert harbour.similarity == pytest.approx(float(stored.vector @ encoded.vectors[0]), abs=1e-4)
    assert 0 < (harbour.late_interaction or 0) < 1
    text = store.content("default", harbour.passage.document_id).text
    assert [term.term for term in harbour.terms] == ["dried", "fish"]
    assert all(text[term.start : term.end] == term.term for term in harbour.terms)


def test_only_the_named_documents_are_searched(names: Names, store: Store) -> None:
    question, [_, flood, *_] = "Who built the clock tower of Vell?", store.documents("default")
    assert names(question)[0] == "tower.txt"

    among = SearchOptions(documents=("law.txt", flood.id))

    assert set(names(question, among)) == {"law.txt", flood.name}
    with pytest.raises(UnknownDocument, match=r"nowhere\.txt"):
        names(question, SearchOptions(documents=("law.txt", "nowhere.txt")))


def test_the_weights_decide_the_order(retriever: Retriever, embedder: BertEmbedder, store: Store) -> None:
    question = "What rang at noon, and was heard by those who sold fish in public?"
    encoded = embedder.encode_question(question)

    def found(weights: Weights) -> list[Hit]:
        return retriever.find(store.view("default"), question, encoded, 6, SearchOptions(weights=weights))

    by_words, by_meaning, by_tokens = found(Weights(0, 0, 1)), found(Weights(0, 1, 0)), found(Weights(1, 0, 0))
    lexical = [hit.lexical_rank for hit in by_words if hit.lexical_rank]
    tokens = [hit.late_interaction or 0 for hit in by_tokens]
    assert len(lexical) >= 3
    assert lexical == sorted(lexical)
    assert [hit.dense_rank for hit in by_meaning] == [1, 2, 3, 4, 5, 6]
    assert tokens == sorted(tokens, reverse=True)
    assert len({tuple(hit.passage.document for hit in hits) for hits in (by_words, by_meaning, by_tokens)}) > 1


def test_a_question_of_marks_alone_is_answered_with_something(names: Names) -> None:
    assert len(names("?!")) == 3


def test_the_interaction_is_the_mean_of_each_tokens_best_cosine_with_signs(embedder: BertEmbedder) -> None:
    texts = ["The bell rings at noon.", "", "Fish, salt and cheese are sold.", "..."]
    question = "When does the bell ring?"
    asked = word_vectors(embedder.encode_question(question).tokens[0], question)
    passages = embedder.encode_passages(texts).tokens

    scores = interaction(asked, [signs(tokens, text) for tokens, text in zip(passages, texts, strict=True)])

    expected = [
        float((asked @ numpy.where(vectors > 0, 1.0, -1.0).T).max(axis=1).mean() / numpy.sqrt(embedder.dimension))
        if (vectors := word_vectors(tokens, text)).size
        else 0.0
        for tokens, text in zip(passages, texts, strict=True)
    ]
    numpy.testing.assert_allclose(scores, expected, atol=1e-5)
    assert scores[0] > scores[2] > scores[1] == scores[3] == 0
    assert len(signs(passages[0], texts[0])) == 5 * embedder.dimension // 8  # the full stop is not kept
    assert interaction(asked[:0], [b""]).tolist() == [0.0]


numbers = st.integers(1, 8)
scores = st.dictionaries(numbers, st.floats(-10, 10).map(lambda score: round(score, 3)), max_size=8)
parts = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), scores), min_size=1, max_size=3)


@given(parts)
def test_fused_scores_are_in_order_from_0_to_1_and_lose_nobody(
    given_parts: list[tuple[float, dict[int, float]]],
) -> None:
    fused = fuse(given_parts)

    assert sorted(number for number, _ in fused) == sorted({number for _, found in given_parts for number in found})
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)
    assert all(0 <= score <= 1 + 1e-9 for _, score in fused)


@given(parts, st.floats(0.1, 10), st.floats(-5, 5))
def test_fusion_asks_nobody_for_the_unit_of_scores(
    given_parts: list[tuple[float, dict[int, float]]], factor: float, shift: float
) -> None:
    [(weight, found), *rest] = given_parts
    other_unit = {number: score * factor + shift for number, score in found.items()}

    assert dict(fuse([(weight, other_unit), *rest])) == pytest.approx(dict(fuse(given_parts)), abs=1e-6)


@given(parts)
def test_who_is_better_in_every_search_is_better_fused(given_parts: list[tuple[float, dict[int, float]]]) -> None:
    """Number 0 is above number 9 wherever either was found, and number 9 is found nowhere alone."""
    with_both = [(weight, {**found, 0: 11.0, 9: 10.5}) for weight, found in given_parts]

    fused = dict(fuse(with_both))

    assert fused[0] >= fused[9]
    assert all(fused[0] >= score for score in fused.values())


def test_nothing_found_gives_nothing() -> None:
    assert fuse([(1.0, {}), (0.5, {})]) == []


def test_ties_are_in_order_of_number() -> None:
    assert fuse([(0.5, {2: 0.9, 1: 0.1}), (0.5, {1: 4.0, 2: 1.0})]) == [(1, 0.5), (2, 0.5)]
