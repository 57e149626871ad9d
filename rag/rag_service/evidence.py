"""Does an answer stand in the passages, and which sentences say it? Functions on text that was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy

from rag_service.documents import Hit, TokenVectors
from rag_service.engines import Embedder
from rag_service.language import content_stems, is_heading, paragraphs, sentences, word_spans, words
from rag_service.late_interaction import Vectors

# Measured on 612 questions (docs/answers.md): what a sentence's passage counts for beside the sentence itself; how far
# behind the best sentence another one is still evidence, and how many are at most.
_BY_PASSAGE = 0.1
_WITHIN, _MOST_QUOTES = 0.15, 4


@dataclass(frozen=True)
class Evidence:
    """An answer and the quote it stands on; `start` counts from the beginning of the document's text. `score`: how much
    of the question the quote speaks of."""

    answer: str
    quote: str
    start: int
    hit: Hit
    score: float = 0.0


def coverage(question: str, text: str) -> float:
    """The share of the question's subject words that the text holds, from 0 to 1; 0 where there is none."""
    asked = content_stems(question)
    return len(asked & content_stems(text)) / len(asked) if asked else 0.0


def supported(answer: str, question: str, ranked: Sequence[Evidence]) -> Evidence | None:
    """The answer as it stands in one of the passages, with the sentence around it; None where it stands in none.

    `ranked` is what `ranked_sentences` gave. The answer must stand there word for word, or a single sentence must hold
    all its subject words; and that sentence must be one of those that would be quoted: what the document says about
    something else, or to its reader, supports nothing. An answer that only says the question's own words again, or has
    no subject word (yes, no), counts as unsupported: anything would support it.
    """
    stems = content_stems(answer)
    if not stems - content_stems(question):
        return None
    evidence = quoted(ranked)
    for one in evidence:
        found = next((place for place in _verbatim(answer, one.hit) if _within(one, place)), None)
        if found is not None:
            return replace(found, score=one.score)
    return next((replace(one, answer=answer) for one in evidence if stems <= content_stems(one.quote)), None)


def _within(one: Evidence, place: Evidence) -> bool:
    return place.start <= one.start < place.start + len(place.quote)


def quoted(ranked: Sequence[Evidence]) -> list[Evidence]:
    """The sentences to quote: the best, and those that are nearly as good."""
    return [one for one in ranked[:_MOST_QUOTES] if one.score >= ranked[0].score - _WITHIN]


def ranked_sentences(asked: Vectors, hits: Sequence[Hit], embedder: Embedder) -> list[Evidence]:
    """The sentences of the passages, the one that speaks most of the question first: each token of the question looks
    for its like among the sentence's, which the embedder saw in their passage, so that "it" is like what it stands for
    (late interaction, as for passages). There is at least one where there is a hit. `asked` is what `spoken` gives for
    the question."""
    windows = [(hit, *place) for hit in hits for place in _windows(hit.passage.text, embedder)]
    texts = [hit.passage.text[start:end] for hit, start, end in windows]
    found: dict[tuple[str, int], Evidence] = {}  # passages overlap: each sentence once, with its better score
    for (hit, start, _), text, tokens in zip(
        windows, texts, embedder.encode_passages(texts, urgent=True).tokens, strict=True
    ):
        likeness = asked @ tokens.vectors.T
        for heading, place in _candidates(text):
            score = _heard(likeness, tokens, [heading, place]) + _BY_PASSAGE * hit.score
            quote = text[place[0] : place[1]]
            evidence = Evidence(quote, quote, hit.passage.start + start + place[0], hit, round(score, 4))
            key = hit.passage.document_id, evidence.start
            if key not in found or found[key].score < evidence.score:
                found[key] = evidence
    if not found:
        passage = hits[0].passage
        return [Evidence(passage.text, passage.text, passage.start, hits[0])]
    return sorted(found.values(), key=lambda one: -one.score)


def _heard(likeness: Vectors, tokens: TokenVectors, places: Sequence[tuple[int, int]]) -> float:
    """The mean, over the question's tokens, of the likeness to the nearest token within the places."""
    inside = numpy.zeros(len(tokens.places), dtype=bool)
    for start, end in places:
        inside |= (tokens.places[:, 0] >= start) & (tokens.places[:, 1] <= end)
    return float(likeness[:, inside].max(axis=1).mean()) if inside.any() and len(likeness) else 0.0


def _windows(text: str, embedder: Embedder) -> Iterator[tuple[int, int]]:
    """Start and end of parts of whole sentences that the embedder reads to their end."""
    places = list(sentences(text))
    counts = embedder.count([text[start:end] for start, end in places])
    opened, total = 0, 0
    for number, count in enumerate(counts):
        if number > opened and total + count > embedder.limit:
            yield places[opened][0], places[number - 1][1]
            opened, total = number, 0
        total += count
    if places:
        yield places[opened][0], places[-1][1]


def _candidates(text: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """The places of the sentences that could be an answer, each with that of its heading (or an empty one). Headings
    and questions answer nothing."""
    heading = (0, 0)
    for opening, closing in paragraphs(text):
        if is_heading(text[opening:closing]) and closing < len(text):
            heading = (opening, closing)
            continue
        for start, end in sentences(text, opening, closing):
            if "?" not in text[start:end] and content_stems(text[start:end]):
                yield heading, (start, end)


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
