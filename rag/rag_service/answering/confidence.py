"""How likely it is that what was found answers the question, judged by facts: which of the question's words, names and
numbers the best sentence meets, which its surroundings, and whether it holds the kind of thing that is asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy

from rag_service.answering.sentences import Asked, Evidence, coverage
from rag_service.language import content_stems, stem, word_spans, words
from rag_service.search.opposites import CONTRARIES, NEGATIONS, denials, number
from rag_service.types import Hit

# What a sentence's neighbours may say for it, in characters on either side.
_AROUND = 200
# To a word's likeness with its nearest in the sentence: below this the sentence says nothing of the kind.
_FAR = 0.55
_KINDS = {
    "who": r"\bwho(m|se)?\b",
    "when": r"\bwhen\b|\b(what|which) (year|date|century|decade|month|day)\b",
    "many": r"\bhow (many|much)\b|\bwhat (percent|number|amount|percentage)\b",
    "where": r"\bwhere\b|\b(what|which) (country|city|place|state|region|location|town)\b",
    "why": r"\bwhy\b|\bwhat (caused|reason)\b",
    "how": r"\bhow\b",
}
# Words of a question that ask for a kind of thing, and need not stand in what answers it.
_ASKING = frozenset("who whom whose what which when where why how many much name kind type year".split())
_AMOUNT = re.compile(
    r"\b(few|several|half|many|most|dozen|hundred|thousand|million|billion|percent|one|majority|third|quarter)\b", re.I
)
_DATE = re.compile(
    r"1\d{3}s?|20\d\ds?|\d+(st|nd|rd|th)|january|february|march|april|may|june|july|august|september|october|november"
    r"|december"
)

FEATURES = (
    "cosine", "held", "late", "in sentence", "in passage", "in hits", "missing, by rarity", "missing from hits",
    "names not in sentence", "names not around", "names not in hits", "numbers not around", "numbers not in hits",
    "least likeness", "likeness", "likeness of the missing", "contraries", "denied by the question alone",
    "no such thing in sentence", "no such thing around", "order", "pairs", "far", "farthest", "names far",
    "who", "when", "many", "where", "why", "how", "another number of the kind",
)  # fmt: skip
# The constant, then a weight for each: by logistic regression on questions of SQuAD 2.0, of which half are near misses
# (benchmarks/answerable.py; judged on other articles than fitted to: docs/answers.md). The last is set by hand:
# questions about "valve 17" are too rare there, and are what people ask of manuals.
_WEIGHTS = (
    -3.86, 2.75, 0.24, 0.37, -0.75, -1.06, 1.18, -0.06, 0.21, 0.09, -0.36, 0.12, -0.74, -1.23, 1.44, 3.15, 1.07, -2.16,
    -3.11, -0.26, 0.08, -0.03, 0.16, 0.73, -0.39, -1.37, -0.11, -0.29, -0.29, 0.12, -0.01, -0.35, -3.0,
)  # fmt: skip
# The first three alone say whether the passages are about the question's subject at all: by logistic regression on 612
# questions of the English XQuAD set, asked of their own half of its articles and of the other. The constant is 1 higher
# than fitted, so that this decides only where it is plain.
_ABOUT = (-14.91, 6.69, 4.91, 26.99)


@dataclass(frozen=True)
class Word:
    """A word of the question: `likeness` to the nearest token of the best sentence, -1 where that is not known."""

    text: str
    start: int
    end: int
    stem: str
    likeness: float
    name: bool

    @property
    def figure(self) -> str | None:
        return number(self.text)


def subject_words(asked: Asked, best: Evidence) -> list[Word]:
    """The question's words that carry its subject, in order."""
    found = []
    for place, (word, start, end) in enumerate(word_spans(asked.text)):
        if word in _ASKING or word in NEGATIONS or not (content_stems(word) or number(word)):
            continue
        own = (asked.places[:, 0] >= start) & (asked.places[:, 1] <= end)
        like = float(best.likes[own].mean()) if own.any() and len(best.likes) == len(own) else -1.0
        name = place > 0 and asked.text[start].isupper()
        found.append(Word(word, start, end, stem(word), like, name))
    return found


@dataclass(frozen=True)
class Said:
    """What a text says: its words, their stems, its numbers."""

    words: frozenset[str]
    stems: frozenset[str]
    numbers: frozenset[str]

    def meets(self, word: Word) -> bool:
        return word.stem in self.stems or (word.figure is not None and word.figure in self.numbers)


def said(*texts: str) -> Said:
    spoken = frozenset(words("\n".join(texts)))
    figures = frozenset(figure for word in spoken if (figure := number(word)) is not None)
    return Said(spoken, frozenset(stem(word) for word in spoken), figures)


def around(best: Evidence) -> str:
    """The sentence with its neighbours in the passage."""
    passage = best.hit.passage
    at = best.start - passage.start
    return passage.text[max(0, at - _AROUND) : at + len(best.quote) + _AROUND]


def titled(hit: Hit) -> tuple[str, str, str]:
    """A passage's text with its headings and its document's name."""
    return hit.passage.text, hit.passage.heading or "", hit.passage.document


def features(asked: Asked, hits: Sequence[Hit], ranked: Sequence[Evidence]) -> tuple[float, ...]:
    """What tells whether the hits answer the question, in the order of FEATURES; zeros where no sentence was found."""
    if not ranked:
        return (0.0,) * len(FEATURES)
    best = ranked[0]
    subject = subject_words(asked, best)
    near, whole = said(best.heading, around(best)), said(*titled(best.hit))
    here = said(best.heading, best.quote)
    all_hits = [said(*titled(hit)) for hit in hits]
    everywhere = _joined(all_hits)
    names = [word for word in subject if word.name]
    figures = [word for word in subject if word.figure]
    missing = [word for word in subject if not here.meets(word)]
    likes = [word.likeness for word in subject if word.likeness >= 0] or [0.4]
    far = [max(0.0, _FAR - word.likeness) for word in missing if word.likeness >= 0]
    asks = next((kind for kind, pattern in _KINDS.items() if re.search(pattern, asked.text.lower())), "")
    negated = bool(NEGATIONS & set(words(asked.text)))

    def unmet(by: Said, among: Sequence[Word]) -> float:
        return float(sum(not by.meets(word) for word in among))

    return (
        *_likeness(asked.text, hits, best),
        _share(subject, here),
        _share(subject, whole),
        _share(subject, everywhere),
        sum(math.log(5 / (0.5 + sum(one.meets(word) for one in all_hits))) for word in missing),
        unmet(everywhere, subject),
        unmet(here, names),
        unmet(near, names),
        unmet(everywhere, names),
        unmet(near, figures),
        unmet(everywhere, figures),
        min(likes),
        sum(likes) / len(likes),
        sum(_FAR - one for one in far) / len(far) if far else 0.7,
        _contraries(subject, near),
        float(negated and not NEGATIONS & here.words),
        float(_lacks(asks, best.quote, asked.text)),
        float(_lacks(asks, around(best), asked.text)),
        *_order(subject, best.quote),
        sum(far),
        max(far, default=0.0),
        sum(max(0.0, _FAR - word.likeness) for word in missing if word.name),
        *(float(asks == kind) for kind in _KINDS),
        _other_number(asked.text, subject, everywhere, [hit.passage.text for hit in hits]),
    )


def confidence(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """How likely it is that what has these features answers, from 0 to 1: that it is about the subject, times that it
    then holds the answer. `weights` are a collection's own, see `summary`; those that were fitted to other features are
    not used."""
    if weights is not None and len(weights) == 1 + len(summary(values)):
        return round(_logistic(weights, summary(values)), 3)
    return round(about(values) * _logistic(_WEIGHTS, values), 3)


def about(values: Sequence[float]) -> float:
    """How likely it is that the hits are about the question's subject, whether or not they answer it, from 0 to 1."""
    return _logistic(_ABOUT, values[:3])


def summary(values: Sequence[float]) -> tuple[float, ...]:
    """What a collection's own weights are fitted to, few numbers as it has few questions: what the weights of all
    features make of them, and the first three."""
    return (_WEIGHTS[0] + float(numpy.dot(_WEIGHTS[1:], values)), *values[:3])


def _logistic(weights: Sequence[float], values: Sequence[float]) -> float:
    return _probability(weights[0] + float(numpy.dot(weights[1:], values)))


def _probability(total: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


def _likeness(question: str, hits: Sequence[Hit], best: Evidence) -> tuple[float, float, float]:
    """The best cosine, the largest share of the question's words in one passage, the best late interaction."""
    late = [hit.late_interaction for hit in hits if hit.late_interaction is not None]
    without = float(best.likes.mean()) if best.likes.size else 0.0  # stored without tokens
    held = max(coverage(question, hit.passage.text) for hit in hits)
    return max(hit.similarity for hit in hits), held, max(late, default=without)


def _other_number(question: str, subject: Sequence[Word], everywhere: Said, texts: Sequence[str]) -> float:
    """How many things the question names by a number, as in "valve 17", of which the texts have others of their kind
    alone, such as "valve 18"."""
    found = 0
    for before, here in pairwise(subject):
        if here.text.isdigit() and question[before.end : here.start] == " " and not everywhere.meets(here):
            found += any(re.search(rf"\b{re.escape(before.text)} \d", text.lower()) is not None for text in texts)
    return float(found)


def _joined(texts: Sequence[Said]) -> Said:
    parts = ((one.words, one.stems, one.numbers) for one in texts)
    return Said(*(frozenset().union(*sets) for sets in zip(*parts, strict=True)))


def _share(subject: Sequence[Word], by: Said) -> float:
    return sum(by.meets(word) for word in subject) / max(1, len(subject))


def _contraries(subject: Sequence[Word], near: Said) -> float:
    """How many of the question's words stand there as their contrary."""
    turned = [word.text for word in subject if not near.meets(word)]
    return float(sum(bool(CONTRARIES.get(one, set()) & near.words or denials(one) & near.stems) for one in turned))


def _lacks(asks: str, text: str, question: str) -> bool:
    """Whether nothing in the text is of the kind that is asked for, beside what the question says itself."""
    own = set(words(question))
    if asks in ("who", "where"):
        names = re.finditer(r"(?<=\w)\W+([A-ZÀ-Þ][\w-]+)", text)
        return not any(name[1].lower() not in own and content_stems(name[1]) for name in names)
    new = [word for word in words(text) if word not in own]
    if asks == "when":
        return not any(_DATE.fullmatch(word) for word in new)
    return asks == "many" and not any(number(word) for word in new) and not _AMOUNT.search(text)


def _order(subject: Sequence[Word], quote: str) -> tuple[float, float]:
    """Of the question's words in the quote, the share that stands there in the same order; of its neighbouring words,
    the share that are neighbours there too."""
    there = [stem(word) for word in words(quote) if content_stems(word)]
    asked = [word.stem for word in subject]
    places = [there.index(one) for one in asked if one in there]
    rising = sum(after > before for before, after in pairwise(places))
    pairs = list(pairwise(asked))
    neighbours = set(pairwise(there))
    order = rising / (len(places) - 1) if len(places) > 1 else 1.0
    return order, sum(pair in neighbours for pair in pairs) / max(1, len(pairs))
