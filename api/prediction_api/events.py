"""One line of JSON per event on standard error."""

import json
import logging
from datetime import UTC, datetime

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
