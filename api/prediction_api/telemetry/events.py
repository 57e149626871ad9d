"""One line of JSON per event on standard error."""

import json
import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path

_logger = logging.getLogger("prediction_api")


def log_event(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Writes one event with its fields; a stack trace never belongs in here."""
    line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields}
    _logger.log(level, json.dumps(line, default=str, ensure_ascii=False))


def send_events_to_stderr() -> None:
    """Called once by the entry point; a library or a test that imports this package gets no handler forced upon it."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    server = logging.StreamHandler()
    server.setFormatter(_ServerLine())
    logging.getLogger("uvicorn").addHandler(server)


class _ServerLine(logging.Formatter):
    """What uvicorn tells, in one line of JSON; of a fault where it happened, without any values."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": "server"}
        line["message"] = record.getMessage().strip()
        if record.exc_info and (error := record.exc_info[1]):
            line["error"] = f"{type(error).__name__}: {str(error)[:300]}"
            frames = traceback.extract_tb(error.__traceback__)[-8:]
            line["where"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, ensure_ascii=False)
