"""What the ledger's entries say: what serves and served, what came before it, what was moved away from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from training.tracking.ledger import Entry


@dataclass
class Course:
    """The way of an alias. `served` is like the pages behind a browser's back button, the present one last.

    `left` has every version that a person or the service moved away from, with the entry that did: those gone back
    past, too. One that is moved to again is no longer left.
    """

    served: list[str] = field(default_factory=list)
    left: dict[str, Entry] = field(default_factory=dict)
    last: Entry | None = None

    def before(self, known: Iterable[str]) -> str | None:
        """The version to go back to, of those that are still known."""
        there = set(known)
        return next((version for version in reversed(self.served[:-1]) if version in there), None)


def course(entries: list[Entry]) -> Course:
    """Follows the moves among `entries`, oldest first."""
    way = Course()
    for entry in entries:
        if not entry.moves:
            continue
        way.last = entry
        if entry.action == "promoted" or entry.version not in ("", *way.served):
            if way.served[-1:] != [entry.version]:  # two who promote at once both say so
                way.served.append(entry.version)
        else:
            back_to = len(way.served) - way.served[::-1].index(entry.version) if entry.version else 0
            way.left |= dict.fromkeys(way.served[back_to:], entry)
            del way.served[back_to:]
        if entry.action in ("rolled_back", "reverted", "found") and entry.previous:
            way.left[entry.previous] = entry
        way.left.pop(entry.version, None)
    return way


def serving_at(entries: list[Entry], moment: datetime) -> Entry | None:
    """The last move up to `moment`; None before the first."""
    moves = [entry for entry in entries if entry.moves and entry.at <= moment]
    return moves[-1] if moves else None
