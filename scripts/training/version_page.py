"""The gate's verdict on a version's page in MLflow: one section of its description, replaced each time."""

from __future__ import annotations

from training.ledger import Entry

HEADING = "## Gate verdict"
MOST_LINES = 12  # a description holds 5,000 characters on some databases, and the model card needs most of them


def with_verdict(description: str, entry: Entry) -> str:
    """The description with this verdict in its section, wherever that was, else at the end."""
    before, found, rest = description.partition(HEADING)
    _, next_heading, after = rest.partition("\n## ") if found else ("", "", "")
    parts = [before.strip(), _section(entry), (next_heading + after).strip()]
    return "\n\n".join(part for part in parts if part)


def _section(entry: Entry) -> str:
    failed_first = sorted(entry.reasons, key=lambda reason: reason.passed)
    lines = [f"- {'pass' if reason.passed else 'FAIL'}: {reason.text[:300]}" for reason in failed_first[:MOST_LINES]]
    if len(failed_first) > MOST_LINES:
        lines.append(f"- {len(failed_first) - MOST_LINES} more in the ledger")
    over = f" over version {entry.previous}" if entry.previous else ""
    return f"{HEADING}\n\n**{entry.action}**{over}, {entry.at:%Y-%m-%d %H:%M} UTC, by {entry.by}\n\n" + "\n".join(lines)
