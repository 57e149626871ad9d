"""The FAISS index: derived from the store's vectors, held in memory, brought up to date before each search."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import numpy

from rag_service.store.protocol import Change, Numbers, Store, Vectors, View

# Up to FLAT_LIMIT vectors are compared one by one, as half floats: a third of the time that whole ones take. Beyond,
# they stand in LISTS lists, one byte a number, and those of the PROBES lists nearest to the question are compared. All
# measured: docs/decisions/indexes.md.
FLAT_LIMIT = 100_000
LISTS = 1024
PROBES = 24
# FAISS asks for at least 39 vectors a list to learn where lists belong; more of them changed nothing.
_LEARN_FROM = 64
_AT_ONCE = 10_000

log = logging.getLogger(__name__)


@dataclass
class _Held:
    """The index of one state, as it was after the store's change `change`; None until it is made. `kept`: the cache has
    it so. FAISS searches are safe beside each other but not beside a change: `lock` keeps both apart."""

    view: View
    index: Any = None
    change: int = 0
    kept: bool = False
    rebuilding: threading.Thread | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Index:
    """Inner-product search, one FAISS index for each state: of all while it is small, by lists when it is large.

    An index that has grown large is rebuilt in the background, and the old one answers until the new one is there.
    While the first index of a large state is made, who asks that state waits, and nobody else.
    """

    def __init__(self, store: Store, dimension: int, cache: Path | None = None, flat_limit: int = FLAT_LIMIT) -> None:
        """`cache` is a folder where large indexes are kept, so that the next start need not learn their lists."""
        self._store = store
        self._dimension = dimension
        self._flat_limit = flat_limit
        self._cache = _Cache(cache, dimension, store.store_id()) if cache else None
        self._held: dict[int, _Held] = {}
        self._lock = threading.Lock()  # of the table of states, never held for long

    def search(
        self, view: View, question: Vectors, count: int, only: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """See VectorIndex."""
        held = self._of(view)
        with held.lock:
            index = self._current(held)
            chosen = None if only is None else faiss.IDSelectorBatch(numpy.array(only, dtype=numpy.int64))
            scores, ids = index.search(question.reshape(1, -1), count, params=_parameters(index, chosen))
        return [(int(number), float(score)) for number, score in zip(ids[0], scores[0], strict=True) if number != -1]

    def size(self, view: View) -> int:
        """The number of passages after bringing the index up to date."""
        held = self._of(view)
        with held.lock:
            return int(self._current(held).ntotal)

    def close(self) -> None:
        """Waits for a rebuilding, and keeps what changed of the large indexes for the next start."""
        with self._lock:
            all_held = list(self._held.values())
        for held in all_held:
            if (rebuilding := held.rebuilding) is not None:  # it may end, and be None, at any moment
                rebuilding.join()
            with held.lock:
                if self._cache is not None and not held.kept and held.index is not None and not _is_flat(held.index):
                    self._cache.write(held.view.state, held.index)
                    held.kept = True
        if self._cache is not None:
            self._cache.forget_all_but(self._named())

    def _of(self, view: View) -> _Held:
        """What is held of the view's state; for a new state, nothing yet, and states without a name are let go."""
        with self._lock:
            if view.state not in self._held:
                for state in self._held.keys() - self._named():
                    del self._held[state]
                self._held[view.state] = _Held(view)
            return self._held[view.state]

    def _current(self, held: _Held) -> Any:
        """The index of the state, after taking over what changed in the store, by whichever process."""
        change = self._store.change()  # read first: a change in between shows as a higher number at the next search
        changes: Sequence[Change] | None = None
        if held.index is not None:
            changes = self._store.changes(held.view.state, held.change) if held.change != change else []
        if changes is None:
            self._make(held)
        elif changes:
            self._follow(held, changes)
        held.change = change
        if _is_flat(held.index) and held.index.ntotal > self._flat_limit and held.rebuilding is None:
            held.rebuilding = threading.Thread(target=self._rebuild, args=(held,), name="rebuild-index", daemon=True)
            held.rebuilding.start()
        return held.index

    def _follow(self, held: _Held, changes: Sequence[Change]) -> None:
        """At once, as FAISS looks through the whole index for what is to be removed."""
        there = {number: not one.removed for one in changes for number in range(one.first, one.last + 1)}
        held.index.remove_ids(numpy.array(list(there), dtype=numpy.int64))
        self._fill(held.index, numpy.array([number for number in there if there[number]], dtype=numpy.int64))
        held.kept = False

    def _named(self) -> set[int]:
        return {self._store.view(name).state for name in self._store.collections()}

    def _make(self, held: _Held) -> None:
        """Takes the kept index of a large collection, brought up to date, else a new one."""
        numbers = self._store.passage_numbers(held.view)
        kept = self._cache.read(held.view.state) if self._cache and len(numbers) > self._flat_limit else None
        if kept is not None:
            there = numpy.sort(_numbers_in(kept))
            gone = numpy.setdiff1d(there, numbers, assume_unique=True)
            if len(gone):
                kept.remove_ids(gone)
            new = numpy.setdiff1d(numbers, there, assume_unique=True)
            self._fill(kept, new)
            held.index, held.kept = kept, not len(gone) and not len(new)
            return
        if len(numbers) <= self._flat_limit:
            halves = faiss.ScalarQuantizer.QT_fp16
            index = faiss.IndexIDMap2(faiss.IndexScalarQuantizer(self._dimension, halves, faiss.METRIC_INNER_PRODUCT))
        else:
            index = self._lists(numbers)
        self._fill(index, numbers)
        held.index, held.kept = index, False

    def _lists(self, numbers: Numbers) -> Any:
        """An empty index of lists that has learnt from a sample of the vectors where its lists belong."""
        count = min(LISTS, max(1, len(numbers) // _LEARN_FROM))
        index = faiss.index_factory(self._dimension, f"IVF{count},SQ8", faiss.METRIC_INNER_PRODUCT)
        sample = numpy.random.default_rng(0).permutation(numbers)[: count * _LEARN_FROM]
        index.train(numpy.stack([one.vector for one in self._store.vectors(sample.tolist()).values()]))
        return index

    def _fill(self, index: Any, numbers: Numbers) -> None:
        for start in range(0, len(numbers), _AT_ONCE):
            stored = self._store.vectors(numbers[start : start + _AT_ONCE].tolist())
            if stored:
                vectors = numpy.stack([one.vector for one in stored.values()])
                index.add_with_ids(vectors, numpy.array(list(stored), dtype=numpy.int64))

    def _rebuild(self, held: _Held) -> None:
        """Replaces an index that has grown large. What changes meanwhile is taken over afterwards."""
        try:
            change = self._store.change()
            numbers = self._store.passage_numbers(held.view)
            index = self._lists(numbers)
            self._fill(index, numbers)
            with held.lock:
                held.index, held.change, held.kept = index, change, False
            log.info("the index of %s compares by lists now: %d passages", held.view.collection, len(numbers))
        except Exception:  # the old index still answers; the next search tries again
            log.exception("the index of %s could not be rebuilt", held.view.collection)
        finally:
            held.rebuilding = None


class _Cache:
    """Large indexes as files. What does not match, or was damaged, is not read."""

    def __init__(self, folder: Path, dimension: int, store: str) -> None:
        self._folder = folder
        self._facts = {"store": store, "dimension": dimension, "faiss": faiss.__version__}

    def read(self, state: int) -> Any | None:
        """The kept index of a state, if there is one that is whole."""
        index, description = self._paths(state)
        try:
            if json.loads(description.read_text()) == self._described(index):
                return faiss.read_index(str(index))
        except (OSError, ValueError, RuntimeError):
            log.info("no usable index is kept for state %d", state)
        return None

    def write(self, state: int, content: Any) -> None:
        """Keeps an index. A kill half-way leaves the old one, or one that does not match and is not read."""
        index, description = self._paths(state)
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("ab") as file:  # several replicas may share the folder
            fcntl.flock(file, fcntl.LOCK_EX)
            partial = index.with_suffix(".part")
            faiss.write_index(content, str(partial))
            partial.replace(index)
            partial.write_text(json.dumps(self._described(index)))
            partial.replace(description)

    def forget_all_but(self, states: Collection[int]) -> None:
        """Deletes the files of other states."""
        for file in self._folder.glob("*.*"):
            if file.stem not in map(str, states):
                file.unlink(missing_ok=True)

    def _paths(self, state: int) -> tuple[Path, Path]:
        return self._folder / f"{state}.faiss", self._folder / f"{state}.json"

    def _described(self, index: Path) -> dict[str, Any]:
        with index.open("rb") as file:
            return {**self._facts, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _is_flat(index: Any) -> bool:
    return isinstance(index, faiss.IndexIDMap2)


def _parameters(index: Any, chosen: Any) -> Any:
    # FAISS's annotations know nothing of the keywords that its classes take.
    if _is_flat(index):
        return faiss.SearchParameters(sel=chosen)  # type: ignore[call-arg]
    # Few of the chosen passages may lie in the nearest lists: then all lists are looked through.
    return faiss.SearchParametersIVF(nprobe=PROBES if chosen is None else index.nlist, sel=chosen)  # type: ignore[call-arg]


def _numbers_in(index: Any) -> Numbers:
    """The numbers of the passages in an index of lists."""
    lists = index.invlists
    sizes = [(place, lists.list_size(place)) for place in range(index.nlist)]
    parts = [faiss.rev_swig_ptr(lists.get_ids(place), size).copy() for place, size in sizes if size]
    return numpy.concatenate(parts) if parts else numpy.zeros(0, dtype=numpy.int64)
