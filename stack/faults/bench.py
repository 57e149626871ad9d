"""The fault bench: trials by kind, in an order that a seed decides, and a table of what held.

`make faults [SEED=] [ONLY=words of kinds] [PART=0.1]`. First the programs of `make run`, then, where an engine answers,
the containers of the production stack; each with a state of its own, and users' traffic all the time. It ends with 1
where a promise did not hold.
"""

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from stack.chapters import example_row
from stack.compose import check_engine
from stack.errors import EngineMissing, ProgramFailed, StackError, guarded
from stack.faults import container_kinds, process_kinds
from stack.faults.container_stack import containers_to_break
from stack.faults.process_stack import programs_to_break
from stack.faults.trial import RUN_SECONDS, Kind
from stack.faults.truth import Document, Truth, Violation
from stack.http_client import content
from stack.settings import Settings, read_settings

FIRST_DOCUMENTS = 8
ALL = (*process_kinds.KINDS, *container_kinds.KINDS)


@dataclass
class Results:
    """How many trials of each kind held, did not, and could not be tried."""

    held: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    number: int = 0

    def say(self, one: Kind, count: Counter[str], what: str) -> None:
        """Counts a trial and says how it ended."""
        self.number += 1
        count[one.name] += 1
        self.console.print(f"{self.number:>4} {one.name}: {what}", markup=False)

    def print_table(self, seed: int) -> None:
        """All kinds that were planned."""
        table = Table(title=f"Faults, seed {seed}", title_justify="left")
        for column in ("kind", "trials", "violations", "not tried"):
            table.add_column(column, justify="left" if column == "kind" else "right")
        tried = self.held + self.broken
        for one in ALL:
            if tried[one.name] + self.left_out[one.name]:
                counts = (tried[one.name], self.broken[one.name], self.left_out[one.name])
                table.add_row(one.name, *map(str, counts))
        table.add_row("together", *(str(count.total()) for count in (tried, self.broken, self.left_out)))
        self.console.print(table)


def prepare(target: Any, choose: Random, model: str) -> Truth[Any]:
    """Two versions of the model and some documents: what all trials begin with."""
    truth = Truth(target, model)
    airflow = target.airflow()
    for trials in (1, 2):
        airflow.follow(airflow.trigger({"trials": trials, "gate": "off"}), RUN_SECONDS, lambda _: None)
    truth.row = example_row(content(truth.api.get("/model")))
    for version in ("1", "2"):
        truth.move_alias(version)
        truth.check()
    for _ in range(FIRST_DOCUMENTS):
        truth.give(Document.made(choose))
    truth.begin_traffic()
    truth.check()
    return truth


def plan(kinds: Sequence[Kind], only: str, part: float, seed: int) -> list[Kind]:
    """The trials in their order: each kind as often as it says, times `part`."""
    chosen = [one for one in kinds if not only or any(word in one.name for word in only.split(","))]
    trials = [one for one in chosen for _ in range(math.ceil(one.times * part))]
    Random(seed).shuffle(trials)
    return trials


def run(
    start: Callable[[Settings], AbstractContextManager[Any]],
    settings: Settings,
    trials: list[Kind],
    seed: int,
    results: Results,
) -> None:
    """Tries all, as far as the target can be brought back to life, and says each as it ends."""
    with start(settings) as target:
        truth = prepare(target, Random(seed), settings.model_name)
        for number, one in enumerate(trials):
            if why := process_kinds.runnable(one, target):
                results.say(one, results.left_out, f"not tried, {why}")
                continue
            began = time.monotonic()
            try:
                one.trial(truth, Random(f"{seed}-{number}"))
                truth.check()
            except (Violation, StackError) as error:
                said = f"VIOLATION after {time.monotonic() - began:.1f} s: {error}"
                if isinstance(error, ProgramFailed):
                    said += f"\n{error.tail}"
                results.say(one, results.broken, said)
            else:
                results.say(one, results.held, f"held, {time.monotonic() - began:.1f} s")
            if target.lost:
                break
        truth.end()


def main() -> int:
    """0 where every promise held."""
    seed, part, only = int(os.environ.get("SEED") or 1), float(os.environ.get("PART") or 1), os.environ.get("ONLY", "")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    results = Results()

    def work() -> int:
        settings = read_settings()
        if trials := plan(process_kinds.KINDS, only, part, seed):
            run(programs_to_break, settings, trials, seed, results)
        if trials := plan(container_kinds.KINDS, only, part, seed):
            try:
                check_engine(settings.root, settings.environment)
            except EngineMissing as error:
                for one in trials:
                    results.say(one, results.left_out, f"not tried, {error}")
            else:
                run(containers_to_break, settings, trials, seed, results)
        results.print_table(seed)
        return 1 if results.broken else 0

    return guarded(work, "faults")


if __name__ == "__main__":
    sys.exit(main())
