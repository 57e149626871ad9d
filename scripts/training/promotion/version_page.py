"""The gate's verdict on a version's page in MLflow: one section of its description, replaced each time."""

from __future__ import annotations

from training.report.card import DESCRIPTION_LIMIT, GATE_HEADING
from training.tracking.ledger import Entry

MOST_LINES = 12


def with_verdict(description: str, entry: Entry) -> str:
    """The description with this verdict in its section, wherever that was, else at the end."""
    before, found, rest = description.partition(GATE_HEADING)
    _, next_heading, after = rest.partition("\n## ") if found else ("", "", "")
    before, after = before.strip(), (next_heading + after).strip()
    room = DESCRIPTION_LIMIT - len(f"{before}\n\n\n\n{after}")
    parts = [before, _section(entry, room), after]
    return "\n\n".join(part for part in parts if part)


def _section(entry: Entry, room: int) -> str:
    """At most `room` characters, with as many reasons as that holds."""
    over = f" over version {entry.previous}" if entry.previous else ""
    head = f"{GATE_HEADING}\n\n**{entry.action}**{over}, {entry.at:%Y-%m-%d %H:%M} UTC, by {entry.by}\n"
    failed_first = sorted(entry.reasons, key=lambda reason: reason.passed)
    lines = [f"- {'pass' if reason.passed else 'FAIL'}: {reason.text[:300]}" for reason in failed_first]
    for shown in range(min(len(lines), MOST_LINES), -1, -1):
        left = len(lines) - shown
        text = "\n".join([head, *lines[:shown], *([f"- {left} more in the ledger"] if left else [])])
        if len(text) <= room:
            break
    return text
