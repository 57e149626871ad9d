"""What waits is worked on together: batches of whatever is there, and no waiting for one to fill."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Lane(Generic[Job, Result]):
    """A queue whose jobs `work` gets, as many at once as together are no larger than `most`, or a single one.

    Urgent jobs go before all others and are never mixed with them, so that one waits at most for the batch that is
    being worked on. How many jobs wait is bounded by who submits: each submitter waits for its results. There is a
    thread only while there is work, so that a model that nobody holds any more is gone.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Job]], Sequence[Result]],
        most: int,
        size: Callable[[Job], int] = lambda _: 1,
    ) -> None:
        self._name = name
        self._work = work
        self._most = most
        self._size = size
        self._order = itertools.count()
        self._waiting: list[tuple[bool, int, Job, Future[Result]]] = []
        self._working = False
        self._lock = threading.Lock()

    def submit(self, jobs: Sequence[Job], urgent: bool = True) -> list[Future[Result]]:
        """One future for each job."""
        with self._lock:
            entries = [(not urgent, next(self._order), job, Future[Result]()) for job in jobs]
            for entry in entries:
                heapq.heappush(self._waiting, entry)
            if entries and not self._working:
                self._working = True
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return [future for *_, future in entries]

    def _run(self) -> None:
        while batch := self._take():
            futures = [future for *_, future in batch]
            try:
                for future, result in zip(futures, self._work([job for _, _, job, _ in batch]), strict=True):
                    future.set_result(result)
            except Exception as error:  # belongs to those who wait for these jobs; the next batch is another matter
                for future in futures:
                    if not future.done():
                        future.set_exception(error)

    def _take(self) -> list[tuple[bool, int, Job, Future[Result]]]:
        """The next batch; where there is none, the thread has ended for whoever submits next."""
        with self._lock:
            if not self._waiting:
                self._working = False
                return []
            taken = [heapq.heappop(self._waiting)]
            room = self._most - self._size(taken[0][2])
            while self._waiting and self._waiting[0][0] == taken[0][0] and self._size(self._waiting[0][2]) <= room:
                taken.append(heapq.heappop(self._waiting))
                room -= self._size(taken[-1][2])
            return taken
