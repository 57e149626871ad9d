"""Finding passages: by meaning and by words, then compared more closely."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from rag_service.language import content_stems, content_words, language_of, stem, terms_of, word_spans
from rag_service.search.maxsim import interaction, word_vectors
from rag_service.search.merge import merge_hits
from rag_service.store.protocol import Store, VectorIndex, View
from rag_service.types import Encoded, Hit, Part, Passage, SearchOptions, Term

Ranked = Sequence[tuple[int, float]]
Scores = Mapping[int, float]

# A question has at most some hundred words; more only cost time.
_MOST_TERMS = 100
# So many passages with the words of a phrase are searched for it.
_MOST_READ = 50
# The most words of a hit that a page marks.
_MOST_MARKED = 200


class Retriever:
    """Two stages: both searches name candidates, the token-level comparison and the terms' weight put them in order."""

    def __init__(self, index: VectorIndex, store: Store) -> None:
        self._index = index
        self._store = store
        self._aside = ThreadPoolExecutor(os.cpu_count(), "lexical")

    def find(
        self, view: View, question: str, encoded: Encoded, top_k: int, options: SearchOptions | None = None
    ) -> list[Hit]:
        """The best passages, best first, at most `top_k`, neighbours joined and copies dropped. `encoded` is what the
        embedder's `encode_question` gave. Raises UnknownDocument where the options name a document that is not there.
        """
        options = options or SearchOptions()
        only = self._chosen(view, options)
        depth = max(options.depth, top_k)
        vector = encoded.vectors[0]
        language = language_of(question)
        terms = terms_of(" ".join(content_words(question, language)[:_MOST_TERMS]), language)
        # Neither search holds the interpreter: each has a core.
        by_terms = self._aside.submit(self._store.lexical, view, terms, depth, only)
        dense = self._index.search(view, vector, depth, only)
        lexical = by_terms.result()
        # What was deleted a moment ago, and is still in the index, has no vector in the store any more.
        stored = self._store.vectors(list(dict.fromkeys(number for number, _ in [*dense, *lexical])))
        similarity = {number: float(one.vector @ vector) for number, one in stored.items()}
        compared = interaction(word_vectors(encoded.tokens[0], question), [one.signs for one in stored.values()])
        late = dict(zip(stored, compared.tolist(), strict=True))
        lexical_scores = {number: score for number, score in lexical if number in stored}
        weights = options.weights
        fused = fuse([(weights.late, late), (weights.dense, similarity), (weights.lexical, lexical_scores)])
        dense_ranks, lexical_ranks = _ranks(dense), _ranks(lexical)

        def hit(passage: Passage, score: float) -> Hit:
            number = passage.chunk_id
            return Hit(
                passage=passage,
                score=round(score, 4),
                similarity=round(similarity[number], 4),
                dense_rank=dense_ranks.get(number),
                lexical_rank=lexical_ranks.get(number),
                late_interaction=round(late[number], 4),
                parts=(Part(passage, stored[number].signs),),
            )

        ranked = (hit(*one) for one in self._read(view, fused, top_k))
        merged = merge_hits(ranked, top_k, self._store.text_between, question)
        asked = content_stems(question, language)
        return [replace(one, terms=matched(asked, one.passage, language)) for one in merged]

    def holds(self, view: View, phrase: str, language: str, options: SearchOptions | None = None) -> bool:
        """Whether the words of `phrase`, whatever their endings, stand one after the other in a passage: of those that
        have most of them."""
        wanted = terms_of(phrase, language)
        found = self._store.lexical(view, wanted, _MOST_READ, self._chosen(view, options or SearchOptions()))
        passages = self._store.passages(view, [number for number, _ in found]).values()
        said = (" ".join(["", *terms_of(f"{one.heading or ''} {one.text}", language), ""]) for one in passages)
        return any(" ".join(["", *wanted, ""]) in text for text in said)

    def _chosen(self, view: View, options: SearchOptions) -> Sequence[int] | None:
        if not (options.documents or options.metadata):
            return None
        return self._store.passages_of(view, options.documents, options.metadata)

    def _read(self, view: View, fused: Ranked, count: int) -> Iterator[tuple[Passage, float]]:
        """The passages with their scores; read `count` at a time, as neighbours and copies become one hit."""
        for start in range(0, len(fused), count):
            some = fused[start : start + count]
            passages = self._store.passages(view, [number for number, _ in some])
            yield from ((passages[number], score) for number, score in some if number in passages)


def fuse(parts: Sequence[tuple[float, Scores]]) -> list[tuple[int, float]]:
    """Several kinds of scores as one, best first, from 0 to 1; each comes with its weight.

    Each kind is scaled to 0..1 over the passages that have such a score, 0 for the others; then the weighted mean. A
    kind that found nothing has no weight.
    """
    weighted = [(weight, _scaled(scores)) for weight, scores in parts if weight > 0 and scores]
    total = sum(weight for weight, _ in weighted)
    numbers = dict.fromkeys(number for _, scores in parts for number in scores)
    fused = {
        number: sum(weight * scores.get(number, 0.0) for weight, scores in weighted) / total if weighted else 0.0
        for number in numbers
    }
    return sorted(fused.items(), key=lambda item: (-item[1], item[0]))


def matched(asked: set[str], passage: Passage, language: str = "en") -> tuple[Term, ...]:
    """The places of the question's words in a passage, whatever their ending, in order; `asked` are their stems."""
    text, start = passage.text, passage.start
    found = [place for place in word_spans(text, language) if stem(place[0], language) in asked]
    return tuple(Term(text[first:last], start + first, start + last) for _, first, last in found[:_MOST_MARKED])


def _scaled(scores: Scores) -> dict[int, float]:
    low, high = min(scores.values()), max(scores.values())
    if high == low:
        return dict.fromkeys(scores, 1.0)
    return {number: (score - low) / (high - low) for number, score in scores.items()}


def _ranks(found: Ranked) -> dict[int, int]:
    return {number: rank for rank, (number, _) in enumerate(found, start=1)}
