"""Vectors compared inside PostgreSQL, by an index of pgvector's: a replica holds none of them in memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pgvector import HalfVector

from rag_service.errors import StoreTooOld
from rag_service.store.protocol import Vectors, View

if TYPE_CHECKING:
    from rag_service.store.postgres import PostgresDatabase, PostgresTransaction

# Collections of fewer passages are compared one by one: the index is of all collections together, and would go through
# many passages of others to find those of a small one.
EXACT_LIMIT = 10_000
# How many neighbours the search in the index keeps at once (recall against FAISS: docs/how-to/postgresql.md), and how
# many it scans at most to find as many as were asked for in one collection.
_EF_SEARCH, _MOST_EF_SEARCH, _MOST_SCANNED = 100, 1000, 100_000
_MINE = "SELECT c.id FROM chunks c JOIN names n ON n.document = c.document WHERE n.state = ? AND c.edition = ?"
_LEAST_PGVECTOR = (0, 8)  # which goes on searching where others' passages were found

log = logging.getLogger(__name__)


class PostgresIndex:
    """Inner-product search, with one index for each number of dimensions."""

    def __init__(self, database: PostgresDatabase, dimension: int, exact_limit: int = EXACT_LIMIT) -> None:
        """Makes the index where there is none. Raises StoreTooOld."""
        self._database = database
        self._typed = f"vector::halfvec({dimension:d})"
        self._these = f"vector_dims(vector) = {dimension:d}"
        self._name = f"vectors_{dimension:d}"
        self._exact_limit = exact_limit
        self._make()

    def search(
        self, view: View, question: Vectors, count: int, only: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """See VectorIndex."""
        asked = HalfVector(question)
        with self._database.reading() as transaction:
            if only is not None:
                return self._exact(transaction, asked, count, f"chunk{transaction.among}", list(only))
            row = transaction.execute("SELECT passages FROM states WHERE id = ?", (view.state,)).fetchone()
            if row and row[0] > self._exact_limit:
                found = self._approximate(transaction, asked, count, view)
                if len(found) == count:
                    return found
            return self._exact(transaction, asked, count, f"chunk IN ({_MINE})", view.state, view.edition.id)

    def close(self) -> None:
        pass

    def _exact(
        self, transaction: PostgresTransaction, asked: HalfVector, count: int, which: str, *values: Any
    ) -> list[tuple[int, float]]:
        # Without the type of the index's expression, which keeps the index out of it.
        query = f"SELECT chunk, vector <#> ? AS far FROM vectors WHERE {which} ORDER BY far, chunk LIMIT ?"
        return [(number, -far) for number, far in transaction.execute(query, (asked, *values, count))]

    def _approximate(
        self, transaction: PostgresTransaction, asked: HalfVector, count: int, view: View
    ) -> list[tuple[int, float]]:
        chosen = {
            "hnsw.ef_search": min(max(_EF_SEARCH, 2 * count), _MOST_EF_SEARCH),
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.max_scan_tuples": _MOST_SCANNED,
            "enable_sort": "off",  # the planner would rather sort a collection than follow the index
        }
        for name, value in chosen.items():
            transaction.execute("SELECT set_config(?, ?, true)", (name, str(value)))
        rows = transaction.execute(
            f"SELECT v.chunk, v.{self._typed} <#> ? AS far FROM vectors v JOIN chunks c ON c.id = v.chunk "
            f"WHERE {self._these} AND c.edition = ? AND EXISTS "
            "(SELECT 1 FROM names n WHERE n.state = ? AND n.document = c.document) ORDER BY far LIMIT ?",
            (asked, view.edition.id, view.state, count),
        )
        return sorted(((number, -far) for number, far in rows), key=lambda one: (-one[1], one[0]))

    def _make(self) -> None:
        """One replica makes it, without keeping the others from writing; until it is there they sort."""
        with self._database.alone(f"index {self._name}") as alone, self._database.session() as session:
            row = session.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
            if row and tuple(map(int, row[0].split(".")[:2])) < _LEAST_PGVECTOR:
                raise StoreTooOld(row[0], ".".join(map(str, _LEAST_PGVECTOR)))
            valid = session.execute(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (self._name,)
            ).fetchone()
            if not alone or valid == (True,):
                return
            log.info("making the index %s of the passages' vectors", self._name)
            session.execute(f"DROP INDEX IF EXISTS {self._name}")  # of whoever was killed while making it
            session.execute(
                f"CREATE INDEX CONCURRENTLY {self._name} ON vectors USING hnsw (({self._typed}) halfvec_ip_ops) "
                f"WHERE {self._these}"
            )
