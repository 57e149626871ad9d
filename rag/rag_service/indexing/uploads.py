"""Uploads that were acknowledged before they were added: they wait in the database, and the first free replica or
worker adds them. If it is killed, another continues."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from rag_service.errors import NotReady, RagError, StoreAway, StoreFull
from rag_service.indexing.ingest import Library, clean_name
from rag_service.indexing.jobs import Job, Jobs, Postponed
from rag_service.store.protocol import JobBoard, Uploaded
from rag_service.types import Verdict

log = logging.getLogger(__name__)

_AT_ONCE = 2  # so that a short upload need not wait for the end of a long one
_LOOK_SECONDS = 1.0
_TRY_AGAIN_SECONDS = 5.0
_MOST_TRIES = 3


class UploadWorker:
    """Adds what waits, in threads of its own."""

    def __init__(self, board: JobBoard, jobs: Jobs, library: Callable[[], Library]) -> None:
        """`library` returns the one to add with, or raises NotReady."""
        self._board = board
        self._jobs = jobs
        self._library = library
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, when: threading.Event) -> None:
        """Begins once `when` is set."""
        for _ in range(_AT_ONCE):
            self._threads.append(threading.Thread(target=self._run, args=(when,), name="uploads", daemon=True))
            self._threads[-1].start()

    def close(self) -> None:
        """Ends within the file that is being added, which is begun again elsewhere."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_TRY_AGAIN_SECONDS)

    def _run(self, when: threading.Event) -> None:
        when.wait()
        wait, why = 0.0, ""
        while not self._stop.wait(wait):
            try:
                self._library()
                wait = 0.0 if self._jobs.take(self._add_all) else _LOOK_SECONDS
                why = ""
            except Exception as error:  # whatever it is, the next look may be better
                if str(error) != why:
                    log.warning("uploads wait: %s", error, exc_info=not isinstance(error, RagError | Postponed))
                wait, why = _TRY_AGAIN_SECONDS, str(error)

    def _add_all(self, job: Job) -> None:
        try:
            while (file := self._next(job)) is not None:
                job.works_on(file.name)
                job.ends_step(self._added(file, job))
                self._jobs.post(job)
        except (NotReady, StoreAway, StoreFull) as error:  # what was acknowledged is not lost for them
            raise Postponed(error.detail) from error

    def _next(self, job: Job) -> Uploaded | None:
        self._go_on()
        return self._board.next_file(job.seen(False).job)

    def _added(self, file: Uploaded, job: Job) -> Verdict:
        if file.tries > _MOST_TRIES:
            reason = (
                f"Adding this file was begun {_MOST_TRIES} times, and each time the process ended before it was done. "
                "Its log, or the system's, may say why."
            )
            return Verdict(clean_name(file.name), "failed", code="cut off", reason=reason)

        def on_passages(passages: int, total: int) -> None:
            self._go_on()
            job.on_passages(passages, total)

        return self._library().add(
            file.name, file.data, file.collection, metadata=file.metadata, on_passages=on_passages
        )

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise Postponed("The process ends.")
