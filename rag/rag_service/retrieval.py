"""Finding passages: by meaning and by words, then compared more closely. Knows the searches only by their shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import numpy
from numpy.typing import NDArray

from rag_service.documents import Encoded, Hit, Part, Passage, SearchOptions, Term, Weights
from rag_service.language import content_stems, content_words, stem, word_spans
from rag_service.late_interaction import interaction, spoken
from rag_service.merging import gathered

Vector = NDArray[numpy.float32]
Found = Sequence[tuple[int, float]]
Scores = Mapping[int, float]

# A question has at most some hundred words; more only cost time.
_MOST_WORDS = 100
# A page marks so many words of a hit at most.
_MOST_TERMS = 200
# For passages that were stored without their tokens' signs.
_WITHOUT_TOKENS = Weights(late=0.0, dense=0.5, lexical=0.5)


class DenseSearch(Protocol):
    def search(
        self, collection: str, question: Vector, count: int, only: Sequence[int] | None = None
    ) -> list[tuple[int, float]]: ...


class StoredPassages(Protocol):
    def search_text(
        self, collection: str, words: Sequence[str], count: int, only: Sequence[int] | None = None
    ) -> list[tuple[int, float]]: ...
    def passages_of(self, collection: str, documents: Sequence[str]) -> list[int]: ...
    def vectors(self, chunk_ids: Sequence[int]) -> Mapping[int, Vector]: ...
    def token_signs(self, chunk_ids: Sequence[int]) -> Mapping[int, bytes]: ...
    def passages(self, chunk_ids: Sequence[int]) -> Mapping[int, Passage]: ...
    def text_between(self, chunk_id: int, start: int, end: int) -> str: ...


class Retriever:
    """Two stages: both searches name candidates, late interaction and the words' weight put them in order."""

    def __init__(self, dense: DenseSearch, stored: StoredPassages) -> None:
        self._dense = dense
        self._stored = stored

    def find(
        self, collection: str, question: str, encoded: Encoded, top_k: int, options: SearchOptions | None = None
    ) -> list[Hit]:
        """The best passages, best first, at most `top_k`, neighbours joined and copies dropped. `encoded` is what the
        embedder's `encode_question` gave. Raises UnknownDocument where the options name a document that is not there.
        """
        options = options or SearchOptions()
        only = self._stored.passages_of(collection, options.documents) if options.documents else None
        depth = max(options.depth, top_k)
        vector = encoded.vectors[0]
        words = content_words(question)[:_MOST_WORDS]
        with ThreadPoolExecutor(1, "words") as aside:  # neither search holds the interpreter: each has a core
            by_words = aside.submit(self._stored.search_text, collection, words, depth, only)
            dense = self._dense.search(collection, vector, depth, only)
            lexical = by_words.result()
        candidates = list(dict.fromkeys([number for number, _ in [*dense, *lexical]]))
        # What was deleted a moment ago, and is still in the index, has no vector in the store any more.
        stored = self._stored.vectors(candidates)
        similarity = {number: float(one @ vector) for number, one in stored.items()}
        signs = self._stored.token_signs(list(stored))
        # Where one was stored without its tokens none is compared by them.
        late = _late(signs, encoded, question) if len(signs) == len(stored) else {}
        weights = options.weights if late else _WITHOUT_TOKENS
        words_score = {number: score for number, score in lexical if number in stored}
        fused = fuse([(weights.late, late), (weights.dense, similarity), (weights.lexical, words_score)])
        hits = self._hits(fused, similarity, late, signs, _ranks(dense), _ranks(lexical), top_k)
        asked = content_stems(question)
        return [
            replace(hit, terms=matched(asked, hit.passage)) for hit in gathered(hits, top_k, self._stored.text_between)
        ]

    def _hits(
        self,
        fused: Found,
        similarity: Scores,
        late: Scores,
        signs: Mapping[int, bytes],
        dense_ranks: Mapping[int, int],
        lexical_ranks: Mapping[int, int],
        count: int,
    ) -> Iterator[Hit]:
        """The hits, best first; their words are read `count` at a time, as neighbours and copies become one hit."""
        passages: dict[int, Passage] = {}
        for place, (number, score) in enumerate(fused):
            if place % count == 0:
                passages.update(self._stored.passages([one for one, _ in fused[place : place + count]]))
            if number in passages:
                yield Hit(
                    passage=passages[number],
                    score=round(score, 4),
                    similarity=round(similarity[number], 4),
                    dense_rank=dense_ranks.get(number),
                    lexical_rank=lexical_ranks.get(number),
                    late_interaction=round(late[number], 4) if number in late else None,
                    parts=(Part(passages[number], signs.get(number)),),
                )


def _late(signs: Mapping[int, bytes], encoded: Encoded, question: str) -> dict[int, float]:
    """Each candidate's late interaction."""
    scores = interaction(spoken(encoded.tokens[0], question), list(signs.values()))
    return dict(zip(signs, scores.tolist(), strict=True))


def fuse(parts: Sequence[tuple[float, Scores]]) -> list[tuple[int, float]]:
    """Several kinds of scores as one, best first, from 0 to 1; each comes with its weight.

    Each kind is scaled to 0..1 over the passages that have such a score, 0 for the others; then the weighted mean. A
    kind that found nothing has no weight.
    """
    heard = [(weight, _scaled(scores)) for weight, scores in parts if weight > 0 and scores]
    total = sum(weight for weight, _ in heard)
    numbers = dict.fromkeys(number for _, scores in parts for number in scores)
    fused = {
        number: sum(weight * scores.get(number, 0.0) for weight, scores in heard) / total if heard else 0.0
        for number in numbers
    }
    return sorted(fused.items(), key=lambda item: (-item[1], item[0]))


def matched(asked: set[str], passage: Passage) -> tuple[Term, ...]:
    """The places of the question's words in a passage, whatever their ending, in order; `asked` are their stems."""
    text, start = passage.text, passage.start
    openings = tuple(asked)  # a word begins with its stem
    found = [place for place in word_spans(text) if place[0].startswith(openings) and stem(place[0]) in asked]
    return tuple(Term(text[first:last], start + first, start + last) for _, first, last in found[:_MOST_TERMS])


def _scaled(scores: Scores) -> dict[int, float]:
    low, high = min(scores.values()), max(scores.values())
    if high == low:
        return dict.fromkeys(scores, 1.0)
    return {number: (score - low) / (high - low) for number, score in scores.items()}


def _ranks(found: Found) -> dict[int, int]:
    return {number: rank for rank, (number, _) in enumerate(found, start=1)}
