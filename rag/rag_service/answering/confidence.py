"""How likely it is that what was found answers the question, judged by facts: which of the question's words, names and
numbers the best sentence meets, which its surroundings, and whether it holds the kind of thing that is asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy

from rag_service.answering.sentences import YES_OR_NO, Asked, Evidence
from rag_service.language import NEGATIONS, WITHOUT_BLANKS, is_content, stem, word_spans, words
from rag_service.search.maxsim import Vectors
from rag_service.search.opposites import CONTRARIES, denials, number, numbered
from rag_service.types import Hit

# What a sentence's neighbours may say for it, in characters on either side.
_AROUND = 200
# To a word's likeness with its nearest in the sentence: below this the sentence says nothing of the kind.
_FAR = 0.55
_KINDS = {
    "colour": r"\b(what|which) colou?rs?\b",
    "who": r"\bwho(m|se)?\b",
    "when": r"\bwhen\b|\b(what|which) (year|date|century|decade|month|day)\b",
    "many": r"\bhow (many|much|long|wide|deep|tall|heavy|hot|warm|cold|old|fast)\b"
    r"|\bwhat (percent|number|amount|percentage)\b",
    "where": r"\bwhere\b|\b(what|which) (country|city|place|state|region|location|town)\b",
    "how": r"\bhow\b",
}
_COLOURS = frozenset(
    "red green blue yellow black white grey gray orange brown purple violet pink silver gold golden beige turquoise "
    "cyan magenta crimson scarlet navy ivory transparent colourless colorless".split()
)
# Words of a question that ask for a kind of thing, and need not stand in what answers it.
_ASKING = frozenset("who whom whose what which when where why how many much name kind type year colour color".split())
_AMOUNTS = frozenset(
    "few several half many most dozen hundred thousand million billion percent one majority third quarter".split()
)
_YEAR_OR_DAY = re.compile(r"1\d{3}s?|20\d\ds?|\d+(st|nd|rd|th)")
_CLOCK = re.compile(r"\b\d{1,2}[:.h]\d\d\b|\b\d{1,2} ?([ap]\.?m\b|o.clock)", re.IGNORECASE)
# What says when: names of days and months, times of the day and the year, spans, and what begins a condition.
_TIMES = frozenset(
    "january february march april may june july august september october november december jan feb mar apr jun jul aug "
    "sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays "
    "thursdays fridays saturdays sundays weekday weekdays weekend weekends holiday holidays spring summer autumn fall "
    "winter noon midday midnight morning mornings afternoon afternoons evening evenings night nights dawn dusk sunrise "
    "sunset today tomorrow yesterday hour hours minute minutes second seconds day days week weeks month months year "
    "years decade decades century centuries quarter daily weekly monthly quarterly yearly annually hourly immediately "
    "always never before after once until when whenever while during".split()
)

FEATURES = (
    "cosine", "held", "late", "in sentence", "in passage", "missing from hits", "names not around",
    "numbers not around", "numbers not in hits", "least likeness", "likeness", "likeness of the missing", "contraries",
    "denied by the question alone", "no such thing in sentence", "far", "farthest", "names far", "when", "many", "how",
    "another number around", "weight of the missing", "heaviest missing",
    "names not in hits", "another number in hits", "no such thing in hits", "far in a question of yes or no",
    "names not in row or item", "no word, in scripts without blanks",
)  # fmt: skip
# The last of them have weights that are set by hand: such questions are too rare in SQuAD, and are what people ask of
# manuals. Fitting gives an absent name less weight; near misses are recognised as well with this one.
BY_HAND = (-1.0, -3.0, -3.0, -10.0, -4.0, -8.0)
# The constant, then a weight for each: by logistic regression on questions of SQuAD 2.0, of which half are near misses
# (benchmarks/answerable.py; judged on other articles than fitted to: docs/decisions/answering.md).
_WEIGHTS = (
    -4.42, 1.96, 0.06, 1.57, -1.18, -0.26, 0.08, -0.14, -0.40, -1.05, 1.49, 4.77, 1.58, -1.73, -3.66, -1.03, 0.77,
    -0.02, 0.12, 0.07, -0.01, -0.25, -1.75, -0.20, -0.58, *BY_HAND,
)  # fmt: skip
# The first seven alone say whether the passages are about the question's subject at all: by logistic regression on 700
# questions of ten articles of SQuAD 2.0's training set, asked of their own half of the articles and of the other
# (benchmarks/answerable.py --about). The result is made three times as steep and raised by 3, so that this decides
# only where it is plain: near misses, which are about the subject, are for the other weights.
ABOUT = (-23.49, 20.8, 3.8, 29.8, 4.7, 3.9, -0.2, -1.2)


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
        if word in _ASKING or not (is_content(word, asked.language) or number(word)):
            continue
        own = (asked.places[:, 0] >= start) & (asked.places[:, 1] <= end)
        like = float(best.likes[own].mean()) if own.any() and len(best.likes) == len(own) else -1.0
        name = place > 0 and asked.text[start].isupper() and asked.language != "de"  # where every noun has a capital
        found.append(Word(word, start, end, stem(word, asked.language), like, name))
    return found


@dataclass(frozen=True)
class Said:
    """What a text says: its words, their stems, its numbers."""

    words: frozenset[str]
    stems: frozenset[str]
    numbers: frozenset[str]

    def meets(self, word: Word) -> bool:
        return word.stem in self.stems or (word.figure is not None and word.figure in self.numbers)


def said(language: str, *texts: str) -> Said:
    spoken = frozenset(words("\n".join(texts)))
    figures = frozenset(figure for word in spoken if (figure := number(word)) is not None)
    return Said(spoken, frozenset(stem(word, language) for word in spoken), figures)


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
    language = asked.language
    nearby = around(best)
    here, near = said(language, best.heading, best.quote), said(language, best.heading, nearby)
    texts = ["\n".join(titled(hit)) for hit in hits]
    all_hits = [said(language, text) for text in texts]
    everywhere = _joined(all_hits)
    names, figures = [word for word in subject if word.name], [word for word in subject if word.figure]
    missing = [word for word in subject if not here.meets(word)]
    likes = [word.likeness for word in subject if word.likeness >= 0] or [0.4]
    far = [max(0.0, _FAR - word.likeness) for word in missing if word.likeness >= 0]
    weights = [_weights(language).get(word.stem, 0.0) for word in subject if not near.meets(word)]
    asks = next((kind for kind, pattern in _KINDS.items() if re.search(pattern, asked.text.lower())), "")
    own = frozenset(words(asked.text))
    return (
        max(hit.similarity for hit in hits),
        max(_share(subject, one) for one in all_hits),
        max((hit.late_interaction for hit in hits if hit.late_interaction is not None), default=_mean(best.likes)),
        _share(subject, here),
        _share(subject, all_hits[hits.index(best.hit)]),
        _unmet(subject, everywhere),
        _unmet(names, near),
        _unmet(figures, near),
        _unmet(figures, everywhere),
        min(likes),
        sum(likes) / len(likes),
        sum(_FAR - one for one in far) / len(far) if far else 0.7,
        _contraries(subject, near),
        float(bool(NEGATIONS & own) and not NEGATIONS & here.words),
        float(_lacks(asks, best.quote, here, own)),
        sum(far),
        max(far, default=0.0),
        sum(max(0.0, _FAR - word.likeness) for word in missing if word.name),
        *(float(asks == kind) for kind in ("when", "many", "how")),
        float(len(other_numbers(asked, subject, best.heading, nearby))),
        sum(weights),
        max(weights, default=0.0),
        _unmet(names, everywhere),
        float(len(other_numbers(asked, subject, *texts))),
        float(_lacks(asks, "\n".join(texts), everywhere, own)),
        sum(far) * bool(YES_OR_NO.match(asked.text)),
        _unmet(names, said(language, *titled(best.hit)[1:], best.heading, best.quote)) * (best.kind in ("row", "item")),
        float(language in WITHOUT_BLANKS and not any(map(near.meets, subject))),
    )


@dataclass(frozen=True)
class Fitted:
    """A collection's own weights, the constant first: that the hits are `about` the subject, by the first features, and
    that one of them `answers`, by the `summary`."""

    about: tuple[float, ...]
    answers: tuple[float, ...]


def confidence(values: Sequence[float], fitted: Fitted | None = None) -> float:
    """How likely it is that what has these features answers, from 0 to 1: that it is about the subject, times that it
    then holds the answer."""
    if fitted is not None:
        return round(_logistic(fitted.answers, summary(values)), 3)
    return round(about(values) * _logistic(_WEIGHTS, values), 3)


def about(values: Sequence[float], fitted: Fitted | None = None) -> float:
    """How likely it is that the hits are about the question's subject, whether or not they answer it, from 0 to 1."""
    weights = fitted.about if fitted else ABOUT
    return _logistic(weights, values[: len(weights) - 1])


def summary(values: Sequence[float]) -> tuple[float, ...]:
    """What a collection's own weights are fitted to, few numbers as it has few questions: what the weights of all
    features make of them, and the first three."""
    return (_WEIGHTS[0] + float(numpy.dot(_WEIGHTS[1:], values)), *values[:3])


def _logistic(weights: Sequence[float], values: Sequence[float]) -> float:
    return _probability(weights[0] + float(numpy.dot(weights[1:], values)))


def _probability(total: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


def other_numbers(asked: Asked, subject: Sequence[Word], *texts: str) -> list[Word]:
    """The question's words that count or name something by a number, as in "valve 17", "38 degrees" or "P5", of which
    the texts have others of their kind alone, such as "valve 18", "28 degrees" or "P4"."""
    own = numbered(asked.text, asked.language)
    there: dict[str, set[str]] = {}
    text = "\n".join(texts)
    for one in numbered(text, asked.language) if own else ():
        for kind in one.kinds:
            there.setdefault(kind, set()).add(one.value)
    # A number of several parts, such as "2024-117", is a name by itself, whatever stands beside it.
    known = {one.value for one in own if not one.value.isalnum() and one.value in re.findall(r"[\d.,:/-]*\d", text)}
    others = [
        one
        for one in own
        if one.value not in known and any(kind in there and one.value not in there[kind] for kind in one.kinds)
    ]
    return [word for word in subject if any(word.start <= one.start < word.end for one in others)]


def _joined(texts: Sequence[Said]) -> Said:
    parts = ((one.words, one.stems, one.numbers) for one in texts)
    return Said(*(frozenset().union(*sets) for sets in zip(*parts, strict=True)))


def _share(subject: Sequence[Word], by: Said) -> float:
    return sum(by.meets(word) for word in subject) / max(1, len(subject))


@cache
def _weights(language: str) -> dict[str, float]:
    """Of English stems, how much more often the word makes a question a near miss than it stands in one that is
    answered: the logarithm of the ratio, fitted by benchmarks/word_weights.py. Of other languages none are known."""
    lines = Path(__file__).with_name("word_weights.txt").read_text(encoding="utf-8").splitlines()
    found = (line.split() for line in lines if language == "en")
    return {stem: float(weight) for weight, *stems in found for stem in stems}


def _unmet(subject: Sequence[Word], by: Said) -> float:
    return float(sum(not by.meets(word) for word in subject))


def _contraries(subject: Sequence[Word], near: Said) -> float:
    """How many of the question's words stand there as their contrary."""
    turned = [word.text for word in subject if not near.meets(word)]
    return float(sum(bool(CONTRARIES.get(one, set()) & near.words or denials(one) & near.stems) for one in turned))


def _lacks(asks: str, text: str, by: Said, own: frozenset[str]) -> bool:
    """Whether nothing in the text is of the kind that is asked for, beside the question's own words."""
    if asks in ("who", "where"):
        names = re.finditer(r"(?<=\w)\W+([A-ZÀ-Þ][\w-]+)", text)
        return not any(name[1].lower() not in own and is_content(name[1].lower()) for name in names)
    if asks == "when":
        said = by.words - own
        return not (_TIMES & said or any(map(_YEAR_OR_DAY.fullmatch, said)) or _CLOCK.search(text))
    if asks == "colour":
        return not _COLOURS & by.words - own
    return asks == "many" and not by.numbers - own and not _AMOUNTS & by.words


def _mean(likes: Vectors) -> float:
    return float(likes.mean()) if likes.size else 0.0
