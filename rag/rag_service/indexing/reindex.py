"""The stored text is cut and embedded again, in an edition beside the current one, which it then replaces."""

from __future__ import annotations

from itertools import count

from rag_service.indexing.ingest import Library
from rag_service.indexing.jobs import Job
from rag_service.store.protocol import Edition, Store

# Rounds of catching up with what was added meanwhile. After them, nothing is added during a round.
_ROUNDS = 3


def reindex(store: Store, library: Library, wanted: Edition, job: Job) -> None:
    """Makes all passages again in the wanted edition, then switches every collection to it. A killed reindexing
    continues where it stopped. `library` knows the edition's embedder."""
    edition = store.begin_edition(wanted)
    done = 0
    for rounds in count(1):
        done += _catch_up(store, library, edition, job, done)
        with library.paused():  # a document that is being embedded would otherwise be of the edition before
            if rounds > _ROUNDS:
                done += _catch_up(store, library, edition, job, done)
            if store.use_edition(edition):  # else a document was added at this very moment
                return


def _catch_up(store: Store, library: Library, edition: Edition, job: Job, done: int) -> int:
    lacking = store.lacking(edition)
    job.reaches(done, done + len(lacking))
    for key, name in lacking:
        job.works_on(name)
        content = store.content_of(key)
        if content is not None:  # else it was deleted a moment ago
            store.put_passages(key, edition, library.passages(content, edition, job.on_passages))
        job.ends_step()
    return len(lacking)
