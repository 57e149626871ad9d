"""A few questions that a collection answers, for whoever does not know what to ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, zip_longest

from rag_service.answering.follow_ups import leans
from rag_service.language import content_stems, language_of, sentences
from rag_service.service import Parts, Service
from rag_service.store.protocol import Store

_COUNT = 3
_MOST_TRIED = 12
_MOST_DOCUMENTS, _MOST_CHARACTERS = 10, 20_000  # looked at
_KEPT = 100  # collections

_WORD = r"[\w’'-]+"


def _statement(of: str, verbs: str, articles: str) -> re.Pattern[str]:
    """A sentence that says what something is ("Tannin is a …"), or which name or number ("The capital of Narvia is
    Beldorn"): it can be turned round into a question."""
    subject = rf"(?P<subject>{_WORD}(?: {_WORD}){{0,5}}?(?P<of> (?:{of}) {_WORD}(?: {_WORD}){{0,3}}?)?)"
    return re.compile(rf"{subject} (?P<verb>{verbs}) (?:(?:{articles}) |(?(of)[A-ZÀ-Þ\d]|(?!)))")


_STATEMENT = {
    "en": _statement("of", "is|are|was|were", "an?|the"),
    "de": _statement("von|des|der", "ist|sind|war|waren", "eine?|der|die|das"),
}
_ASKS = {"en": "What", "de": "Was"}
# What a subject does not begin with, or is: it would lean on what stands before ("the sender"), or be said of anything.
_NO_SUBJECT = re.compile(
    r"(?i)(?:(?:the|an?|der|die|das|eine?) [\w’'-]+ (?:is|are|was|were|ist|sind|war|waren)|it|this|that|these|those|he|"
    r"she|they|there|here|what|which|who|such|one|some|most|all|each|every|any|no|none|neither|both|if|when|as|and|but|es|"
    r"das|dies\w*|er|sie|hier|da|dort|wer|wie|wenn|jede\w*|kein\w*|alle)\b"
)
_QUESTION = re.compile(r"(?:\S+ ){2,14}\S+\?")


class Samples:
    """The questions of each collection, made again when the store has changed."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[int, list[str]]] = {}

    def of(self, service: Service, collection: str) -> list[str]:
        """At most three questions, each of which is answered; fewer if the documents have nothing that is easily asked
        for. Raises EmptyCollection, NotReady, TooBusy."""
        change = service.store.change()
        made = self._made.get(collection)
        if made is None or made[0] != change:
            made = change, service.work(lambda parts: _answered(service, parts, collection))
            self._made = dict(islice([(collection, made), *self._made.items()], _KEPT))
        return made[1]


def _answered(service: Service, parts: Parts, collection: str) -> list[str]:
    service.store.view(collection)
    tried = islice(_proposed(service.store, collection), _MOST_TRIED)
    answered = (question for question in tried if not parts.quoting.ask(question, collection, 4).abstained)
    return list(islice(answered, _COUNT))


def _proposed(store: Store, collection: str) -> Iterator[str]:
    """One question of each document, then a second of each, and so on."""
    texts = (
        store.text(collection, one.id, 0, _MOST_CHARACTERS)
        for one in store.documents(collection, limit=_MOST_DOCUMENTS)
    )
    seen = set()
    for one_of_each in zip_longest(*map(questions_in, texts)):
        for question in one_of_each:
            if question and question not in seen:
                seen.add(question)
                yield question


def questions_in(text: str) -> Iterator[str]:
    """Questions that the text asks itself, as headings do, and "What is the port?" of "The port is a …"."""
    language = language_of(text)
    pattern = _STATEMENT.get(language)
    for start, end in sentences(text, language=language):
        sentence = text[start:end]
        if " | " in sentence:  # a table's row
            continue
        said = pattern.match(sentence) if pattern else None
        if _QUESTION.fullmatch(sentence) and not leans(sentence, language):
            yield sentence
        elif said and not _NO_SUBJECT.match(sentence) and content_stems(said["subject"].split()[-1], language):
            yield f"{_ASKS[language]} {said['verb']} {_within(said['subject'], text, language)}?"


def _within(subject: str, text: str, language: str) -> str:
    """The subject as written within a sentence: with a small letter if its first word is not a name, as the other text
    shows."""
    first, small = subject.partition(" ")[0], subject[0].lower() + subject[1:]
    written = re.search(rf"\b{re.escape(small.partition(' ')[0])}\b", text)
    return small if written or not content_stems(first, language) else subject
