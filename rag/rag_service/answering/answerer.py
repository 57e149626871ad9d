"""From a question to an answer that stands in the documents, or to the plain word that they do not answer it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rag_service.answering.answerable import parts_of
from rag_service.answering.confidence import Fitted, about, confidence, features
from rag_service.answering.follow_ups import complete
from rag_service.answering.generated import chat_prompt, generate
from rag_service.answering.requests import (
    ONE_ROW,
    SINGLE_FACTS,
    asks_for_list,
    asks_for_summary,
    asks_over_rows,
    items_around,
)
from rag_service.answering.sentences import Asked, Evidence, asked_of, quoted, ranked_sentences
from rag_service.answering.support import supported
from rag_service.errors import OtherEmbedder, UnknownDocument
from rag_service.models.engines import ChatGenerator, Embedder, Generator
from rag_service.search.retriever import Retriever
from rag_service.store.protocol import Store, View
from rag_service.types import Answer, Block, Citation, Encoded, Extracted, Hit, SearchOptions, Sentence, Turn

PROMPT = "question: {question} context: {context}"

# So likely must it be that what was found is about the question's subject, if it is to be shown though it answers
# nothing.
_RELATED = 0.3
_MOST_ITEMS = 50


@dataclass(frozen=True)
class Prompt:
    """A prompt that fits the generator's window, the hits that are in it, and the number that had to stay out."""

    text: str
    used: tuple[Hit, ...]
    dropped: int


@dataclass(frozen=True)
class Completed:
    """Told before the search, where a follow-up was completed: the question that is searched for."""

    question: str


@dataclass(frozen=True)
class Retrieved:
    """Told as soon as the passages are found and judged; `features` are those of `confidence`."""

    hits: Sequence[Hit]
    features: tuple[float, ...] = ()


@dataclass(frozen=True)
class Draft:
    """Told while the generator writes: a piece of text that nothing has checked yet. It is no answer."""

    text: str


@dataclass(frozen=True)
class CheckedText:
    """Told while a chat model writes: a sentence of the answer, checked; joined, they are the answer."""

    text: str


Tell = Callable[[Completed | Retrieved | Draft | CheckedText], None]


class Answerer:
    """Retrieval, evidence check, generation, support check. `generator` None: every answer is a quotation."""

    def __init__(
        self,
        embedder: Embedder,
        generator: Generator | ChatGenerator | None,
        retriever: Retriever,
        store: Store,
        threshold: float,
    ) -> None:
        self._embedder = embedder
        self._generator = generator
        self._retriever = retriever
        self._store = store
        self._threshold = threshold

    def search(self, question: str, collection: str, top_k: int, options: SearchOptions | None = None) -> list[Hit]:
        """The best passages. Raises EmptyCollection, UnknownDocument."""
        return self._search(question, collection, top_k, options)[1]

    def ask(
        self,
        question: str,
        collection: str,
        top_k: int,
        tell: Tell | None = None,
        options: SearchOptions | None = None,
        conversation: Sequence[Turn] = (),
    ) -> Answer:
        """The answer with its quotes, or an abstention; `tell` receives the steps. A question that depends on the
        conversation is completed first. Raises EmptyCollection, UnknownDocument."""
        started = time.perf_counter()
        if conversation:
            self._store.view(collection)  # raises before anything is sent to a model
            question = self._completed(question, conversation, tell)
        view, hits, encoded = self._search(question, collection, top_k, options)
        retrieved = time.perf_counter()
        asked = asked_of(question, encoded.tokens[0])
        ranked = ranked_sentences(asked, hits, self._embedder)
        values = features(asked, hits, ranked)
        if tell:
            tell(Retrieved(hits, values))
        kept = self._store.recall(view)
        fitted = Fitted(**json.loads(kept)) if kept else None
        sure = confidence(values, fitted)
        related = about(values, fitted) >= _RELATED
        if related and (asks_for_list(question) or asks_for_summary(question)):
            answer = self._listed(collection, question, ranked, sure)
        elif related and ranked and ranked[0].kind == "row" and asks_over_rows(question, ranked[0].quote):
            answer = Answer(ONE_ROW, True, "none", sure, _citations(quoted(ranked)))
        elif ranked and sure >= self._threshold:
            answer = self._answer(asked, hits, ranked, sure, tell)
        elif ranked and related:
            answer = self._related(view, asked, hits, ranked, sure, options)
        else:
            answer = _nothing(collection, sure)
        ended = time.perf_counter()
        timings = {"retrieval": retrieved - started, "answer": ended - retrieved, "total": ended - started}
        return replace(
            answer, asked=question, timings_ms={stage: round(1000 * seconds, 1) for stage, seconds in timings.items()}
        )

    def _completed(self, question: str, conversation: Sequence[Turn], tell: Tell | None) -> str:
        whole = complete(question, conversation, self._generator)
        if tell and whole != question:
            tell(Completed(whole))
        return whole

    def _search(
        self, question: str, collection: str, top_k: int, options: SearchOptions | None
    ) -> tuple[View, list[Hit], Encoded]:
        view = self._store.view(collection)
        if view.edition.embedder != self._embedder.identity:
            raise OtherEmbedder(view.edition.embedder, self._embedder.identity)
        encoded = self._embedder.encode_question(question)
        return view, self._retriever.find(view, question, encoded, top_k, options), encoded

    def _content(self, collection: str, document_id: str) -> Extracted | None:
        try:
            return self._store.content(collection, document_id)
        except UnknownDocument:  # deleted a moment ago
            return None

    def _answer(
        self, asked: Asked, hits: Sequence[Hit], ranked: Sequence[Evidence], sure: float, tell: Tell | None
    ) -> Answer:
        if isinstance(self._generator, ChatGenerator):
            return self._written(asked, hits, ranked, sure, tell, self._generator)
        prompt = build_prompt(asked.text, hits, self._generator) if self._generator else None
        if self._generator is not None and prompt is not None and prompt.used:
            written = self._generator.generate(prompt.text, (lambda text: tell(Draft(text))) if tell else None)
            found = supported(written, asked.text, [one for one in ranked if one.hit in prompt.used])
            if found:
                text = " ".join(one.answer for one in found)
                return Answer(text, False, "generator", sure, _citations(found), prompt.dropped)
        dropped = prompt.dropped if prompt else 0
        return Answer(ranked[0].quote, False, "extractive", sure, _citations(quoted(ranked)), dropped)

    def _listed(self, collection: str, question: str, ranked: Sequence[Evidence], sure: float) -> Answer:
        """The items of the section that speaks most of what is to be listed, or the plain word that there are none."""
        near = quoted(ranked) if asks_for_list(question) else []
        near.sort(key=lambda one: one.kind != "item")  # a sentence may stand above several lists
        best = 0
        found: list[Evidence] = []
        for one in near:
            content = self._content(collection, one.hit.passage.document_id)
            named, items = items_around(content, one.start, question) if content else (0, [])
            if content and len(items) > 1 and (named > best or not found):
                best, found = named, [_item(content.text, item, one) for item in items[:_MOST_ITEMS]]
        if found:
            return Answer("\n".join(one.quote for one in found), False, "extractive", sure, _citations(found))
        return Answer(SINGLE_FACTS, True, "none", sure, _citations(quoted(ranked)))

    def _related(
        self,
        view: View,
        asked: Asked,
        hits: Sequence[Hit],
        ranked: Sequence[Evidence],
        sure: float,
        options: SearchOptions | None,
    ) -> Answer:
        """What the documents say of the subject, and which part of the question none of them speaks of."""
        met, unmet = parts_of(asked, hits, ranked)
        # Another passage than those that were found may speak of it; this one does not answer either.
        absent = tuple(part for part in unmet if not self._retriever.holds(view, part, asked.language, options))
        subject, missing = _enumerated(met) or "this subject", _enumerated(absent)
        ending = f"not of {missing}" if missing else "do not answer this question"
        sentence = f"The documents speak of {subject}, but {ending}."
        return Answer(sentence, True, "none", sure, _citations(quoted(ranked)), unmet=absent)

    def _written(
        self,
        asked: Asked,
        hits: Sequence[Hit],
        ranked: Sequence[Evidence],
        sure: float,
        tell: Tell | None,
        generator: ChatGenerator,
    ) -> Answer:
        """What a chat model writes, as far as the passages support it; else a quotation that says why."""
        prompt = chat_prompt(asked.text, hits, generator)
        said = (lambda text: tell(CheckedText(text))) if tell else None
        generated = generate(prompt, generator, asked.text, quoted(ranked), said)
        sentences = tuple(Sentence(one.text, _citations(one.quotes)) for one in generated.sentences)
        if sentences:
            text = " ".join(one.text for one in sentences)
            cited = tuple(dict.fromkeys(each for one in sentences for each in one.citations))
            answer = Answer(text, False, "generator", sure, cited, prompt.dropped, sentences=sentences)
        else:
            answer = Answer(ranked[0].quote, False, "extractive", sure, _citations(quoted(ranked)), prompt.dropped)
        return replace(answer, dropped_sentences=generated.dropped, generator_error=generated.error)


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


def _enumerated(parts: Sequence[str]) -> str:
    quotes = [f"“{part}”" for part in parts]
    return " and ".join([*filter(None, [", ".join(quotes[:-1])]), *quotes[-1:]])


def _item(text: str, item: Block, evidence: Evidence) -> Evidence:
    quote = text[item.start : item.end]
    return replace(evidence, answer=quote, quote=quote, start=item.start)


def _nothing(collection: str, sure: float) -> Answer:
    sentence = f"The documents in the collection '{collection}' do not answer this question."
    return Answer(sentence, True, "none", sure, ())


def _citations(evidence: Sequence[Evidence]) -> tuple[Citation, ...]:
    return tuple(dict.fromkeys(_citation(one) for one in evidence))


def _citation(evidence: Evidence) -> Citation:
    """With the page and the heading of the quote itself: a passage may begin on the page before."""
    passage, end = evidence.hit.passage, evidence.start + len(evidence.quote)
    before = [block for block in passage.blocks if block.start <= evidence.start]
    headings = [block.label for block in before if block.kind == "heading" and block.start >= passage.start]
    pages = [block.page for block in before if block.page is not None]
    return Citation(
        document=passage.document,
        document_id=passage.document_id,
        page=pages[-1] if pages else passage.page,
        quote=evidence.quote,
        start=evidence.start,
        end=end,
        score=evidence.hit.score,
        heading=headings[-1] if headings and headings[-1] else passage.heading,
        contradicts=tuple(
            dict.fromkeys(
                [
                    *evidence.contradicts,
                    *(one.document for one in evidence.hit.contradicts if one.start < end and one.end > evidence.start),
                ]
            )
        ),
    )
