"""From a question to an answer that stands in the documents, or to the plain word that they do not answer it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from rag_service.chunking import placed
from rag_service.documents import Answer, Citation, Encoded, Extracted, Hit, SearchOptions, Span
from rag_service.engines import Embedder, Generator
from rag_service.errors import EmptyCollection, UnknownDocument
from rag_service.evidence import Evidence, coverage, quoted, ranked_sentences, supported
from rag_service.late_interaction import Vectors, spoken
from rag_service.retrieval import Retriever

PROMPT = "question: {question} context: {context}"

# How sure a question's evidence makes us: the constant and a weight for each feature, by their number. By logistic
# regression on 612 questions of the English XQuAD set, asked of their own half of its articles and of the other
# (benchmarks/confidence.py; held out: docs/answers.md).
_CONFIDENCE = {2: (-12.3, 21.1, 9.1), 3: (-15.91, 6.69, 4.91, 26.99)}


class Collections(Protocol):
    def collections(self) -> Mapping[str, int]: ...
    def content(self, collection: str, document_id: str) -> Extracted: ...
    def confidence(self, collection: str) -> Sequence[float] | None: ...


@dataclass(frozen=True)
class Prompt:
    """A prompt that fits the generator's window, the hits that are in it, and the number that had to stay out."""

    text: str
    used: tuple[Hit, ...]
    dropped: int


@dataclass(frozen=True)
class Retrieved:
    """Told as soon as the passages are found."""

    hits: Sequence[Hit]


@dataclass(frozen=True)
class Draft:
    """Told while the generator writes: a piece of text that nothing has checked yet. It is no answer."""

    text: str


Tell = Callable[[Retrieved | Draft], None]


class Answerer:
    """Retrieval, evidence check, generation, support check. `generator` None: every answer is a quotation."""

    def __init__(
        self,
        embedder: Embedder,
        generator: Generator | None,
        retriever: Retriever,
        collections: Collections,
        threshold: float,
    ) -> None:
        self._embedder = embedder
        self._generator = generator
        self._retriever = retriever
        self._collections = collections
        self._threshold = threshold

    def search(self, question: str, collection: str, top_k: int, options: SearchOptions | None = None) -> list[Hit]:
        """The best passages. Raises EmptyCollection, UnknownDocument."""
        return self._search(question, collection, top_k, options)[0]

    def ask(
        self,
        question: str,
        collection: str,
        top_k: int,
        tell: Tell | None = None,
        options: SearchOptions | None = None,
    ) -> Answer:
        """The answer with its quotes, or an abstention; `tell` hears of the way there. Raises EmptyCollection,
        UnknownDocument."""
        started = time.perf_counter()
        hits, encoded = self._search(question, collection, top_k, options)
        retrieved = time.perf_counter()
        if tell:
            tell(Retrieved(hits))
        sure = confidence(features(question, hits), self._collections.confidence(collection))
        if sure >= self._threshold:
            answer = self._answer(question, spoken(encoded.tokens[0], question), hits, sure, tell)
        else:
            answer = _nothing(collection, sure)
        answer = replace(answer, citations=tuple(self._placed(collection, one) for one in answer.citations))
        ended = time.perf_counter()
        timings = {"retrieval": retrieved - started, "answer": ended - retrieved, "total": ended - started}
        return replace(answer, timings_ms={stage: round(1000 * seconds, 1) for stage, seconds in timings.items()})

    def _search(
        self, question: str, collection: str, top_k: int, options: SearchOptions | None
    ) -> tuple[list[Hit], Encoded]:
        known = self._collections.collections()
        if collection not in known:
            raise EmptyCollection(collection, sorted(known))
        encoded = self._embedder.encode_question(question)
        return self._retriever.find(collection, question, encoded, top_k, options), encoded

    def _placed(self, collection: str, citation: Citation) -> Citation:
        """With the page and the heading of the quote itself: a passage may begin on the page before."""
        try:
            extracted = self._collections.content(collection, citation.document_id)
        except UnknownDocument:  # deleted a moment ago
            return citation
        [place] = placed([Span(citation.start, citation.end)], extracted)
        return replace(citation, page=place.page, heading=place.heading)

    def _answer(self, question: str, asked: Vectors, hits: Sequence[Hit], sure: float, tell: Tell | None) -> Answer:
        prompt = build_prompt(question, hits, self._generator) if self._generator else None
        if self._generator is None or prompt is None or not prompt.used:
            ranked = ranked_sentences(question, asked, hits, self._embedder)
        else:
            with ThreadPoolExecutor(1, "generate") as aside:  # while it writes, the sentences are compared
                told = (lambda text: tell(Draft(text))) if tell else None
                writing = aside.submit(self._generator.generate, prompt.text, told)
                ranked = ranked_sentences(question, asked, hits, self._embedder)
                written = writing.result()
            evidence = supported(written, question, [one for one in ranked if one.hit in prompt.used])
            if evidence is not None:
                return Answer(evidence.answer, False, "generator", sure, (_citation(evidence),), prompt.dropped)
        citations = tuple(_citation(one) for one in quoted(ranked))
        return Answer(ranked[0].quote, False, "extractive", sure, citations, prompt.dropped if prompt else 0)


def build_prompt(question: str, hits: Sequence[Hit], generator: Generator) -> Prompt:
    """The prompt with as many passages as fit the window, best first. The question is never cut, a passage is in it
    whole or not at all; one that does not fit is passed over for the next."""
    used: list[Hit] = []
    text = PROMPT.format(question=question, context="")
    for hit in hits:
        context = " ".join(one.passage.text for one in [*used, hit])
        longer = PROMPT.format(question=question, context=context)
        if generator.count(longer) <= generator.window:
            used.append(hit)
            text = longer
    return Prompt(text, tuple(used), len(hits) - len(used))


def features(question: str, hits: Sequence[Hit]) -> tuple[float, ...]:
    """What tells whether these passages hold the answer: the best cosine, the largest share of the question's words
    that one of them holds, and the best late interaction where the passages were stored with their tokens."""
    cosine = max((hit.similarity for hit in hits), default=0.0)
    held = max((coverage(question, hit.passage.text) for hit in hits), default=0.0)
    late = [hit.late_interaction for hit in hits if hit.late_interaction is not None]
    return (cosine, held, max(late)) if late else (cosine, held)


def confidence(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """How likely it is that the passages with these features hold the answer, from 0 to 1. Weights that were fitted to
    other features are not used."""
    if weights is None or len(weights) != 1 + len(values):
        weights = _CONFIDENCE[len(values)]
    total = weights[0] + sum(weight * value for weight, value in zip(weights[1:], values, strict=True))
    return round(1 / (1 + math.exp(-max(-30.0, min(30.0, total)))), 3)


def _nothing(collection: str, sure: float) -> Answer:
    sentence = f"The documents in the collection '{collection}' do not answer this question."
    return Answer(sentence, True, "none", sure, ())


def _citation(evidence: Evidence) -> Citation:
    passage = evidence.hit.passage
    return Citation(
        document=passage.document,
        document_id=passage.document_id,
        page=passage.page,
        quote=evidence.quote,
        start=evidence.start,
        end=evidence.start + len(evidence.quote),
        score=evidence.hit.score,
        heading=passage.heading,
    )
