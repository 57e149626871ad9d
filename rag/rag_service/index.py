"""The FAISS index: derived from the store's vectors, held in memory, brought up to date before each search."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import faiss
import numpy
from numpy.typing import NDArray

Vectors = NDArray[numpy.float32]
_AT_ONCE = 10_000


class VectorSource(Protocol):
    """Where the vectors truly are."""

    def generation(self) -> int: ...
    def chunk_collections(self) -> dict[int, str]: ...
    def vectors(self, chunk_ids: Sequence[int]) -> Mapping[int, Vectors]: ...


class Index:
    """Exact inner-product search, one FAISS index for each collection.

    FAISS searches are safe beside each other but not beside a change; one lock keeps both apart.
    """

    def __init__(self, source: VectorSource, dimension: int) -> None:
        self._source = source
        self._dimension = dimension
        self._lock = threading.Lock()
        self._generation = -1
        self._held: dict[int, str] = {}
        self._indexes: dict[str, Any] = {}

    def search(self, collection: str, question: Vectors, count: int) -> list[tuple[int, float]]:
        """The nearest passages, best first: number and cosine. `question` is `(dimension,)` float32, of length one."""
        with self._lock:
            self._refresh()
            index = self._indexes.get(collection)
            if index is None:
                return []
            scores, ids = index.search(question.reshape(1, -1), count)
        return [(int(number), float(score)) for number, score in zip(ids[0], scores[0], strict=True) if number != -1]

    def size(self) -> int:
        """The number of passages after bringing the index up to date."""
        with self._lock:
            self._refresh()
            return len(self._held)

    def _refresh(self) -> None:
        """Takes over what changed in the store, by whichever process."""
        generation = self._source.generation()
        if generation == self._generation:
            return
        wanted = self._source.chunk_collections()
        for collection, ids in _by_collection(self._held, self._held.keys() - wanted.keys()).items():
            self._indexes[collection].remove_ids(numpy.array(ids, dtype=numpy.int64))
            if self._indexes[collection].ntotal == 0:
                del self._indexes[collection]
            for number in ids:
                del self._held[number]
        for collection, ids in _by_collection(wanted, wanted.keys() - self._held.keys()).items():
            for start in range(0, len(ids), _AT_ONCE):
                self._add(collection, ids[start : start + _AT_ONCE])
        # Read before the passages were: a change in between shows as a newer generation at the next search.
        self._generation = generation

    def _add(self, collection: str, ids: Sequence[int]) -> None:
        vectors = self._source.vectors(ids)
        if not vectors:
            return
        if collection not in self._indexes:
            self._indexes[collection] = faiss.IndexIDMap2(faiss.IndexFlatIP(self._dimension))
        self._indexes[collection].add_with_ids(
            numpy.stack(list(vectors.values())), numpy.array(list(vectors), dtype=numpy.int64)
        )
        self._held.update(dict.fromkeys(vectors, collection))


def _by_collection(collections: Mapping[int, str], ids: set[int]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = defaultdict(list)
    for number in sorted(ids):
        grouped[collections[number]].append(number)
    return grouped
