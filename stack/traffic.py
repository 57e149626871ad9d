"""Requests as users would send them: windows of rows with their later truth, and a steady stream that counts faults."""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import cycle
from types import TracebackType
from typing import Any

import httpx

from stack.errors import NoAnswer
from stack.http_client import content

Row = Mapping[str, Any]


def send_labelled(api: httpx.Client, rows: Sequence[Row], target: str) -> int:
    """Asks for a prediction of each row, and tells the truth (`target`) right after. Gives the number of rows.

    Raises StepFailed at the first that is refused.
    """
    for row in rows:
        features = {name: value for name, value in row.items() if name != target}
        answer = content(api.post("/predict", json=features))
        content(api.post("/feedback", json={"id": answer["id"], "actual": row[target]}))
    return len(rows)


class SteadyTraffic:
    """A background stream of single predictions at `path`, `rate` a second, for as long as the `with` lasts.

    `versions` counts the answers by the version that gave them; `faults` holds what was not answered with 200.
    """

    def __init__(self, api: httpx.Client, rows: Sequence[Row], rate: float, path: str = "/predict") -> None:
        self._api, self._rows, self._pause, self._path = api, rows, 1 / rate, path
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self.versions: Counter[str] = Counter()
        self.faults: list[str] = []

    def __enter__(self) -> "SteadyTraffic":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _send(self) -> None:
        due = time.monotonic()
        for row in cycle(self._rows):
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return
            due += self._pause
            self._ask(row)

    def _ask(self, row: Row) -> None:
        try:
            answer = self._api.post(self._path, json=dict(row))
        except NoAnswer as error:
            self.faults.append(error.kind)
            return
        if answer.status_code == httpx.codes.OK:
            self.versions[answer.json()["model"]["version"]] += 1
        else:
            self.faults.append(f"{answer.status_code} {answer.text[:200]}")
