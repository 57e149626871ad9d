"""Sets of questions whose answers are known: made from the documents themselves, or read from a SQuAD file."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rag_service.answering.sentences import candidates
from rag_service.errors import BadQuestions
from rag_service.language import content_stems, is_content, sentences, word_spans, words
from rag_service.reading.characters import clean
from rag_service.search.opposites import CONTRARIES, number
from rag_service.types import Extracted

_YEAR = re.compile(r"\b(?:1[0-9]|20)\d\d\b")
_NUMBER = re.compile(r"(?<![\w.,])\d[\d.,]*\d|(?<![\w.,])\d(?![\w.,])")
_DIGITS = re.compile(r"\d+")
_NUMBERED = re.compile(r"(?<![\w.,])\w*\d(?:[\w.,]*\w)?")
# Names: capitalised words in a row, not at the beginning of the sentence.
_NAME = re.compile(r"(?<=[a-z,;] )[A-ZÀ-Þ][\w'’-]+(?: (?:of |the )?[A-ZÀ-Þ][\w'’-]+)*")
_TERM = re.compile(r"\b[a-zß-ÿ]{7,}\b")
_KINDS = ((_YEAR, "When"), (_NUMBER, "How many"), (_NAME, "Who or what"), (_TERM, "What"))
# A sentence that opens with one of these says little without the one before it.
_LEANING = frozenset("it its he his she her they their this that these those such here there but and also".split())

_FEWEST_WORDS, _MOST_WORDS = 8, 45
# People ask in fewer and other words than the text's. A question has this many words on either side of its answer;
# one share of those that carry the subject is left out, another gives way to words from elsewhere in the document.
# Chosen so that on half of XQuAD's articles the words of a made question and of a real one meet the right passage
# equally often; on the other half they then do too (docs/decisions/answering.md).
_REACH, _DROPPED, _FOREIGN = 8, 0.2, 0.4
# What stands so near to the answer, in characters, may belong to it.
_AROUND = 250


@dataclass(frozen=True)
class Question:
    """A question and its answers, any of which is right. They are in the document's text from `start` to `end`; without
    an answer, the documents do not contain one."""

    text: str
    answers: tuple[str, ...]
    document_id: str | None = None
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Article:
    """A text of a question file with the questions about it; their `document_id` is still open."""

    name: str
    text: str
    questions: tuple[Question, ...]


def make_questions(documents: Sequence[tuple[str, Extracted]], count: int, seed: int) -> list[Question]:
    """At most `count` questions from documents (id and content), spread over them. The same seed gives the same.

    Each is made from one sentence: a year, a number, a name or a long word in it becomes the answer; a question word
    and the words around the answer, some of them left out or changed at random, the question.
    """
    source = random.Random(seed)  # noqa: S311 (a sample, no secret)
    made: list[Question] = []
    sets = [_shuffled(_statements(content), source) for _, content in documents]
    vocabularies = {document_id: _vocabulary(content.text) for document_id, content in documents}
    for turn in range(max((len(one) for one in sets), default=0)):
        for (document_id, content), places in source.sample(list(zip(documents, sets, strict=True)), len(sets)):
            if turn < len(places) and len(made) < count:
                question = _asked(content.text, document_id, *places[turn], source)
                made.extend([_foreign(question, vocabularies[document_id], source)] if question else [])
    return made


def _shuffled(places: Iterator[tuple[int, int]], source: random.Random) -> list[tuple[int, int]]:
    found = list(places)
    source.shuffle(found)
    return found


def make_near_misses(
    documents: Sequence[tuple[str, Extracted]], questions: Sequence[Question], seed: int
) -> list[Question]:
    """Of each question that has one, a near miss: a name, a number or a word with a contrary in it is replaced by
    another of its kind that the sentence with the answer does not hold. They have no answer."""
    source = random.Random(seed)  # noqa: S311 (a sample, no secret)
    contents = dict(documents)
    kinds = {one: _of_kinds(content.text) for one, content in documents}
    made = []
    for question in questions:
        if question.document_id is not None:
            text = contents[question.document_id].text
            around = text[max(0, question.start - _AROUND) : question.end + _AROUND]
            swapped = _swapped(question.text, kinds[question.document_id], set(words(around)), source)
            made.extend([replace(question, text=swapped, answers=())] if swapped else [])
    return made


def _of_kinds(text: str) -> tuple[list[str], list[str]]:
    """The names, and the numbers and what is named by one, of a text."""
    names = [word for match in _NAME.finditer(text) for word in match.group().split() if word[0].isupper()]
    return names, [match.group() for match in _NUMBERED.finditer(text)]


def _swapped(question: str, kinds: tuple[list[str], list[str]], near: set[str], source: random.Random) -> str | None:
    names, numbers = kinds
    ways = []
    for place, (word, start, end) in enumerate(word_spans(question)):
        others: Sequence[str] = sorted(CONTRARIES.get(word, ()))
        if figure := number(word):
            kind = _DIGITS.sub("#", figure)
            others = [one for one in numbers if _DIGITS.sub("#", one.lower()) == kind and one.lower() != word]
            others = others or [_DIGITS.sub(lambda digits: str(int(digits[0]) + 1), question[start:end])]
        elif place and question[start].isupper():
            others = names
        fit = [one for one in others if not near & set(words(one)) and one.lower() not in words(question)]
        ways.extend([(start, end, source.choice(fit))] if fit else [])
    if not ways:
        return None
    start, end, other = source.choice(ways)
    return question[:start] + other + question[end:]


def _statements(content: Extracted) -> Iterator[tuple[int, int]]:
    text = content.text
    for _, place, _ in candidates(text, content.blocks):
        for start, end in sentences(text, *place):
            spans = word_spans(text[start:end])
            if (
                "|" not in text[start:end]
                and _FEWEST_WORDS <= len(spans) <= _MOST_WORDS
                and spans[0][0] not in _LEANING
            ):
                yield start, end


def _asked(text: str, document_id: str, start: int, end: int, source: random.Random) -> Question | None:
    sentence = text[start:end]
    found = [(match, asks) for pattern, asks in _KINDS if (match := _any(pattern, sentence, source))]
    if not found:
        return None
    match, asks = source.choice(found)
    spans = word_spans(sentence)
    before = [place for place in spans if place[2] <= match.start()][-_REACH:]
    after = [place for place in spans if place[1] >= match.end()][:_REACH]
    kept = [
        sentence[opening:closing]
        for word, opening, closing in [*before, *after]
        if not is_content(word) or source.random() >= _DROPPED
    ]
    asked = content_stems(" ".join(kept))
    if len(asked) < 3 or content_stems(match.group()) <= asked:
        return None
    place = start + match.start(), start + match.end()
    return Question(f"{asks} {' '.join(kept)}?", (match.group(),), document_id, *place)


def _vocabulary(text: str) -> list[str]:
    return [word for word, _, _ in word_spans(text) if len(word) > 3 and word.isalpha() and is_content(word)]


def _foreign(question: Question, vocabulary: Sequence[str], source: random.Random) -> Question:
    spoken = [
        source.choice(vocabulary) if vocabulary and is_content(word.lower()) and source.random() < _FOREIGN else word
        for word in question.text[:-1].split()
    ]
    return replace(question, text=" ".join(spoken) + "?")


def _any(pattern: re.Pattern[str], sentence: str, source: random.Random) -> re.Match[str] | None:
    matches = list(pattern.finditer(sentence))
    return source.choice(matches) if matches else None


def read_squad(path: Path) -> list[Article]:
    """The articles of a file in SQuAD's format, version 1.1 or 2.0, each with its paragraphs as one text. Raises
    BadQuestions."""
    try:
        articles = [_article(article, number) for number, article in enumerate(json.loads(path.read_bytes())["data"])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadQuestions(str(path), f"{type(error).__name__}: {error}") from error
    if not any(article.questions for article in articles):
        raise BadQuestions(str(path), "there is no question in it")
    return articles


def _article(article: dict[str, Any], number: int) -> Article:
    questions: list[Question] = []
    text = ""
    for paragraph in article["paragraphs"]:
        text += "\n\n" if text else ""
        context = clean(str(paragraph["context"]), keep_lines=True)
        for entry in paragraph["qas"]:
            stored = (clean(str(answer["text"]), keep_lines=True) for answer in entry.get("answers", []))
            answers = tuple(dict.fromkeys(stored))
            place = _nearest(context, answers[0], int(entry["answers"][0]["answer_start"])) if answers else 0
            start = len(text) + place
            end = start + len(answers[0]) if answers else start
            questions.append(Question(str(entry["question"]), answers, None, start, end))
        text += context
    return Article(str(article.get("title") or f"article {number + 1}"), text, tuple(questions))


def _nearest(context: str, answer: str, told: int) -> int:
    """The place of the answer in the context, nearest to the place in the file: tidying may have moved it."""
    places = [match.start() for match in re.finditer(re.escape(answer), context)]
    if not places:
        raise ValueError(f"the answer {answer[:40]!r} is not in its context")
    return min(places, key=lambda place: abs(place - told))
