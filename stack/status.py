"""`make status`: what the overview's page shows, by the same `GET /overview`, and the last run of each Airflow DAG.

Standard library only: containers need no environment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

from stack.errors import StackError


class Stack(Protocol):
    """Processes or containers."""

    def overview(self) -> dict[str, Any]:
        """What the prediction service's `GET /overview` answers. Raises StackError."""

    def last_runs(self) -> list[dict[str, Any]]:
        """Airflow's newest run of each DAG. Raises StackError."""


def show(stack: Stack, as_json: bool) -> None:
    """Prints it. Raises StackError if the prediction service does not answer."""
    overview = stack.overview()
    try:
        runs, away = stack.last_runs(), ""
    except StackError as error:
        runs, away = [], f"  Airflow does not answer: {error}"
    if as_json:
        print(json.dumps({**overview, "dag_runs": runs}, indent=2))
        return
    print("\n".join(lines(overview)))
    print("\nLast run of each DAG")
    shown = [line(run["dag_id"], f"{run['state']}, {run['dag_run_id']}") for run in runs]
    print("\n".join(shown) or away or "  none yet")


def lines(overview: dict[str, Any]) -> Iterator[str]:
    """The tiles as text."""
    attention = ", ".join(overview["attention"])
    yield f"Needs attention: {attention}." if attention else "Nothing needs attention."
    for tile in overview["tiles"]:
        yield f"\n{tile['title']}"
        yield from [line(fact["name"], fact["text"], fact["bad"]) for fact in tile["facts"]]
        for trend in tile["trends"]:
            values = " ".join(f"{point['value']:.3g}" for point in trend["points"][-8:])
            yield line(trend["name"].partition(":")[0], f"of the last windows {values}; limit {trend['limit']:.3g}")
        if tile["away"]:
            yield f"  {tile['away']}"


def line(name: str, text: str, bad: bool = False) -> str:
    return f"{'!' if bad else ' '} {name:<24} {text}"
