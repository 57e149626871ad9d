"""What waits is worked on together: one thread, batches of whatever is there, no waiting for a batch to fill."""

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
    """A queue with one thread behind it that calls `work` with as many jobs as together are no larger than `most`, or
    with a single one.

    Urgent jobs go before all others and are never mixed with them, so that one waits at most for the batch that is
    being worked on. How many jobs wait is bounded by who submits: each submitter waits for its results.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Job]], Sequence[Result]],
        most: int,
        size: Callable[[Job], int] = lambda _: 1,
    ) -> None:
        self._work = work
        self._size = size
        self._most = most
        self._order = itertools.count()
        self._waiting: list[tuple[bool, int, Job, Future[Result]]] = []
        self._ready = threading.Condition()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, jobs: Sequence[Job], urgent: bool = True) -> list[Future[Result]]:
        """One future for each job."""
        entries = [(not urgent, next(self._order), job, Future[Result]()) for job in jobs]
        with self._ready:
            for entry in entries:
                heapq.heappush(self._waiting, entry)
            self._ready.notify()
        return [future for *_, future in entries]

    def _run(self) -> None:
        while True:
            jobs, futures = self._take()
            try:
                for future, result in zip(futures, self._work(jobs), strict=True):
                    future.set_result(result)
            except Exception as error:  # belongs to those who wait for these jobs; the next batch is another matter
                for future in futures:
                    if not future.done():
                        future.set_exception(error)

    def _take(self) -> tuple[list[Job], list[Future[Result]]]:
        with self._ready:
            self._ready.wait_for(lambda: self._waiting)
            taken = [heapq.heappop(self._waiting)]
            room = self._most - self._size(taken[0][2])
            while self._waiting and self._waiting[0][0] == taken[0][0] and self._size(self._waiting[0][2]) <= room:
                taken.append(heapq.heappop(self._waiting))
                room -= self._size(taken[-1][2])
        return [job for _, _, job, _ in taken], [future for *_, future in taken]
