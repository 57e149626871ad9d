"""Which parts of a question does what was found not meet?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from rag_service.answering.confidence import Said, Word, around, other_numbers, said, subject_words, titled
from rag_service.answering.sentences import Asked, Evidence
from rag_service.language import words
from rag_service.types import Hit

_RUN = re.compile(r"(?=\S*\d)\w+(?:[-./#:]\w+)*")
_PARTED = re.compile(r"[?,;(]")
# A word that is as like as this to one in the sentence is met by it, though it is another word.
_MET = 0.55


def parts_of(asked: Asked, hits: Sequence[Hit], ranked: Sequence[Evidence]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The question's parts that are met, and those that are not: words that no hit has, or, where every word is
    somewhere, those that the best sentence and its neighbours have not. As they stand in the question: words beside
    each other are one part, and a number is named with the word before it ("valve 17")."""
    if not ranked:
        return (), ()
    subject = subject_words(asked, ranked[0])
    texts = [text for hit in hits for text in titled(hit)]
    everywhere = said(asked.language, *texts)
    near = said(asked.language, ranked[0].heading, around(ranked[0]))
    other = other_numbers(asked, subject, *texts)
    missing = [word for word in subject if word in other or not _met(word, everywhere)]
    missing = missing or [word for word in subject if not _met(word, near)]
    marked = [_whole(asked.text, word) for word in missing]
    marked += [
        _whole(asked.text, one) for one, word in pairwise(subject) if word in missing and _names(asked.text, one, word)
    ]
    met = [span for word in subject if (span := _whole(asked.text, word)) not in marked]
    return _named(asked.text, met), _named(asked.text, marked)


def _whole(question: str, word: Word) -> tuple[int, int]:
    """Where the word stands, or all of a number that it is a part of, such as "A-17" or "2.4.1"."""
    for run in _RUN.finditer(question):
        if run.start() <= word.start and word.end <= run.end():
            return run.span()
    return word.start, word.end


def _names(question: str, word: Word, number: Word) -> bool:
    """Whether the word before a number names what it counts or labels, as in "valve 17"."""
    return number.figure is not None and not question[word.end : _whole(question, number)[0]].strip()


def _met(word: Word, text: Said) -> bool:
    """Names and numbers must be there themselves; of another word its like will do."""
    exact = word.name or word.figure is not None
    return text.meets(word) or (not exact and word.likeness >= _MET)


def _named(question: str, places: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """The parts of the question at these places, those beside each other as one."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(set(places)):
        between = question[spans[-1][1] : start] if spans else ""
        if spans and not words(between) and not _PARTED.search(between):
            spans[-1] = spans[-1][0], end
        else:
            spans.append((start, end))
    return tuple(dict.fromkeys(question[start:end] for start, end in spans))
