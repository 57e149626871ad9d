"""One line of JSON per event on standard error."""

import json
import logging
import traceback
from datetime import UTC, datetime
from pathlib import Path

_logger = logging.getLogger("prediction_api")


def log_event(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Writes one event with its fields, which never hold a stack trace."""
    _logger.log(level, json.dumps({"at": _now(), "event": event, **fields}, default=str, ensure_ascii=False))


def fault(error: BaseException) -> str:
    """An error of ours in a line."""
    return f"{type(error).__name__}: {str(error)[:300]}"


def send_events_to_stderr() -> None:
    """Called once by the entry point, so that importing this package installs no handler."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    server = logging.StreamHandler()
    server.setFormatter(_ServerLine())
    logging.getLogger("uvicorn").addHandler(server)


class _ServerLine(logging.Formatter):
    """An event of uvicorn's as one line of JSON; a fault as where it happened, without any values."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {"at": _now(), "event": "server", "message": record.getMessage().strip()}
        if record.exc_info and (error := record.exc_info[1]):
            frames = traceback.extract_tb(error.__traceback__)[-8:]
            line["error"] = fault(error)
            line["where"] = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, ensure_ascii=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
