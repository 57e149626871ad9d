"""Does an answer stand in the passages, and which sentences say it? Functions on text that was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy

from rag_service.documents import Hit, Part
from rag_service.engines import Embedder
from rag_service.language import content_stems, is_heading, paragraphs, sentences, word_spans, words
from rag_service.late_interaction import Places, Vectors, heard, likeness, signs, width_of

# Measured on 612 questions (docs/answers.md): what a sentence's passage counts for beside the sentence itself, and what
# the question's numbers in it do; how far behind the best sentence another one is still evidence (farther than numbers
# bring it forward, so that the first is always quoted), and how many are at most.
_BY_PASSAGE = 0.1
_BY_NUMBERS = 0.07
_WITHIN, _MOST_QUOTES = 0.12, 4


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
    best = max(one.score for one in ranked)
    return [one for one in ranked[:_MOST_QUOTES] if one.score >= best - _WITHIN]


def ranked_sentences(question: str, asked: Vectors, hits: Sequence[Hit], embedder: Embedder) -> list[Evidence]:
    """The sentences of the hits, the one that speaks most of the question first: each token of the question looks for
    its like among the sentence's, which the embedder saw in their passage, so that "it" is like what it stands for
    (late interaction, as for passages, and by the same stored signs). There is at least one where there is a hit.
    `asked` is what `spoken` gives for the question. The order, not the score, also heeds which of the question's
    numbers a sentence holds: to the embedder, 1234 and 1239 are nearly the same."""
    parts = [part for hit in hits for part in hit.parts]
    tokens = dict(zip((part.passage for part in parts), _tokens(asked, parts, embedder), strict=True))
    found: dict[tuple[str, int], Evidence] = {}  # passages overlap: each sentence once, with its better score
    for hit in hits:
        text, start = hit.passage.text, hit.passage.start
        likes = numpy.concatenate([tokens[part.passage][0] for part in hit.parts], axis=1)
        places = numpy.concatenate([tokens[part.passage][1] + part.passage.start - start for part in hit.parts])
        for heading, place in _candidates(text):
            score = _spoken_of(likes, places, [heading, place]) + _BY_PASSAGE * hit.score
            quote = text[place[0] : place[1]]
            evidence = Evidence(quote, quote, start + place[0], hit, round(score, 4))
            key = hit.passage.document_id, evidence.start
            if key not in found or found[key].score < evidence.score:
                found[key] = evidence
    if not found:
        passage = hits[0].passage
        return [Evidence(passage.text, passage.text, passage.start, hits[0])]
    numbers = _numbers(question)
    return sorted(found.values(), key=lambda one: -one.score - _BY_NUMBERS * _share(numbers, _numbers(one.quote)))


def _numbers(text: str) -> set[str]:
    return {word for word in words(text) if word[0].isdigit()}


def _share(wanted: set[str], found: set[str]) -> float:
    return len(wanted & found) / len(wanted) if wanted else 0.0


def _tokens(asked: Vectors, parts: Sequence[Part], embedder: Embedder) -> list[tuple[Vectors, Places]]:
    """Of each passage how like its tokens are to the question's, `(n_question, n_tokens)`, and their places in it."""
    texts = [part.passage.text for part in parts]
    places = [one[heard(one, text)] for one, text in zip(embedder.places(texts), texts, strict=True)]
    packed = [part.signs or b"" for part in parts]
    # Stored without tokens, or replaced by another passage between two looks into the store.
    unfit = [place for place, one in enumerate(packed) if len(one) != len(places[place]) * width_of(asked)]
    if unfit:
        encoded = embedder.encode_passages([texts[place] for place in unfit], urgent=True)
        for place, tokens in zip(unfit, encoded.tokens, strict=True):
            packed[place] = signs(tokens, texts[place])
    return [(likeness(asked, one), where) for one, where in zip(packed, places, strict=True)]


def _spoken_of(likes: Vectors, places: Places, within: Sequence[tuple[int, int]]) -> float:
    """The mean, over the question's tokens, of the likeness to the nearest token within the places."""
    inside = numpy.zeros(len(places), dtype=bool)
    for start, end in within:
        inside |= (places[:, 0] >= start) & (places[:, 1] <= end)
    return float(likes[:, inside].max(axis=1).mean()) if inside.any() and len(likes) else 0.0


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
