"""What a trial is, and what several kinds of fault need."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from stack.errors import StepFailed
from stack.faults.truth import Truth, Violation
from stack.http_client import content

RUN_SECONDS = 1_800.0
POLL_SECONDS = 1.0
Trial = Callable[[Truth[Any], Random], None]


@dataclass(frozen=True)
class Kind:
    """`times`: how many trials of it a whole run has."""

    name: str
    times: int
    trial: Trial


def kind(kinds: list[Kind], name: str, times: int) -> Callable[[Trial], Trial]:
    """Adds a trial to `kinds`."""

    def add(trial: Trial) -> Trial:
        kinds.append(Kind(name, times, trial))
        return trial

    return add


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Does `work` in a thread while the `with` lasts, and waits for its end; it may be refused."""
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work)
        yield
        with suppress(StepFailed):
            result.result()


def change_model(truth: Truth[Any], choose: Random) -> None:
    """Lets another version serve."""
    truth.move_alias(choose.choice([one for one in ("1", "2") if one != truth.alias()]))


def exchange(truth: Truth[Any]) -> None:
    """Lets a copy of the collection take its place."""
    for step in ("next", "promote"):
        content(truth.rag.post(f"/collections/default/{step}"))


def run_ends_well(truth: Truth[Any], choose: Random, kill: Callable[[], bool], what: str) -> None:
    """Starts a training and calls `kill` until it has found what to kill. Raises Violation where the run fails."""
    airflow = truth.target.airflow()
    run_id = airflow.trigger({"trials": choose.randrange(3, 20), "gate": "off"})
    time.sleep(choose.uniform(2, 40))
    deadline = time.monotonic() + RUN_SECONDS
    killed, state = False, ""
    while time.monotonic() < deadline and state not in ("success", "failed"):
        killed = killed or kill()
        time.sleep(POLL_SECONDS)
        with suppress(StepFailed):  # it may be away for a while
            state = truth.target.airflow().state(run_id)
    if state != "success":
        log = truth.target.airflow().failed_log(run_id)
        raise Violation(f"{what} killed: the run {state or 'cannot be seen'} after {RUN_SECONDS:.0f} s at most\n{log}")
    if not killed:  # the run was quicker: nothing was tried
        run_ends_well(truth, choose, kill, what)
