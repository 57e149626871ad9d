"""Does an answer stand in the passages, and which sentence says it? Pure functions on text that was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy

from rag_service.documents import Hit
from rag_service.engines import Embedder
from rag_service.language import content_stems, is_heading, paragraphs, sentences, word_spans, words

# So many sentences are compared by meaning, those with most of the question's words first: each costs time to embed.
_MOST_SENTENCES = 24


@dataclass(frozen=True)
class Evidence:
    """An answer and the quote it stands on; `start` counts from the beginning of the document's text."""

    answer: str
    quote: str
    start: int
    hit: Hit


def coverage(question: str, text: str) -> float:
    """The share of the question's subject words that the text holds, from 0 to 1; 0 where there is none."""
    asked = content_stems(question)
    return len(asked & content_stems(text)) / len(asked) if asked else 0.0


def supported(answer: str, question: str, hits: Sequence[Hit]) -> Evidence | None:
    """The answer as it stands in one of the passages, with the sentence around it; None where it stands in none.

    It must stand there word for word, or a single sentence must hold all its subject words. An answer that only says
    the question's own words again, or has no subject word (yes, no), counts as unsupported: anything would support it.
    """
    stems = content_stems(answer)
    if not stems - content_stems(question):
        return None
    found = [(coverage(question, evidence.quote), evidence) for hit in hits for evidence in _verbatim(answer, hit)]
    if found:
        return max(found, key=lambda pair: pair[0])[1]
    for hit in hits:
        for start, end in sentences(hit.passage.text):
            quote = hit.passage.text[start:end]
            if stems <= content_stems(quote):
                return Evidence(answer, quote, hit.passage.start + start, hit)
    return None


def best_sentences(question: str, hits: Sequence[Hit], embedder: Embedder) -> list[Evidence]:
    """Sentences of the passages, the one that answers best first: by meaning, by the question's words in it, and by
    its passage's own score. There is at least one where there is a hit."""
    found: dict[tuple[str, int], tuple[str, Evidence]] = {}  # passages overlap: each sentence once
    for hit in hits:
        for context, evidence in _candidates(hit):
            found.setdefault((hit.passage.document_id, evidence.start), (context, evidence))
    by_words = sorted(found.values(), key=lambda pair: -coverage(question, pair[0]) - 0.5 * pair[1].hit.score)
    candidates = by_words[:_MOST_SENTENCES]
    if not candidates:
        passage = hits[0].passage
        return [Evidence(passage.text, passage.text, passage.start, hits[0])]
    cosines = embedder.embed_passages([context for context, _ in candidates]) @ embedder.embed_question(question)
    scores = [
        cosine + coverage(question, context) + 0.5 * evidence.hit.score
        for cosine, (context, evidence) in zip(cosines, candidates, strict=True)
    ]
    return [candidates[position][1] for position in numpy.argsort(-numpy.array(scores), kind="stable")]


def _candidates(hit: Hit) -> Iterator[tuple[str, Evidence]]:
    """The sentences that could be an answer, each with the words to judge it by: its own and its heading's. Headings
    and questions answer nothing."""
    text = hit.passage.text
    heading = ""
    for opening, closing in paragraphs(text):
        if is_heading(text[opening:closing]) and closing < len(text):
            heading = text[opening:closing] + ": "
            continue
        for start, end in sentences(text, opening, closing):
            quote = text[start:end]
            if "?" not in quote and content_stems(quote):
                yield heading + quote, Evidence(quote, quote, hit.passage.start + start, hit)


def _verbatim(answer: str, hit: Hit) -> Iterator[Evidence]:
    """Each place where the answer's words stand in the passage in this order, with the sentences around it."""
    wanted = words(answer)
    text = hit.passage.text
    spans = word_spans(text)
    for first in range(len(spans) - len(wanted) + 1):
        last = first + len(wanted)
        if [word for word, _, _ in spans[first:last]] != wanted:
            continue
        start, end = spans[first][1], spans[last - 1][2]
        around = [place for place in sentences(text) if place[1] > start and place[0] < end]
        if around:
            opening, closing = around[0][0], around[-1][1]
            yield Evidence(text[start:end], text[opening:closing], hit.passage.start + opening, hit)
