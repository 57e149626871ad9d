"""Which parts of a question does what was found not meet?"""

from __future__ import annotations

from collections.abc import Sequence

from rag_service.answering.confidence import Said, Word, around, said, subject_words, titled
from rag_service.answering.sentences import Asked, Evidence
from rag_service.language import words
from rag_service.types import Hit

# A word that is as like as this to one in the sentence is met by it, though it is another word.
_MET = 0.55


def parts_of(asked: Asked, hits: Sequence[Hit], ranked: Sequence[Evidence]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The question's parts that are met, and those that are not: words that no hit has, or, where every word is
    somewhere, those that the best sentence and its neighbours have not. As they stand in the question: words beside
    each other are one part, and a number is named with the word before it ("valve 17")."""
    if not ranked:
        return (), ()
    subject = subject_words(asked, ranked[0])
    everywhere = said(*(text for hit in hits for text in titled(hit)))
    near = said(ranked[0].heading, around(ranked[0]))
    missing = [word for word in subject if not _met(word, everywhere)]
    missing = missing or [word for word in subject if not _met(word, near)]
    marked = {place for place, word in enumerate(subject) if word in missing}
    for place in [
        one for one in marked if subject[one].figure and one and _beside(asked.text, *subject[one - 1 : one + 1])
    ]:
        marked.add(place - 1)
    return _named(asked.text, subject, {*range(len(subject))} - marked), _named(asked.text, subject, marked)


def _met(word: Word, text: Said) -> bool:
    """Names and numbers must be there themselves; of another word its like will do."""
    exact = word.name or word.figure is not None
    return text.meets(word) or (not exact and word.likeness >= _MET)


def _beside(question: str, one: Word, other: Word) -> bool:
    return not question[one.end : other.start].strip()


def _named(question: str, subject: Sequence[Word], marked: set[int]) -> tuple[str, ...]:
    spans: list[tuple[int, int]] = []
    for place in sorted(marked):
        word = subject[place]
        if spans and place - 1 in marked and not words(question[spans[-1][1] : word.start]):
            spans[-1] = spans[-1][0], word.end
        else:
            spans.append((word.start, word.end))
    return tuple(dict.fromkeys(question[start:end] for start, end in spans))
