"""A lane brings together what waits, urgent jobs first, and keeps one batch's failure from the others."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Sequence

import pytest

from rag_service.models.batching import Lane


class Work:
    """Doubles numbers; holds the first batch until it is let go, so that others have to wait."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.taken = threading.Semaphore(0)

    def __call__(self, jobs: Sequence[int]) -> list[int]:
        self.batches.append(list(jobs))
        self.begun.set()
        self.taken.release()
        assert self.go.wait(10)
        if 13 in jobs:
            raise ValueError("thirteen")
        return [2 * job for job in jobs]


def test_what_waits_becomes_one_batch_up_to_the_most_and_urgent_jobs_go_first() -> None:
    work = Work()
    lane = Lane("test", work, most=3)
    [first] = lane.submit([0])
    assert work.begun.wait(10)
    later = lane.submit([1, 2, 3, 4], urgent=False)
    urgent = [*lane.submit([5]), *lane.submit([6])]
    work.go.set()

    assert [future.result(10) for future in [first, *later, *urgent]] == [0, 2, 4, 6, 8, 10, 12]
    assert work.batches == [[0], [5, 6], [1, 2, 3], [4]]


def test_a_batch_is_as_large_as_its_jobs_together_and_one_too_large_goes_alone() -> None:
    work = Work()
    lane = Lane("test", work, most=10, size=lambda job: job)
    [first] = lane.submit([0])
    assert work.begun.wait(10)
    later = lane.submit([4, 6, 1, 99, 2])
    work.go.set()

    assert [future.result(10) for future in [first, *later]] == [0, 8, 12, 2, 198, 4]
    assert work.batches == [[0], [4, 6], [1], [99], [2]]


def test_nothing_is_waited_for_where_nothing_else_is_there() -> None:
    work = Work()
    work.go.set()
    lane = Lane("test", work, most=3)

    assert [lane.submit([number])[0].result(10) for number in (1, 2)] == [2, 4]
    assert work.batches == [[1], [2]]
    assert lane.submit([]) == []


def test_a_failure_belongs_to_its_batch_and_the_next_one_is_worked_on() -> None:
    work = Work()
    work.go.set()
    lane = Lane("test", work, most=3)
    [broken] = lane.submit([13])

    with pytest.raises(ValueError, match="thirteen"):
        broken.result(10)
    assert lane.submit([4])[0].result(10) == 8


def test_workers_share_what_waits_and_what_is_worked_on() -> None:
    work = Work()
    lane = Lane("test", work, most=9, workers=2)
    [first] = lane.submit([0])
    assert work.taken.acquire(timeout=10)
    later = lane.submit([1, 2, 3])
    assert work.taken.acquire(timeout=10)
    assert work.batches == [[0], [1, 2]]  # two of four jobs for each of the two workers
    work.go.set()

    assert [future.result(10) for future in [first, *later]] == [0, 2, 4, 6]
    assert work.batches == [[0], [1, 2], [3]]


def test_a_worker_waits_for_its_share_to_come_and_a_job_alone_for_nothing() -> None:
    work = Work()
    lane = Lane("test", work, most=9, workers=2, linger=60)
    begun = lane.submit([0, 1, 2])
    assert work.taken.acquire(timeout=10)
    begun += lane.submit([3])
    assert work.taken.acquire(timeout=10)
    assert work.batches == [[0, 1], [2, 3]]
    work.go.set()

    assert [future.result(10) for future in begun] == [0, 2, 4, 6]
    assert lane.submit([4])[0].result(10) == 8


def test_nothing_is_left_of_a_lane_that_nobody_holds() -> None:
    work = Work()
    work.go.set()
    lane = Lane("test-to-be-left", work, most=3)
    gone = weakref.ref(lane)
    assert lane.submit([1, 2])[1].result(10) == 4
    for thread in threading.enumerate():
        if thread.name == "test-to-be-left":
            thread.join(10)

    del lane

    gc.collect()
    assert gone() is None
