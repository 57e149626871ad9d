"""The jobs of all replicas in PostgreSQL, and the uploads that wait for one of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rag_service.errors import TooManyJobs, counted
from rag_service.store.protocol import Uploaded
from rag_service.types import Backlog

if TYPE_CHECKING:
    from rag_service.store.postgres import PostgresDatabase

_UPLOADS = 7_246_003  # any number that no other advisory lock has
_MOST_JOBS = 500
_LOOK_SECONDS = 2.0  # below the 10 s within which Prometheus wants its figures
_NOW = "extract(epoch FROM clock_timestamp())"
_WAITING = "EXISTS (SELECT 1 FROM uploads WHERE uploads.job = jobs.job)"
# The condition takes the lock, so the rows must come one by one and in order: OFFSET keeps the planner from moving it.
# A row's own lock (SKIP LOCKED) would need a transaction as long as the job, and no vacuum cleans behind one.
_TAKE = """
SELECT job FROM (SELECT job FROM uploads GROUP BY job ORDER BY min(number) OFFSET 0) AS waiting
WHERE pg_try_advisory_lock(%s, hashtext(job)) LIMIT 1
"""


class PostgresJobs:
    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def post(self, job: str, progress: str, over: int = 0) -> bool:
        with self._database.writing() as transaction:  # in turn: two that forget the same jobs could block each other
            transaction.execute(
                "DELETE FROM jobs WHERE job IN "
                f"(SELECT job FROM jobs WHERE NOT {_WAITING} ORDER BY seen_at DESC OFFSET ?)",
                (_MOST_JOBS,),
            )
            [cancelled] = transaction.execute(
                f"INSERT INTO jobs VALUES (?, ?, {_NOW}, false) ON CONFLICT (job) DO UPDATE SET "
                "progress = excluded.progress, seen_at = excluded.seen_at RETURNING cancelled",
                (job, progress),
            ).fetchone()
            transaction.execute("DELETE FROM uploads WHERE job = ? AND place < ?", (job, over))
        return bool(cancelled)

    def posts(self, job: str = "") -> list[tuple[str, float]]:
        with self._database.reading() as transaction:
            rows = transaction.execute(
                f"SELECT progress, CASE WHEN {_WAITING} THEN 0 ELSE {_NOW} - seen_at END FROM jobs "
                "WHERE ? IN (job, '') ORDER BY seen_at DESC",
                (job,),
            )
            return [(progress, float(ago)) for progress, ago in rows]

    def cancel(self, job: str) -> None:
        with self._database.transaction() as transaction:
            transaction.execute("UPDATE jobs SET cancelled = true WHERE job = ?", (job,))

    def upload(
        self,
        job: str,
        progress: str,
        collection: str,
        metadata: Mapping[str, str] | None,
        files: Iterable[tuple[str, bytes]],
    ) -> None:
        facts = None if metadata is None else json.dumps(dict(metadata))
        with self._database.transaction() as transaction:
            [waiting] = transaction.execute("SELECT count(DISTINCT job) FROM uploads").fetchone()
            if waiting >= _MOST_JOBS:
                raise TooManyJobs(counted(waiting, "job"))
            transaction.execute(f"INSERT INTO jobs VALUES (?, ?, {_NOW}, false)", (job, progress))
            for place, (name, data) in enumerate(files):
                transaction.execute(
                    "INSERT INTO uploads (job, place, collection, metadata, name, data) VALUES (?, ?, ?, ?, ?, ?)",
                    (job, place, collection, facts, name, data),
                )

    @contextmanager
    def take(self) -> Iterator[str | None]:
        with self._database.session() as session:
            found = session.execute(_TAKE, (_UPLOADS,)).fetchone()
            if found is None:
                yield None
                return
            try:
                # It may have been added between the look and the lock.
                still = session.execute(f"SELECT progress FROM jobs WHERE job = %s AND {_WAITING}", found).fetchone()
                yield still[0] if still else None
            except Exception:  # whatever interrupted the work, the file did not
                session.execute("UPDATE uploads SET tries = greatest(tries - 1, 0) WHERE job = %s", found)
                raise
            finally:
                session.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", (_UPLOADS, *found))

    def next_file(self, job: str) -> Uploaded | None:
        with self._database.transaction() as transaction:
            row = transaction.execute(
                "UPDATE uploads SET tries = tries + 1 WHERE job = ? AND place = "
                "(SELECT min(place) FROM uploads WHERE job = ?) RETURNING name, data, collection, metadata, tries",
                (job, job),
            ).fetchone()
        if row is None:
            return None
        name, data, collection, metadata, tries = row
        return Uploaded(name, data, collection, None if metadata is None else json.loads(metadata), tries)

    def backlog(self) -> Backlog:
        with self._database.session(_LOOK_SECONDS) as session:
            [(uploads, oldest)] = session.execute(
                f"SELECT count(*), coalesce(max({_NOW} - seen_at), 0) FROM jobs WHERE {_WAITING}"
            ).fetchall()
            failed = session.execute(
                "SELECT progress::json ->> 'kind', max(seen_at) FROM jobs "
                f"WHERE seen_at > {_NOW} - 3600 AND progress::json ->> 'state' = 'failed' GROUP BY 1"
            ).fetchall()
        return Backlog(uploads, float(oldest), dict(failed))
