"""The store in PostgreSQL with pgvector: for several replicas, and for more than one machine's disk."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, cast

import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool, PoolTimeout

from rag_service.errors import StoreAway, StoreFull, StoreTooNew
from rag_service.store.database import MOST_ROWS, Rows, rarest
from rag_service.store.postgres_jobs import PostgresJobs
from rag_service.store.protocol import Stored, Vectors, View
from rag_service.store.sql import SqlStore
from rag_service.types import Span

# One writer at a time, so that a higher number in `changes` is also a later commit; any numbers that nobody else uses.
_WRITER, _TASKS = 7_246_001, 7_246_002
_MOST_CONNECTIONS = 16
_WAIT_SECONDS = 10.0
# BM25 as SQLite's full text computes it (Robertson and Zaragoza 2009).
_K1, _B = 1.2, 0.75
_LEAST_WEIGHT = 1e-6  # of a term that half of the passages or more hold


class PostgresStore(SqlStore):
    database: PostgresDatabase

    def __init__(self, url: str, password_file: Path | None = None) -> None:
        """Connects to the database, and makes or migrates its tables. Raises StoreAway, StoreTooNew."""
        super().__init__(PostgresDatabase(url, password_file))
        self.board = PostgresJobs(self.database)


class PostgresDatabase:
    def __init__(self, url: str, password_file: Path | None = None) -> None:
        self._url, self._options = url, dict[str, Any](autocommit=True)
        if password_file is not None:
            self._options["password"] = password_file.read_text(encoding="utf-8").strip()
        about = conninfo_to_dict(url)
        self._where = f"{about.get('dbname')} at {about.get('host')}"  # without the password
        with self._explained(), psycopg.connect(self._url, **self._options) as connection:
            _migrate(connection, self._where)
        self._pool = ConnectionPool(
            url, kwargs=self._options, min_size=1, max_size=_MOST_CONNECTIONS, timeout=_WAIT_SECONDS, open=True,
            configure=_configure, check=ConnectionPool.check_connection,
        )  # fmt: skip

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def reading(self) -> Iterator[PostgresTransaction]:
        with self.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as transaction:
            yield transaction

    @contextmanager
    def writing(self) -> Iterator[PostgresTransaction]:
        with self.transaction() as transaction:
            transaction.execute("SELECT pg_advisory_xact_lock(?)", (_WRITER,))
            yield transaction

    @contextmanager
    def alone(self, task: str) -> Iterator[bool]:
        # The lock lasts as long as the connection.
        with self._explained(), psycopg.connect(self._url, **self._options) as connection:
            _notice_death(connection)
            yield connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", (_TASKS, task)).fetchone() == (
                True,
            )

    @contextmanager
    def transaction(self, begin: str = "BEGIN") -> Iterator[PostgresTransaction]:
        """Of a writer that need not wait for its turn."""
        with self.session() as connection:
            connection.execute(cast(Any, begin))
            yield PostgresTransaction(connection)  # the pool rolls back what raises

    @contextmanager
    def session(self, wait: float | None = None) -> Iterator[psycopg.Connection[Any]]:
        """A connection, each of whose statements is a transaction; without `wait` seconds it waits as `_pool` does."""
        with self._explained(), self._pool.connection(wait) as connection:
            yield connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors in words, where somebody has to act."""
        try:
            yield
        except psycopg.errors.DiskFull as error:
            raise StoreFull(self._where, str(error).strip()) from error
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise StoreAway(self._where, str(error).strip().splitlines()[0]) from error


class PostgresTransaction:
    among = " = ANY(?)"

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> Rows:
        # PostgreSQL keeps no zero character; its place is kept.
        clean = [one.replace("\x00", "\ufffd") if isinstance(one, str) else one for one in parameters]
        return self._connection.execute(cast(Any, query.replace("?", "%s")), clean)

    def put_chunk(
        self, document: int, edition: int, span: Span, text: str, vector: Vectors, signs: bytes, terms: Sequence[str]
    ) -> None:
        self.execute(
            'WITH chunk AS (INSERT INTO chunks (document, edition, "start", "end", page, heading, text, terms) '
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id) INSERT INTO vectors SELECT id, ?, ? FROM chunk",
            (
                document, edition, span.start, span.end, span.page, span.heading, text, list(terms),
                HalfVector(vector), signs,
            ),
        )  # fmt: skip

    def vectors(self, numbers: Sequence[int]) -> dict[int, Stored]:
        rows = self.execute(f"SELECT chunk, vector, signs FROM vectors WHERE chunk{self.among}", (list(numbers),))
        return {number: Stored(vector.to_numpy().astype("float32"), signs) for number, vector, signs in rows}

    def add_words(self, state: int, edition: int, document: int | None = None) -> None:
        """The words are found by the passages' own terms; a state has their number alone."""
        which, value = ("?", document) if document else ("SELECT document FROM names WHERE state = ?", state)
        self._count(state, f"edition = ? AND document IN ({which})", (edition, value))

    def remove_words(self, state: int, first: int, last: int) -> None:
        self._count(state, "id BETWEEN ? AND ?", (first, last), sign="-")

    def drop_words(self, state: int) -> None:
        pass  # with the state, its numbers go

    def _count(self, state: int, which: str, values: Sequence[Any], sign: str = "+") -> None:
        self.execute(
            f"UPDATE states SET passages = passages {sign} n, terms = states.terms {sign} m FROM "
            f"(SELECT count(*) AS n, coalesce(sum(cardinality(terms)), 0) AS m FROM chunks WHERE {which}) counted "
            "WHERE states.id = ?",
            (*values, state),
        )

    def lexical(
        self, view: View, terms: Sequence[str], count: int, only: Sequence[int] | None
    ) -> list[tuple[int, float]]:
        there = (
            "FROM chunks c WHERE c.edition = ? AND EXISTS "
            "(SELECT 1 FROM names n WHERE n.state = ? AND n.document = c.document) AND c.terms"
        )
        here = (view.edition.id, view.state)

        def held_by(term: str, limit: int | None) -> int:
            some = f"SELECT count(*) FROM (SELECT 1 {there} @> ? LIMIT ?) AS held"
            return int(self.execute(some, (*here, [term], limit)).fetchone()[0])

        counts = {term: held_by(term, MOST_ROWS + 1) for term in dict.fromkeys(terms) if "\x00" not in term}
        rare, held = rarest(counts)
        if not held:
            return []
        if not rare:
            counts = {term: held_by(term, None) for term in held}
        query, values = f"SELECT c.id, c.terms {there} {'&&' if rare else '@>'} ?", [*here, rare or held]
        if only is not None:
            query, values = query + f" AND c.id{self.among}", [*values, list(only)]
        passages, words = self.execute("SELECT passages, terms FROM states WHERE id = ?", (view.state,)).fetchone()
        length, weights = words / max(passages, 1), {term: _weight(counts[term], passages) for term in rare or held}
        scored = [(number, _bm25(held_there, weights, length)) for number, held_there in self.execute(query, values)]
        return sorted(scored, key=lambda one: (-one[1], one[0]))[:count]


def _weight(held_by: int, passages: int) -> float:
    return max(math.log((passages - held_by + 0.5) / (held_by + 0.5)), _LEAST_WEIGHT)


def _bm25(passage: Sequence[str], weights: Mapping[str, float], usual_length: float) -> float:
    counts, length = Counter(passage), _K1 * (1 - _B + _B * len(passage) / usual_length)
    return sum(weights[term] * counts[term] * (_K1 + 1) / (counts[term] + length) for term in weights)


def _configure(connection: psycopg.Connection[Any]) -> None:
    register_vector(connection)
    _notice_death(connection)


def _notice_death(connection: psycopg.Connection[Any]) -> None:
    """Lets the database end the connection, and with it its locks, within a minute after this machine went away."""
    for setting in ("idle = 30", "interval = 10", "count = 3"):
        connection.execute(cast(Any, f"SET tcp_keepalives_{setting}"))


def _migrate(connection: psycopg.Connection[Any], where: str) -> None:
    """Brings the tables up to date, one process at a time."""
    files = sorted(resources.files("rag_service.store").joinpath("migrations").iterdir(), key=lambda one: one.name)
    steps = {int(one.name[:3]): one.read_text() for one in files if one.name.endswith(".sql")}
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_WRITER,))
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY)")
        [version] = connection.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone() or [0]
        if version > max(steps):
            raise StoreTooNew(where, version, max(steps))
        for number, step in steps.items():
            if number > version:
                connection.execute(cast(Any, step))
                connection.execute("INSERT INTO migrations VALUES (%s)", (number,))
