"""status and history, for people as a table and for programs as an object."""

import sys
from datetime import UTC, datetime
from typing import Any

from training.config import Config
from training.errors import ConfigError, NothingServed
from training.tracking.ledger import Entry, Ledger, course, serving_at
from training.tracking.registry import Registry

SHOWN = 10  # of the last decisions, by `status`


def status(config: Config) -> dict[str, Any]:
    """What is in production, since when, by whose decision, and the last decisions."""
    with Registry(config.name, config.serving.alias).speaking() as registry:
        holder, entries = registry.holder(), Ledger(registry).entries()
    last = course(entries).last
    present, recorded = holder.version if holder else None, (last.version or None) if last else None
    move = last if last and present == recorded else None
    known = f", since {_time(move.at)} ({move.action} by {move.by})" if move else ""
    _show(f"{config.name}: {f'version {present}' if present else 'nothing'} is {registry.alias}{known}")
    if present != recorded:
        _show(f"The ledger says {f'version {recorded}' if recorded else 'nothing'}: promote or rollback settles it.")
    _show_table(entries[-SHOWN:])
    return {
        "model": config.name,
        "production": present,
        "since": _json_time(move.at) if move else None,
        "by": move.by if move else None,
        "agrees_with_ledger": present == recorded,
        "decisions": [
            {
                **{"at": _json_time(entry.at), "action": entry.action, "by": entry.by},
                **{"version": entry.version or None, "from": entry.previous, "why": _why(entry)},
            }
            for entry in reversed(entries[-SHOWN:])
        ],
    }


def past(config: Config, at: str | None = None) -> dict[str, Any]:
    """Every decision, oldest first; with `at`, the version that was in production then.

    A time without a zone is UTC. Raises ConfigError for what is no time or has not come yet, NothingServed for a time
    before the first promotion.
    """
    moment = None if at is None else _moment(at)
    with Registry(config.name, config.serving.alias).speaking() as registry:
        entries = Ledger(registry).entries()
    if moment is None:
        _show_table(entries)
        return {"model": config.name, "decisions": [entry.as_json() for entry in entries]}
    entry = serving_at(entries, moment)
    if entry is None or not entry.version:
        first = next((_time(one.at) for one in entries if one.moves), None)
        raise NothingServed(
            f"no version of '{config.name}' was {registry.alias} at {_time(moment)}",
            "Nothing was promoted yet." if first is None else f"The first was promoted at {first}; `make history`.",
        )
    _show(f"{config.name}: version {entry.version} was {registry.alias} at {_time(moment)}")
    _show_table([entry])
    return {"model": config.name, "at": _json_time(moment), "production": entry.version, "decision": entry.as_json()}


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(f"--at: expected a time, found '{text}'", "Write it like 2026-11-24T10:00 (UTC).") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment > datetime.now(UTC):
        raise ConfigError(f"--at: {_time(moment)} is in the future", "Leave --at out, or see `make status`.")
    return moment


def _why(entry: Entry) -> str:
    """What was decisive: a gate that was off, what failed, else the gain, else whatever was said first."""
    off = [reason for reason in entry.reasons if reason.code == "gate_off"]
    decisive = off + [reason for reason in entry.reasons if not reason.passed]
    decisive = decisive or [reason for reason in entry.reasons if reason.code == "gain"] or list(entry.reasons[:1])
    return "; ".join(reason.text for reason in decisive)


def _show_table(entries: list[Entry]) -> None:
    rows = [("time (UTC)", "action", "version", "from", "by", "why")]
    for entry in entries:
        cells = (entry.action, entry.version or "none", entry.previous or "none", entry.by, _why(entry))
        rows.append((f"{entry.at:%Y-%m-%d %H:%M:%S}", *cells))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows if entries else []:
        _show("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]).rstrip())


def _show(line: str) -> None:
    print(line, file=sys.stderr)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _json_time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
