"""The prediction log: predictions and feedback, as lines of JSON in files by day.

A request puts its rows in a queue; one thread writes them. The queue is bounded: a batch waits for room, a single row
never does. Feedback, of which admission control admits little at a time, is acknowledged once it is on the disk. If the
disk fails, rows are dropped and counted, and predictions continue.
"""

import asyncio
import errno
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from pydantic_core import to_json

from prediction_api.errors import FeedbackNotKept
from prediction_api.models.predictor import Prediction, Row
from prediction_api.telemetry.events import fault, log_event
from prediction_api.telemetry.metrics import Metrics

FLUSH_SECONDS = 0.25
MOST_WAITING = 50_000  # rows; with a dozen features each about 25 MB
WAIT_SECONDS = 10.0  # how long a batch waits for room, and feedback for the disk
ID_PATTERN = r"^[0-9a-f]{16}-[0-9a-f]{6,16}(\.[0-9]{1,9})?$"  # of an answer, or of a row within its batch
_ROWS_A_WRITE = 100  # half a millisecond of work; between writes, other threads run
_STOP_SECONDS = 5.0
_FILE_NAME = re.compile(r"(?:predictions|feedback)-(\d{4}-\d\d-\d\d)-[0-9a-f]+\.jsonl")


_drawn: list[str] = []  # its methods are atomic; a generator fails where two threads ask at the same time


def new_id() -> str:
    """A new identifier at each call, from any thread: 128 random bits, so that nobody can guess another's.

    The random bytes are drawn in blocks: a system call for each identifier took 7 % of the time of a prediction.
    """
    with suppress(IndexError):
        return _drawn.pop()
    block = os.urandom(4_096).hex()
    first, *others = (f"{block[start : start + 16]}-{block[start + 16 : start + 32]}" for start in range(0, 8_192, 32))
    _drawn.extend(others)
    return first


class LogFiles:
    """Whole lines at the end of a file for each kind, UTC day and process, in one folder.

    No process appends to another's file: a token of its own is in the name, and a new token where half a line may have
    been left. So only the last line of a file can be torn, by a kill or a full disk. No file is kept open, so a folder
    that was moved away is made again. Nobody else reads them, but for the group where `group_reads`.
    """

    def __init__(self, folder: Path, group_reads: bool = False) -> None:
        self.folder = folder
        self._modes = (0o750, 0o640) if group_reads else (0o700, 0o600)
        self._token = secrets.token_hex(4)
        with suppress(OSError):  # it is not there yet, or it is another user's
            folder.chmod(self._modes[0])

    def append(self, kind: str, day: str, lines: bytes, sync: bool = False) -> None:
        """Returns when the operating system, or with `sync` the disk, has the lines. Raises OSError: it has none."""
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(self._modes[0])
        path = self.folder / f"{kind}-{day}-{self._token}.jsonl"
        with _opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, self._modes[1]) as file:
            before, rest = os.fstat(file).st_size, memoryview(lines)
            try:
                while rest:  # a disk that fills up takes a part before it refuses
                    rest = rest[os.write(file, rest) :]
                if sync:
                    os.fsync(file)
                    if not before:
                        with _opened(self.folder, os.O_RDONLY) as folder:  # its name is on the disk then, too
                            os.fsync(folder)
            except OSError:
                self._undo(file, before)
                raise

    def _undo(self, file: int, size: int) -> None:
        try:
            os.ftruncate(file, size)
        except OSError:
            self._token = secrets.token_hex(4)

    def drop_older(self, days: int, today: date) -> int:
        """Removes the files that are more than `days` older than today; returns their number. Raises OSError.

        Age is by the names. A folder without a file of these days before today stays as it is: then the clock is
        wrong, or nothing was predicted for that long.
        """
        first_kept = today - timedelta(days=days)
        found = [(date.fromisoformat(match[1]), path) for path in self.folder.glob("*.jsonl")
                 if (match := _FILE_NAME.fullmatch(path.name))]  # fmt: skip
        if not any(first_kept <= day < today for day, _ in found):
            return 0
        old = [path for day, path in found if day < first_kept]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)


class Predicted(NamedTuple):
    """Rows of one answer. `first` is the batch's number of the first row, None for a prediction of its own."""

    at: float
    identifier: str
    first: int | None
    version: str  # of the model
    names: Sequence[str]  # of the features
    rows: Sequence[Row]
    predictions: Sequence[Prediction]

    def lines(self) -> Iterator[bytes]:
        line: dict[str, object] = {"id": self.identifier, "at": _iso(self.at), "version": self.version}
        for number, (row, prediction) in enumerate(zip(self.rows, self.predictions, strict=True), self.first or 0):
            if self.first is not None:
                line["id"] = f"{self.identifier}.{number}"
            line["row"] = dict(zip(self.names, row, strict=True))
            line["prediction"] = prediction.value
            if prediction.probabilities is not None:
                line["probabilities"] = prediction.probabilities
            yield to_json(line) + b"\n"


class PredictionLog:
    """Takes entries from any thread, and writes them in one of its own."""

    def __init__(self, files: LogFiles, keep_days: int, metrics: Metrics) -> None:
        self._files = files
        self._keep_days = keep_days
        self._metrics = metrics
        self._room = threading.Condition()  # guards the two queues; notified when rows were written
        self._rows: list[Predicted] = []
        self._waiting_rows = 0  # in the queue, and of those being written
        self._feedback: list[
            tuple[bytes, Future[str]]
        ] = []  # lines, each with what failed, or "" once it is on the disk
        self._wake = threading.Event()
        self._stopping = False
        self._failing = False  # from the first write that failed to the next one that did not
        self._started = time.time() - time.monotonic()
        self._dropped_for: date | None = None
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Writes what is waiting and ends; gives up after 5 s on a disk that hangs."""
        self._stopping = True
        self._wake.set()
        self._thread.join(_STOP_SECONDS)

    def add(self, entry: Predicted) -> None:
        """Queues an answer's rows. Without room, a thread waits for it; the event loop drops the rows and counts."""
        # Threads leave a fifth of the queue to the event loop, which cannot wait.
        most, patience = (MOST_WAITING, 0.0) if _on_event_loop() else (MOST_WAITING * 4 // 5, WAIT_SECONDS)
        with self._room:
            if self._room.wait_for(lambda: self._waiting_rows + len(entry.rows) <= most, patience):
                self._rows.append(entry)
                self._waiting_rows += len(entry.rows)
                return
        self._metrics.log_dropped.labels("queue-full").inc(len(entry.rows))

    async def keep_feedback(self, identifier: str, actual: float | str) -> None:
        """Returns once the truth about a prediction is on the disk. Raises FeedbackNotKept."""
        line = to_json({"id": identifier, "actual": actual, "at": _iso(time.time())}) + b"\n"
        written = Future[str]()
        with self._room:
            self._feedback.append((line, written))
        self._wake.set()
        try:
            trouble = await asyncio.wait_for(asyncio.wrap_future(written), WAIT_SECONDS)
        except TimeoutError:
            raise FeedbackNotKept(f"the disk did not answer within {WAIT_SECONDS:g} s") from None
        if trouble:
            raise FeedbackNotKept(f"the prediction log cannot be written: {trouble}")

    def _run(self) -> None:
        stopping = False
        while not stopping:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            stopping = self._stopping
            try:
                self._write_feedback()
                self._write_rows()
                self._drop_old()
            except Exception as error:  # noqa: BLE001  # a fault of ours in one write must not end the writing
                log_event("prediction log failed", level=logging.ERROR, error=fault(error))

    def _write_rows(self) -> None:
        """Writes all rows that wait, and counts those that a fault of ours loses."""
        with self._room:
            entries, self._rows = self._rows, []
        left = total = sum(len(entry.rows) for entry in entries)
        lines = chain.from_iterable(entry.lines() for entry in entries)
        try:
            while some := list(islice(lines, _ROWS_A_WRITE)):
                self._write_feedback()  # it does not wait for all rows of a large batch
                self._append("predictions", some)
                left -= len(some)
        finally:
            self._metrics.log_dropped.labels("failed").inc(left)
            with self._room:
                self._waiting_rows -= total
                self._room.notify_all()

    def _write_feedback(self) -> None:
        """All feedback that waits, with one wait for the disk."""
        with self._room:
            waiting, self._feedback = self._feedback, []
        trouble = self._append("feedback", [line for line, _ in waiting]) if waiting else ""
        for _, written in waiting:
            if written.set_running_or_notify_cancel():  # else nobody waits any more
                written.set_result(trouble)

    def _append(self, kind: str, lines: list[bytes]) -> str:
        """Writes lines to the file of today, feedback to the disk itself; returns what failed, or nothing."""
        try:
            self._files.append(kind, _iso(time.time())[:10], b"".join(lines), sync=kind == "feedback")
        except OSError as error:
            if kind == "predictions":  # feedback is refused, not lost
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                self._metrics.log_dropped.labels("disk-full" if full else "unwritable").inc(len(lines))
            trouble = error.strerror or type(error).__name__
            if not self._failing:
                folder = str(self._files.folder)
                log_event("prediction log stopped", level=logging.ERROR, folder=folder, detail=trouble)
            self._failing = True
            return trouble
        self._metrics.logged.labels(kind).inc(len(lines))
        if self._failing:
            log_event("prediction log resumed")
        self._failing = False
        return ""

    def _drop_old(self) -> None:
        """Once a day. A clock that jumps ahead is not believed: the day is no later than the time since the start."""
        today = datetime.fromtimestamp(min(time.time(), self._started + time.monotonic()), UTC).date()
        if self._keep_days and today != self._dropped_for:
            self._dropped_for = today
            if dropped := self._files.drop_older(self._keep_days, today):
                log_event("old prediction log dropped", files=dropped, days=self._keep_days)


@contextmanager
def _opened(path: Path, flags: int, mode: int = 0) -> Iterator[int]:
    file = os.open(path, flags, mode)
    try:
        yield file
    finally:
        os.close(file)


def _on_event_loop() -> bool:
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        return True
    return False


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
