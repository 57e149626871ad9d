"""Finding passages: by meaning and by words, fused. Knows the two searches only by their shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy
from numpy.typing import NDArray

from rag_service.documents import Hit, Passage
from rag_service.language import words

Vector = NDArray[numpy.float32]
Found = Sequence[tuple[int, float]]

# Each search looks this deep, so that a passage that only one of them ranks high still meets its score in the other.
_DEPTH = 50
# A question has at most some hundred words; more only cost time.
_MOST_WORDS = 100


class DenseSearch(Protocol):
    def search(self, collection: str, question: Vector, count: int) -> list[tuple[int, float]]: ...


class LexicalSearch(Protocol):
    def search_text(self, collection: str, words: Sequence[str], count: int) -> list[tuple[int, float]]: ...
    def passages(self, chunk_ids: Sequence[int]) -> Mapping[int, Passage]: ...


class Retriever:
    """Both searches and the words of what they find."""

    def __init__(self, dense: DenseSearch, lexical: LexicalSearch) -> None:
        self._dense = dense
        self._lexical = lexical

    def find(self, collection: str, question: str, vector: Vector, top_k: int) -> list[Hit]:
        """The best passages, best first, at most `top_k`."""
        depth = max(_DEPTH, 2 * top_k)
        dense = self._dense.search(collection, vector, depth)
        asked = list(dict.fromkeys(words(question)))[:_MOST_WORDS]
        lexical = self._lexical.search_text(collection, asked, depth)
        fused = fuse(dense, lexical)[:top_k]
        passages = self._lexical.passages([number for number, _ in fused])
        similarity = dict(dense)
        dense_ranks, lexical_ranks = _ranks(dense), _ranks(lexical)
        return [
            Hit(
                passage=passages[number],
                score=round(score, 4),
                similarity=round(similarity.get(number, 0.0), 4),
                dense_rank=dense_ranks.get(number),
                lexical_rank=lexical_ranks.get(number),
            )
            for number, score in fused
            if number in passages  # deleted a moment ago
        ]


def fuse(dense: Found, lexical: Found) -> list[tuple[int, float]]:
    """Both result lists as one, best first, with scores from 0 to 1: each search's scores are scaled to 0..1 over
    its own list, then averaged, half and half. Measured on 612 questions over 120 paragraphs this finds the right one
    first more often than either search alone or than fusing by reciprocal rank."""
    dense_scores, lexical_scores = _scaled(dense), _scaled(lexical)
    both = {
        number: (dense_scores.get(number, 0.0) + lexical_scores.get(number, 0.0)) / 2
        for number in [*dense_scores, *lexical_scores]
    }
    return sorted(both.items(), key=lambda item: (-item[1], item[0]))


def _scaled(found: Found) -> dict[int, float]:
    if not found:
        return {}
    scores = [score for _, score in found]
    low, high = min(scores), max(scores)
    if high == low:
        return {number: 1.0 for number, _ in found}
    return {number: (score - low) / (high - low) for number, score in found}


def _ranks(found: Found) -> dict[int, int]:
    return {number: rank for rank, (number, _) in enumerate(found, start=1)}
