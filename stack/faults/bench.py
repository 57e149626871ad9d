"""The fault bench: trials by kind, in an order that a seed decides, and a table of what held.

`make faults [SEED=] [ONLY=words of kinds] [PART=0.1]`. The programs run as in `make run`, with ports and a state of
their own (var/faults); users' traffic goes on all the time. It ends with 1 where a promise did not hold.
"""

import math
import os
import sys
import time
from collections import Counter
from dataclasses import replace
from random import Random

import httpx
from rich.console import Console
from rich.table import Table

from stack import steps
from stack.e2e import free_ports
from stack.errors import ProgramFailed, StackError
from stack.faults.kinds import KINDS, Kind, runnable, signed_in
from stack.faults.truth import Document, Truth, Violation
from stack.faults.victims import Victims, victims
from stack.places import BY_HAND
from stack.settings import Settings, read_settings

FIRST_DOCUMENTS = 8
RUN_SECONDS = 1_800.0


def prepare(them: Victims, choose: Random) -> Truth:
    """Two versions of the model and some documents: what all trials begin with."""
    truth = Truth(them, them.settings.model_name)
    airflow = signed_in(truth)
    for trials in (1, 2):
        airflow.follow(airflow.trigger({"trials": trials, "gate": "off"}), RUN_SECONDS, lambda _: None)
    model = steps.content(truth.api.get("/model"))
    truth.row = steps.example_row(model)
    for version in ("1", "2"):
        truth.move_alias(version)
        truth.check()
    for _ in range(FIRST_DOCUMENTS):
        truth.give(Document.made(choose))
    truth.begin_traffic()
    truth.check()
    return truth


def plan(only: str, part: float, seed: int) -> list[Kind]:
    """The trials in their order: each kind as often as it says, times `part`."""
    chosen = [one for one in KINDS if not only or any(word in one.name for word in only.split(","))]
    trials = [one for one in chosen for _ in range(math.ceil(one.times * part))]
    Random(seed).shuffle(trials)
    return trials


def run(settings: Settings, trials: list[Kind], seed: int) -> int:
    """Tries all, says each as it ends, prints the table; the number of violations."""
    held, broken, left_out = Counter[str](), Counter[str](), Counter[str]()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    console = Console(highlight=False, soft_wrap=True)
    with victims(settings, settings.root / "var" / "faults") as them:
        truth = prepare(them, Random(seed))
        for number, one in enumerate(trials):
            began, said = time.monotonic(), "held"
            if why := runnable(one, them.small_disk):
                left_out[one.name] += 1
                console.print(f"{number + 1:>4} {one.name}: not tried, {why}", markup=False)
                continue
            try:
                one.trial(truth, Random(f"{seed}-{number}"))
                truth.check()
                held[one.name] += 1
            except (Violation, StackError, httpx.TransportError) as error:
                broken[one.name] += 1
                said = f"VIOLATION: {error}"
                if isinstance(error, ProgramFailed):
                    said += f"\n{error.tail}"
            console.print(f"{number + 1:>4} {one.name} ({time.monotonic() - began:.1f} s): {said}", markup=False)
            if them.lost:
                break
        truth.end()
    table = Table(title=f"Faults, seed {seed}", title_justify="left")
    for column in ("kind", "trials", "violations", "not tried"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for name in dict.fromkeys(one.name for one in KINDS):
        if held[name] + broken[name] + left_out[name]:
            table.add_row(name, *(str(n) for n in (held[name] + broken[name], broken[name], left_out[name])))
    table.add_row("together", *(str(c.total()) for c in (held + broken, broken, left_out)))
    console.print(table)
    return broken.total()


def main() -> int:
    """0 where every promise held."""
    seed = int(os.environ.get("SEED") or 1)
    trials = plan(os.environ.get("ONLY", ""), float(os.environ.get("PART") or 1), seed)
    settings = read_settings()
    environment = {**settings.environment, **BY_HAND, "PIPELINES_DIR": "pipelines"}
    settings = replace(settings, ports=free_ports(), environment=environment)
    try:
        return 1 if run(settings, trials, seed) else 0
    except StackError as error:
        print(f"faults: {error}\n  hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("faults: interrupted; everything is stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
