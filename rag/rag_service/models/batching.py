"""What waits is worked on together: batches of whatever is there."""

from __future__ import annotations

import heapq
import itertools
import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

# A model's batches are worked on side by side, each by one thread: two threads on one batch wait for each other at each
# of its many small steps (docs/speed.md). Each batch has its own buffers, so the number is bounded.
WORKERS = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class Lane(Generic[Job, Result]):
    """A queue whose jobs `work` gets, as many at once as together are no larger than `most`, or a single one;
    `workers` threads call it side by side, and share what waits.

    Urgent jobs go before all others and are never mixed with them, so that one waits at most for the batches that are
    being worked on. A worker takes its share of all jobs, those that others work on included; where less than that
    waits, it waits `linger` seconds for more, so that a job alone is never kept waiting. How many jobs wait is bounded
    by who submits: each submitter waits for its results. There is a thread only while there is work, so that a model
    that nobody holds any more is gone.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Job]], Sequence[Result]],
        most: int,
        size: Callable[[Job], int] = lambda _: 1,
        workers: int = 1,
        linger: float = 0.0,
    ) -> None:
        self._name = name
        self._work = work
        self._most = most
        self._size = size
        self._workers = workers
        self._linger = linger
        self._order = itertools.count()
        self._waiting: list[tuple[bool, int, Job, Future[Result]]] = []
        self._threads = self._worked_on = 0
        self._changed = threading.Condition()

    def submit(self, jobs: Sequence[Job], urgent: bool = True) -> list[Future[Result]]:
        """One future for each job."""
        with self._changed:
            entries = [(not urgent, next(self._order), job, Future[Result]()) for job in jobs]
            for entry in entries:
                heapq.heappush(self._waiting, entry)
            self._changed.notify_all()
            wanted = min(self._workers, self._worked_on + len(self._waiting))
            for _ in range(self._threads, wanted):
                self._threads += 1
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
            with self._changed:
                self._worked_on -= len(batch)
                self._changed.notify_all()

    def _take(self) -> list[tuple[bool, int, Job, Future[Result]]]:
        """The next batch; if there is none, the thread has ended, and the next submission starts one."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) >= self._share() or not self._waiting, self._linger)
            if not self._waiting:
                self._threads -= 1
                return []
            share = self._share()
            taken = [heapq.heappop(self._waiting)]
            room = self._most - self._size(taken[0][2])
            while len(taken) < share and self._waiting:
                urgent, _, job, _ = self._waiting[0]
                if urgent != taken[0][0] or self._size(job) > room:
                    break
                taken.append(heapq.heappop(self._waiting))
                room -= self._size(job)
            self._worked_on += len(taken)
            return taken

    def _share(self) -> int:
        return math.ceil((len(self._waiting) + self._worked_on) / self._workers)
