"""What was predicted, and what was told later to be true: lines of JSON, written by a thread in the background.

A request only puts a tuple into memory. Where the thread cannot write, rows are dropped and counted; serving goes on.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from pydantic_core import to_json

from prediction_api.errors import FeedbackNotKept
from prediction_api.models.predictor import Prediction, Row
from prediction_api.models.store import LiveModel
from prediction_api.telemetry.events import log_event
from prediction_api.telemetry.log_files import LogFiles
from prediction_api.telemetry.metrics import Metrics

FLUSH_SECONDS = 0.25
MOST_WAITING = 50_000  # rows; with a dozen features each about 25 MB
_ROWS_A_WRITE = 100  # half a millisecond of work; each write lets the threads that serve go on
_STOP_SECONDS = 5.0
_DAY_SECONDS = 86_400


class _Predicted(NamedTuple):
    """Rows of one answer. `first` is the batch's number of the first row, None for a prediction of its own."""

    at: float
    identifier: str
    first: int | None
    live: LiveModel
    rows: Sequence[Row]
    predictions: Sequence[Prediction]

    @property
    def kind(self) -> str:
        return "predictions"

    @property
    def size(self) -> int:
        return len(self.rows)

    def lines(self) -> Iterator[bytes]:
        names = [feature.name for feature in self.live.predictor.contract.features]
        line: dict[str, object] = {"id": self.identifier, "at": _iso(self.at), "version": self.live.version}
        for number, (row, prediction) in enumerate(zip(self.rows, self.predictions, strict=True), self.first or 0):
            if self.first is not None:
                line["id"] = f"{self.identifier}.{number}"
            line["row"] = dict(zip(names, row, strict=True))
            line["prediction"] = prediction.value
            if prediction.probabilities is not None:
                line["probabilities"] = prediction.probabilities
            yield to_json(line) + b"\n"


class _Told(NamedTuple):
    """The truth about one earlier prediction."""

    at: float
    identifier: str
    actual: float | str

    @property
    def kind(self) -> str:
        return "feedback"

    @property
    def size(self) -> int:
        return 1

    def lines(self) -> Iterator[bytes]:
        yield to_json({"id": self.identifier, "actual": self.actual, "at": _iso(self.at)}) + b"\n"


_Entry = _Predicted | _Told


class PredictionLog:
    """Takes entries from any thread. `folder` is None where nothing is to be logged."""

    def __init__(self, folder: Path | None, keep_days: int, metrics: Metrics) -> None:
        self._files = LogFiles(folder) if folder else None
        self._keep_days = keep_days
        self._metrics = metrics
        self._lock = threading.Lock()
        self._waiting: list[_Entry] = []
        self._waiting_rows = 0
        self._trouble = ""  # why the last write failed; empty when it did not, or the next one will not
        self._stopped = False  # from the first write that failed to the next that did not
        self._dropped_for = ""  # the day for which old files were last looked for
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Begins to write. Call once."""
        if self._files:
            self._thread.start()

    def close(self) -> None:
        """Writes what is waiting and ends; gives up after 5 s on a disk that hangs."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def predicted(
        self,
        live: LiveModel,
        identifier: str,
        rows: Sequence[Row],
        predictions: Sequence[Prediction],
        first: int | None,
    ) -> None:
        """Notes an answer; drops it where too much is waiting already."""
        entry = _Predicted(time.time(), identifier, first, live, rows, predictions)
        if self._files and not self._put(entry, len(rows)):
            self._metrics.log_dropped("queue-full", len(rows))

    def told(self, identifier: str, actual: float | str) -> None:
        """Notes the truth about a prediction. Raises FeedbackNotKept where it is known that it would be lost."""
        if not self._files:
            raise FeedbackNotKept("the prediction log is switched off")
        if self._trouble:
            raise FeedbackNotKept(f"the prediction log cannot be written: {self._trouble}")
        if not self._put(_Told(time.time(), identifier, actual), 1):
            raise FeedbackNotKept("too much is waiting to be written")

    def _put(self, entry: _Entry, rows: int) -> bool:
        with self._lock:
            if self._waiting_rows + rows > MOST_WAITING:
                return False
            self._waiting.append(entry)
            self._waiting_rows += rows
            return True

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(FLUSH_SECONDS)
            with self._lock:
                entries, self._waiting, self._waiting_rows = self._waiting, [], 0
            if self._trouble and not entries:
                self._guarded(self._look_again)
            for (kind, day), group in groupby(entries, _file_of):
                self._guarded(self._write, kind, _iso(day * _DAY_SECONDS)[:10], list(group))
            self._guarded(self._drop_old)

    def _guarded(self, work: Callable[..., None], *arguments: object) -> None:
        """A fault of ours in one write must not end the writing."""
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001
            log_event("prediction log failed", level=logging.ERROR, error=f"{type(error).__name__}: {error}")

    def _write(self, kind: str, day: str, entries: Sequence[_Entry]) -> None:
        """What a fault of ours keeps from coming to `_append` is counted here."""
        left, lines = sum(entry.size for entry in entries), list[bytes]()
        try:
            for entry in entries:
                for line in entry.lines():
                    lines.append(line)
                    if len(lines) == _ROWS_A_WRITE:
                        self._append(kind, day, lines)
                        left -= len(lines)
                        lines.clear()
            if lines:
                self._append(kind, day, lines)
                left -= len(lines)
        finally:
            if left:
                self._metrics.log_dropped("failed", left)

    def _append(self, kind: str, day: str, lines: list[bytes]) -> None:
        assert self._files is not None  # noqa: S101  # the thread runs only then
        try:
            self._files.append(kind, day, b"".join(lines))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            self._metrics.log_dropped("disk-full" if full else "unwritable", len(lines))
            if not self._stopped:
                folder = str(self._files.folder)
                log_event("prediction log stopped", level=logging.ERROR, folder=folder, detail=error.strerror)
            self._trouble, self._stopped = error.strerror or type(error).__name__, True
        else:
            self._metrics.logged(kind, len(lines))
            if self._stopped:
                log_event("prediction log resumed")
            self._trouble, self._stopped = "", False

    def _look_again(self) -> None:
        """Feedback is refused while there is trouble, so that no line may ever come that tells of its end."""
        assert self._files is not None  # noqa: S101
        with suppress(OSError):
            self._files.try_out()
            self._trouble = ""

    def _drop_old(self) -> None:
        """Once a day, so that the log does not fill the disk for ever."""
        assert self._files is not None  # noqa: S101
        today = datetime.now(UTC).date().isoformat()
        if self._keep_days and today != self._dropped_for:
            self._dropped_for = today
            if dropped := self._files.drop_older(self._keep_days):
                log_event("old prediction log dropped", files=len(dropped), days=self._keep_days)


def _file_of(entry: _Entry) -> tuple[str, int]:
    """Kind and day; the day as a number, because its name takes as long as writing the row."""
    return entry.kind, int(entry.at // _DAY_SECONDS)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
