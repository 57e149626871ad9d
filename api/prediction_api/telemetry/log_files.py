"""The files of the prediction log: whole lines at the end of a file per kind, UTC day and process."""

import os
import re
import secrets
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

_NAME = re.compile(r"(?:predictions|feedback)-(\d{4}-\d\d-\d\d)-[0-9a-f]+\.jsonl")


class LogFiles:
    """The folder <PREDICTION_LOG_DIR>/<model name>. Nothing is kept open, so a folder that was moved away comes back.

    No process appends to the file of another: each names its files by a token of its own, and takes another one where
    it may have left half a line. So only the last line of a file can be torn, by a kill or a full disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._token = secrets.token_hex(4)

    def append(self, kind: str, day: str, lines: bytes) -> None:
        """Hands whole lines to the operating system. Raises OSError, and then none of them is in the file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{kind}-{day}-{self._token}.jsonl"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            before, rest = os.fstat(file).st_size, memoryview(lines)
            try:
                while rest:  # a disk that fills up takes a part before it says so
                    rest = rest[os.write(file, rest) :]
            except OSError:
                self._take_back(file, before)
                raise
        finally:
            os.close(file)

    def _take_back(self, file: int, size: int) -> None:
        try:
            os.ftruncate(file, size)
        except OSError:
            self._token = secrets.token_hex(4)

    def try_out(self) -> None:
        """Raises OSError while a few lines would find no room."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"room-{self._token}"
        try:
            path.write_bytes(bytes(4_096))
        finally:
            path.unlink(missing_ok=True)

    def drop_older(self, days: int) -> list[str]:
        """Removes what is older than so many days, going by the files' names; gives the names. Raises OSError."""
        first_kept = datetime.now(UTC).date() - timedelta(days=days)
        dropped = []
        for path in self.folder.glob("*.jsonl"):
            match = _NAME.fullmatch(path.name)
            if match and date.fromisoformat(match[1]) < first_kept:
                path.unlink(missing_ok=True)
                dropped.append(path.name)
        return dropped
