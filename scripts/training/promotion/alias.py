"""Moving the alias, so that ledger and alias agree whenever a kill comes: entry, alias, then the mark of its end."""

from __future__ import annotations

import logging

from training.errors import AliasMoved
from training.promotion import history
from training.reason import Reason
from training.tracking.ledger import Entry, Ledger
from training.tracking.registry import Registry

log = logging.getLogger(__name__)


def move(registry: Registry, ledger: Ledger, entry: Entry) -> Entry:
    """Appends the entry and moves the alias from `entry.previous` to `entry.version`.

    Raises AliasMoved, and changes nothing, when the alias names another version by now.
    """
    holder = registry.holder()
    if (holder.version if holder else None) != entry.previous:
        raise AliasMoved(registry.alias, entry.previous, holder.version if holder else None)
    written = ledger.append(entry)
    _carry_out(registry, written)
    return written


def settle(registry: Registry, ledger: Ledger) -> Entry | None:
    """Brings a move to its end that was cut short after its entry, and gives it; writes down one that was made by
    other means."""
    last = history.course(ledger.entries()).last
    holder = registry.holder()
    present, wanted = holder.version if holder else "", last.version if last else ""
    if last and registry.settled() != last.id and not _made_since(registry, last):
        log.info("version %s: %s on %s, brought to its end now", last.version, last.action, f"{last.at:%F %T}")
        _carry_out(registry, last)
        return last
    if present != wanted:
        text = f"{registry.alias} was found on {_named(present)}, moved from {_named(wanted)} by other means"
        entry = Entry("found", present, wanted or None, (Reason("found", True, text),))
        registry.settle(ledger.append(entry).id)
        log.warning("%s", text)
    return None


def _carry_out(registry: Registry, entry: Entry) -> None:
    if entry.version:
        registry.point_alias(entry.version)
    else:
        registry.remove_alias()
    registry.settle(entry.id)


def _made_since(registry: Registry, entry: Entry) -> bool:
    """Whether the entry speaks of an earlier version of this number: the model was deleted, and trained anew."""
    version = registry.numbered(entry.version) if entry.version else None
    return version is not None and version.creation_timestamp > entry.at.timestamp() * 1000


def _named(version: str) -> str:
    return f"version {version}" if version else "no version"
