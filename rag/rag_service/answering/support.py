"""Does a written answer stand in the passages? Word for word, or the same words in the same order with the same numbers
and negations; a likeness of meaning supports nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rag_service.answering.sentences import Evidence, quoted
from rag_service.language import NEGATIONS, sentences, stem, word_spans, words

# All that two sentences may differ in: words that another takes the place of, or that may be left out, and the sense
# stays. What says where, when, how often, how much or not is not among them.
_FILLERS = frozenset(
    "a an the this that these those its his her their our your is are was were be been being am has have had do does "
    "did of s which who it they he she we you".split()
)


def supported(answer: str, question: str, ranked: Sequence[Evidence]) -> list[Evidence]:
    """Of each sentence of the answer that stands in a passage: its words, with the sentence around them; none where
    none does.

    `ranked` is what `ranked_sentences` gave. What supports must be one of the sentences that would be quoted: what the
    document says about something else, or to its reader, supports nothing. A sentence that only says the question's own
    words again, or has no word of its own (yes, no), counts as unsupported: anything would support it.
    """
    evidence = quoted(ranked)
    asked = set(_said(question))
    written = (answer[start:end] for start, end in sentences(answer))
    found = (_supporting(one, question, evidence) for one in written if set(_said(one)) - asked - NEGATIONS)
    return [one for one in found if one is not None]


def _supporting(said: str, question: str, evidence: Sequence[Evidence]) -> Evidence | None:
    for one in evidence:
        stands = _verbatim(said, one.quote, question)
        if stands is not None:
            return replace(one, answer=stands)
    return next((replace(one, answer=said) for one in evidence if _same_words(said, one.quote)), None)


def _verbatim(said: str, quote: str, question: str) -> str | None:
    """The words as they occur in the quote one after the other, or None. If the word before negates them, they do not
    count: "do not open the valve" does not say "open the valve", unless the question asks what not to do."""
    wanted, spans = words(said), word_spans(quote)
    denied = not NEGATIONS & set(words(question))
    for first in range(len(spans) - len(wanted) + 1):
        found = spans[first : first + len(wanted)]
        stands = [word for word, _, _ in found] == wanted
        if stands and not (denied and first and _denies(quote, spans[first - 1], found[0][1])):
            return quote[found[0][1] : found[-1][2]]
    return None


def _denies(text: str, before: tuple[str, int, int], start: int) -> bool:
    """Whether the word before is a negation in the same clause: nothing but white space between."""
    word, _, end = before
    return word in NEGATIONS and not text[end:start].strip()


def _same_words(answer: str, quote: str) -> bool:
    """Whether the sentence has the answer's words one after the other, apart from fillers and endings."""
    wanted, held = _said(answer), _said(quote)
    places = range(len(held) - len(wanted) + 1)
    return any(
        held[first : first + len(wanted)] == wanted and not (first and held[first - 1] in NEGATIONS) for first in places
    )


def _said(text: str) -> list[str]:
    """The stems of the words that are no fillers, in order; numbers and negations as they are."""
    spoken = [word for word in words(text) if word not in _FILLERS]
    return [word if word in NEGATIONS or word[0].isdigit() else stem(word) for word in spoken]
