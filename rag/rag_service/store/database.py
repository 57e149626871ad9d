"""What a database must do for the store: transactions, and the few things that each has its own words for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import Any, Protocol

from rag_service.store.protocol import Stored, Vectors, View
from rag_service.types import Span


class Rows(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Transaction(Protocol):
    """Statements are in the SQL that both databases speak, with `?` for each parameter. A list is a parameter after
    `among`: `WHERE id{among}`."""

    among: str

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> Rows: ...

    def put_chunk(
        self, document: int, edition: int, span: Span, text: str, vector: Vectors, signs: bytes, terms: Sequence[str]
    ) -> None:
        """Stores a passage of a document."""

    def vectors(self, numbers: Sequence[int]) -> dict[int, Stored]: ...

    # The words of a state: its statistics are that collection's alone.
    def add_words(self, state: int, edition: int, document: int | None = None) -> None:
        """Of a document that came into the state, or of all that are in it."""

    def remove_words(self, state: int, first: int, last: int) -> None: ...

    def drop_words(self, state: int) -> None: ...

    def lexical(
        self, view: View, terms: Sequence[str], count: int, only: Sequence[int] | None
    ) -> list[tuple[int, float]]:
        """See Store.lexical."""


class Database(Protocol):
    def reading(self) -> AbstractContextManager[Transaction]:
        """The store as it is at the first statement, whatever is written meanwhile."""

    def writing(self) -> AbstractContextManager[Transaction]:
        """Everything or nothing, one writer after the other, whichever process they are in."""

    def alone(self, task: str) -> AbstractContextManager[bool]:
        """See Store.alone."""

    def close(self) -> None: ...


# The passages that a query may match: each takes one to three microseconds.
MOST_ROWS = 1500


def rarest(counts: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Of terms with the number of passages that hold each, the rarest, which not much more than `MOST_ROWS` passages
    hold together, and all that any holds. Where the first are none, each is in more passages than that, and a query
    asks for all of them together."""
    held = sorted((term for term in counts if counts[term]), key=lambda term: counts[term])
    totals = accumulate(counts[term] for term in held)
    return [term for term, total in zip(held, totals, strict=True) if total <= MOST_ROWS], held
