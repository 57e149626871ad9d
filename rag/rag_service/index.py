"""The FAISS index: derived from the store's vectors, held in memory, brought up to date before each search."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy
from numpy.typing import NDArray

from rag_service.index_cache import IndexCache

Vectors = NDArray[numpy.float32]
Numbers = NDArray[numpy.int64]

# Up to so many vectors are compared one by one, as half floats: a third of the time that whole ones take. Beyond, only
# those in the lists nearest to the question are, of so many lists, and so many of them; in lists a number takes one
# byte. All measured: docs/decisions.md.
FLAT_LIMIT = 100_000
LISTS = 1024
PROBES = 24
# FAISS asks for at least 39 vectors a list to learn where lists belong; more of them changed nothing.
_LEARN_FROM = 64
_AT_ONCE = 10_000

log = logging.getLogger(__name__)


class VectorSource(Protocol):
    """Where the vectors truly are."""

    def generation(self) -> int: ...
    def store_id(self) -> str: ...
    def passage_numbers(self) -> Mapping[str, Numbers]: ...
    def vectors(self, chunk_ids: Sequence[int]) -> Mapping[int, Vectors]: ...


class Index:
    """Inner-product search, one FAISS index for each collection: of all while it is small, by lists when it is large.

    FAISS searches are safe beside each other but not beside a change; one lock keeps both apart. An index that has
    grown large is rebuilt in the background, and goes on answering until the new one is there.
    """

    def __init__(
        self, source: VectorSource, dimension: int, cache: Path | None = None, flat_limit: int = FLAT_LIMIT
    ) -> None:
        """`cache` is a folder where large indexes are kept, so that the next start need not learn their lists."""
        self._source = source
        self._dimension = dimension
        self._flat_limit = flat_limit
        self._cache = IndexCache(cache, dimension) if cache else None
        self._lock = threading.Lock()
        self._generation = -1
        self._held: dict[str, Numbers] = {}
        self._indexes: dict[str, Any] = {}
        self._changed: set[str] = set()  # not as the cache has it
        self._rebuilding: threading.Thread | None = None

    def search(
        self, collection: str, question: Vectors, count: int, only: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """The nearest passages, best first: number and cosine, to about three places. `question` is `(dimension,)`
        float32, of length one; `only`: among these passages and no other."""
        with self._lock:
            self._refresh()
            index = self._indexes.get(collection)
            if index is None:
                return []
            chosen = None if only is None else faiss.IDSelectorBatch(numpy.array(only, dtype=numpy.int64))
            scores, ids = index.search(question.reshape(1, -1), count, params=_parameters(index, chosen))
        return [(int(number), float(score)) for number, score in zip(ids[0], scores[0], strict=True) if number != -1]

    def size(self) -> int:
        """The number of passages after bringing the index up to date."""
        with self._lock:
            self._refresh()
            return sum(len(numbers) for numbers in self._held.values())

    def close(self) -> None:
        """Waits for a rebuilding, and keeps what changed of the large indexes for the next start."""
        rebuilding = self._rebuilding  # which may end, and be None, at any moment
        if rebuilding is not None:
            rebuilding.join()
        with self._lock:
            for collection in self._changed:
                self._keep(collection)
            self._changed.clear()

    def _refresh(self) -> None:
        """Takes over what changed in the store, by whichever process."""
        generation = self._source.generation()
        if generation == self._generation:
            return
        wanted = self._source.passage_numbers()
        for collection in [*self._indexes]:
            if collection not in wanted:
                del self._indexes[collection], self._held[collection]
                self._changed.discard(collection)
        for collection, numbers in wanted.items():
            if collection not in self._indexes:
                self._indexes[collection], self._held[collection] = self._found_or_made(collection, numbers)
            self._follow(collection, numbers)
        # Read before the passages were: a change in between shows as a newer generation at the next search.
        self._generation = generation

    def _follow(self, collection: str, numbers: Numbers) -> None:
        """Takes out what is not among the numbers, and in what is new. No number ever stands for another passage."""
        index, held = self._indexes[collection], self._held[collection]
        gone = numpy.setdiff1d(held, numbers, assume_unique=True)
        new = numpy.setdiff1d(numbers, held, assume_unique=True)
        if len(gone):
            index.remove_ids(gone)
        self._fill(index, new)
        self._held[collection] = numbers
        if not _is_flat(index):
            self._changed.update([collection] if len(gone) or len(new) else [])
        elif index.ntotal > self._flat_limit and self._rebuilding is None:
            self._rebuilding = threading.Thread(
                target=self._rebuild, args=(collection, numbers), name="rebuild-index", daemon=True
            )
            self._rebuilding.start()

    def _found_or_made(self, collection: str, numbers: Numbers) -> tuple[Any, Numbers]:
        """The kept index of a large collection, else a new one that is still empty; and the passages in it."""
        nothing = numpy.zeros(0, dtype=numpy.int64)
        if len(numbers) <= self._flat_limit:
            halves = faiss.ScalarQuantizer.QT_fp16
            flat = faiss.IndexScalarQuantizer(self._dimension, halves, faiss.METRIC_INNER_PRODUCT)
            return faiss.IndexIDMap2(flat), nothing
        kept = self._cache.read(collection, self._source.store_id()) if self._cache else None
        if kept is not None:
            return kept, numpy.sort(_numbers_in(kept))
        self._changed.add(collection)
        return self._lists(numbers), nothing

    def _lists(self, numbers: Numbers) -> Any:
        """An empty index of lists that has learnt from a sample of the vectors where its lists belong."""
        count = min(LISTS, max(1, len(numbers) // _LEARN_FROM))
        index = faiss.index_factory(self._dimension, f"IVF{count},SQ8", faiss.METRIC_INNER_PRODUCT)
        sample = numpy.random.default_rng(0).permutation(numbers)[: count * _LEARN_FROM]
        index.train(numpy.stack(list(self._source.vectors(sample.tolist()).values())))
        return index

    def _fill(self, index: Any, numbers: Numbers) -> None:
        for start in range(0, len(numbers), _AT_ONCE):
            vectors = self._source.vectors(numbers[start : start + _AT_ONCE].tolist())
            if vectors:
                index.add_with_ids(numpy.stack(list(vectors.values())), numpy.array(list(vectors), dtype=numpy.int64))

    def _rebuild(self, collection: str, numbers: Numbers) -> None:
        """Replaces an index that has grown large. What changes meanwhile is taken over afterwards."""
        try:
            index = self._lists(numbers)
            self._fill(index, numbers)
            with self._lock:
                self._indexes[collection], self._held[collection] = index, numbers
                self._changed.add(collection)
                self._generation = -1
            log.info("the index of %s compares by lists now: %d passages", collection, len(numbers))
        except Exception:  # the old index goes on answering; the next change tries again
            log.exception("the index of %s could not be rebuilt", collection)
        finally:
            self._rebuilding = None

    def _keep(self, collection: str) -> None:
        if self._cache is not None:
            self._cache.write(collection, self._source.store_id(), self._indexes[collection])


def _is_flat(index: Any) -> bool:
    return isinstance(index, faiss.IndexIDMap2)


def _parameters(index: Any, chosen: Any) -> Any:
    # FAISS's annotations know nothing of the keywords that its classes take.
    if _is_flat(index):
        return faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
    # Few of the chosen passages may lie in the nearest lists: then all lists are looked through.
    return faiss.SearchParametersIVF(nprobe=PROBES if chosen is None else index.nlist, sel=chosen)  # type: ignore[call-arg]


def _numbers_in(index: Any) -> Numbers:
    lists = index.invlists
    sizes = [(place, lists.list_size(place)) for place in range(index.nlist)]
    parts = [faiss.rev_swig_ptr(lists.get_ids(place), size).copy() for place, size in sizes if size]
    return numpy.concatenate(parts) if parts else numpy.zeros(0, dtype=numpy.int64)
