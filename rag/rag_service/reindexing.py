"""The stored text cut and embedded anew, beside the old vectors, which answer until the new ones take their place."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from rag_service.database import remove
from rag_service.documents import DocumentSummary
from rag_service.errors import AlreadyReindexing, UnknownDocument
from rag_service.ingestion import Library
from rag_service.jobs import Job
from rag_service.store import Store


class Gate:
    """Questions pass it, any number at once. While it is closed nobody is inside, and who comes waits."""

    def __init__(self, patience: float = 30.0) -> None:
        """`patience`: seconds that closing waits for those inside before it goes ahead without them."""
        self._patience = patience
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def passing(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def closed(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._closed = True
            self._changed.wait_for(lambda: self._inside == 0, self._patience)
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Nobody else reindexes meanwhile, in whichever process. Raises AlreadyReindexing."""
    with (data_dir / "reindex.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyReindexing from error
        yield


def reindex(
    store: Store, beside: Path, library_of: Callable[[Store], Library], take: Callable[[int], bool], job: Job
) -> None:
    """Builds a second store at `beside` from the first one's text, then lets `take` put it in place.

    `library_of` gives the library that cuts and embeds for a store. `take` is asked with the generation that was
    built from, and answers False where the store has changed since: what changed is then caught up with first.
    """
    remove(beside)
    with closing(Store(beside)) as new:
        new.start_numbers_after(store.last_passage())
    while True:
        generation = store.generation()
        with closing(Store(beside)) as new:  # closed again before it is taken: then it is one file
            _catch_up(store, new, library_of(new), job)
        if take(generation):
            remove(beside)
            beside.with_suffix(".lock").unlink()
            return


def _catch_up(store: Store, new: Store, library: Library, job: Job) -> None:
    wanted, there = _documents(store), _documents(new)
    for document in there - wanted:
        new.delete(document.collection, document.id)
    missing = sorted(wanted - there, key=lambda document: (document.collection, document.name))
    job.expects(job.seen(False).done + len(missing))
    for document in missing:
        job.works_on(document.name)
        try:
            content = store.content(document.collection, document.id)
        except UnknownDocument:
            continue  # deleted a moment ago: the next round knows
        library.write(
            content,
            document.collection,
            document.id,
            document.name,
            document.bytes,
            document.origin,
            document.added_at,
            job.tells,
        )
        job.ends_step()


def _documents(store: Store) -> set[DocumentSummary]:
    """The documents without what cutting anew may change."""
    return {replace(document, passages=0) for document in store.documents()}
