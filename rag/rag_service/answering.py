"""From a question to an answer that stands in the documents, or to the plain word that they do not answer it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rag_service.documents import Answer, Citation, Hit, SearchOptions
from rag_service.engines import Embedder, Generator
from rag_service.errors import EmptyCollection
from rag_service.evidence import Evidence, best_sentences, coverage, supported
from rag_service.retrieval import Retriever

PROMPT = "question: {question} context: {context}"

# How sure a question's evidence makes us, by logistic regression on the 612 questions of the English XQuAD set, asked
# of their own half of its articles and of the other half: the best cosine, and the share of the question's words
# that one passage holds.
_CONFIDENCE = (-12.3, 21.1, 9.1)


class Collections(Protocol):
    def collections(self) -> Mapping[str, int]: ...


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
        known = self._collections.collections()
        if collection not in known:
            raise EmptyCollection(collection, sorted(known))
        encoded = self._embedder.encode_question(question)
        return self._retriever.find(collection, question, encoded, top_k, options)

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
        hits = self.search(question, collection, top_k, options)
        retrieved = time.perf_counter()
        if tell:
            tell(Retrieved(hits))
        sure = confidence(question, hits)
        answer = self._answer(question, hits, sure, tell) if sure >= self._threshold else _nothing(collection, sure)
        ended = time.perf_counter()
        timings = {"retrieval": retrieved - started, "answer": ended - retrieved, "total": ended - started}
        return replace(answer, timings_ms={stage: round(1000 * seconds, 1) for stage, seconds in timings.items()})

    def _answer(self, question: str, hits: Sequence[Hit], sure: float, tell: Tell | None) -> Answer:
        prompt = build_prompt(question, hits, self._generator) if self._generator else None
        if self._generator and prompt and prompt.used:
            written = self._generator.generate(prompt.text, (lambda text: tell(Draft(text))) if tell else None)
            evidence = supported(written, question, prompt.used)
            if evidence is not None:
                return Answer(evidence.answer, False, "generator", sure, (_citation(evidence),), prompt.dropped)
        best = best_sentences(question, hits, self._embedder)[0]
        return Answer(best.quote, False, "extractive", sure, (_citation(best),), prompt.dropped if prompt else 0)


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


def confidence(question: str, hits: Sequence[Hit]) -> float:
    """How likely it is that these passages hold the answer, from 0 to 1."""
    if not hits:
        return 0.0
    base, by_cosine, by_words = _CONFIDENCE
    cosine = max(hit.similarity for hit in hits)
    held = max(coverage(question, hit.passage.text) for hit in hits)
    return round(1 / (1 + math.exp(-(base + by_cosine * cosine + by_words * held))), 3)


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
