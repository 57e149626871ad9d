"""Answers that people rated, in a file of questions that `eval --questions` asks again.

Each line is a JSON object: a question, its collection, whether the answer was good, whether it said that the documents
do not answer, and what it cited. Of a good answer that is the evidence which is expected from then on.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rag_service.errors import BadQuestions, RatingsFull, StoreFull, UnknownDocument
from rag_service.evaluation import Trial
from rag_service.evaluation.questions import Question
from rag_service.store.protocol import Store

_MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Cited:
    """A place in a document that an answer cited: `quote` was `text[start:end]`."""

    document: str
    document_id: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True)
class Rating:
    question: str
    collection: str
    good: bool
    abstained: bool
    citations: tuple[Cited, ...]
    rated_at: str = ""


_RATING = TypeAdapter(Rating)


def cited(store: Store, collection: str, document_id: str, start: int, end: int) -> Cited:
    """The citation with its quote, as the store has it. Raises UnknownDocument."""
    document = store.find(collection, document_id=document_id)
    if document is None:
        raise UnknownDocument(document_id, collection)
    quote = store.text(collection, document_id, start, end)
    return Cited(document.name, document_id, start, start + len(quote), quote)


def append(path: Path, rating: Rating) -> None:
    """Writes the rating to the file's end; it is on disk when this returns. Raises RatingsFull, StoreFull."""
    line = json.dumps({**asdict(rating), "rated_at": datetime.now(UTC).isoformat(timespec="seconds")}) + "\n"
    try:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # several replicas may share the folder
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            if whole + len(line) > _MOST_BYTES:
                raise RatingsFull(path, _MOST_BYTES)
            file.truncate(whole)  # a kill may have left part of a line, which was never acknowledged
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreFull(path, error.strerror or str(error)) from error


def read_ratings(path: Path) -> list[Rating]:
    """The last rating of each question in each collection. Raises BadQuestions."""
    ratings: dict[tuple[str, str], Rating] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadQuestions(str(path), error.strerror or str(error)) from error
    for number, line in enumerate(lines, start=1):
        try:
            rating = _RATING.validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise BadQuestions(str(path), f"line {number}: {place}: {first['msg']}".replace(": : ", ": ")) from error
        ratings[rating.collection, rating.question] = rating
    return list(ratings.values())


def rated_trials(store: Store, ratings: Iterable[Rating], source: str) -> list[Trial]:
    """Each rated question, to be asked of its collection in its current state. Questions whose collection or cited
    place no longer exists are left out. Raises BadQuestions if none is left."""
    known = store.collections()
    found = [_trial(store, rating) for rating in ratings if rating.collection in known]
    trials = [trial for trial in found if trial is not None]
    if not trials:
        raise BadQuestions(source, "it has no question whose collection and cited place still exist")
    return trials


def _trial(store: Store, rating: Rating) -> Trial | None:
    question = Question(rating.question, ())
    if not rating.good:
        bad = "" if rating.abstained else next((one.quote for one in rating.citations), "")
        return Trial(question, rating.collection, False, bad=bad)
    if rating.abstained:
        return Trial(question, rating.collection, False, near_miss=True)
    for one in rating.citations:
        place = _place(store, rating.collection, one)
        if place is not None:
            answers = tuple(other.quote for other in rating.citations)
            return Trial(Question(rating.question, answers, *place), rating.collection, True)
    return None


def _place(store: Store, collection: str, one: Cited) -> tuple[str, int, int] | None:
    """The document's id and where the quote stands in it now: the file may have been replaced since."""
    if store.find(collection, document_id=one.document_id):
        return one.document_id, one.start, one.end
    replaced = store.find(collection, name=one.document)
    start = store.content(collection, replaced.id).text.find(one.quote) if replaced else -1
    return (replaced.id, start, start + len(one.quote)) if replaced and start >= 0 else None
