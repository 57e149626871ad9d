"""A watched folder: what is in it is in its collection, and what leaves it is forgotten. The folder is the truth."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rag_service.errors import LoadFailed, RagError
from rag_service.indexing.ingest import Library, clean_name, files_under, read_file
from rag_service.indexing.jobs import Job, Jobs
from rag_service.store.protocol import Store, every_document
from rag_service.types import DocumentSummary, Verdict

log = logging.getLogger(__name__)

# Changes are reported by the system; this look at all files is for those that are not, such as on a network drive.
_LOOK_EVERY_MS = 60_000
_TRY_AGAIN_SECONDS = 5.0
_SHOWN = 20


@dataclass(frozen=True)
class Watched:
    """What is known of the folder. `failed`: files that cannot be read, at most twenty; `error`: why nothing of it
    can be read now, where that is so."""

    folder: str
    collection: str
    files: int = 0
    failed: tuple[Verdict, ...] = ()
    error: str | None = None
    checked_at: str | None = None


@dataclass
class _Seen:
    """A file as it was when it was last read."""

    stamp: tuple[int, int]
    verdict: Verdict


class Watcher:
    """Follows one folder in a thread of its own."""

    def __init__(
        self, folder: Path, collection: str, store: Store, library: Callable[[], Library], jobs: Jobs, most_bytes: int
    ) -> None:
        """`library` returns the one to add with, or raises NotReady."""
        self._folder = folder
        self._collection = collection
        self._origin = str(folder)
        self._store = store
        self._library = library
        self._jobs = jobs
        self._most_bytes = most_bytes
        self._seen: dict[str, _Seen] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.state = Watched(self._origin, collection)

    def start(self, when: threading.Event) -> None:
        """Begins once `when` is set."""
        self._thread = threading.Thread(target=self._run, args=(when,), name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends after the file that is being read."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_TRY_AGAIN_SECONDS)

    def reconcile(self) -> None:
        """Brings the collection to what the folder holds. Raises OSError where the folder cannot be read, and NotReady;
        then nothing was forgotten."""
        files = self._files()
        gone = [document for document in self._ours() if document.name not in files]
        changed = [
            name for name, path in files.items() if name not in self._seen or self._seen[name].stamp != _stamp(path)
        ]
        library = self._library()
        for name in self._seen.keys() - files.keys():
            del self._seen[name]
        if gone or changed:
            self._jobs.run(
                "watch", lambda job: self._follow(job, library, gone, {name: files[name] for name in changed})
            )
        failed = tuple(seen.verdict for seen in self._seen.values() if seen.verdict.verdict == "failed")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.state = Watched(self._origin, self._collection, len(files), failed[:_SHOWN], None, now)

    def _follow(self, job: Job, library: Library, gone: list[DocumentSummary], changed: dict[str, Path]) -> None:
        job.reaches(0, len(gone) + len(changed))
        for name, path in changed.items():  # first: what only moved is then stored still, and not embedded again
            if self._stop.is_set():
                return
            job.works_on(name)
            job.ends_step(self._read(library, name, path, job))
        for document in gone:
            job.works_on(document.name)
            self._forget(document)
            job.ends_step()

    def _read(self, library: Library, name: str, path: Path, job: Job) -> Verdict:
        stamp = _stamp(path)  # before reading: a change meanwhile shows the next time
        try:
            data = read_file(path, self._most_bytes)
            verdict = library.add(name, data, self._collection, self._origin, on_passages=job.on_passages)
        except LoadFailed as failure:
            verdict = Verdict(name, "failed", code=failure.code, reason=failure.detail)
        if verdict.verdict == "failed":
            # What the file said before is nowhere in the folder any more.
            before = self._store.find(self._collection, name=name)
            if before is not None and before.origin == self._origin:
                self._forget(before)
        self._seen[name] = _Seen(stamp, verdict)
        return verdict

    def _forget(self, document: DocumentSummary) -> None:
        self._store.remove_name(document.collection, document.name)
        log.info("%s removed: it is no longer in the watched folder", document.name)

    def _ours(self) -> list[DocumentSummary]:
        """The documents that came from this folder; others in its collection are none of its business."""
        return [one for one in every_document(self._store, self._collection) if one.origin == self._origin]

    def _files(self) -> dict[str, Path]:
        """The folder's files by the names that they are stored by. Raises OSError where a part cannot be read."""

        def refuse(error: OSError) -> None:
            raise error

        for _ in os.walk(self._folder, onerror=refuse):
            pass  # a part that cannot be read must not look as if its files were gone
        return {clean_name(name): path for name, path in files_under([self._folder])}

    def _watch(self) -> None:
        import watchfiles

        self.reconcile()
        for _ in watchfiles.watch(
            self._folder,
            watch_filter=None,
            stop_event=self._stop,
            rust_timeout=_LOOK_EVERY_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        ):
            self.reconcile()

    def _run(self, when: threading.Event) -> None:
        when.wait()
        while not self._stop.is_set():
            try:
                with self._store.alone("watch") as alone:
                    if alone:
                        self._watch()
                    else:  # another replica follows the folder; it may end
                        self._stop.wait(_TRY_AGAIN_SECONDS)
            except Exception as error:  # whatever it is, the watching goes on and says why it cannot see
                why = f"{type(error).__name__}: {error}"
                if isinstance(error, RagError):
                    why = f"{error.detail} {error.hint}"
                if why != self.state.error:
                    log.warning("the watched folder cannot be followed: %s", why)
                self.state = Watched(self._origin, self._collection, len(self._seen), error=why)
                self._stop.wait(_TRY_AGAIN_SECONDS)


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file's content does; of a file that is gone already, nothing."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size
