"""The ledger: every decision on a model, in an experiment of its own, appended and never changed.

One entry is one MLflow run that is complete from its creation: the entry is in the run's tags, so that a kill leaves a
whole entry or none. When an entry was made is the run's start; each starts at least a millisecond after the one before,
so that their order is never in doubt. The run of a move ends when the alias has moved: one that is still running tells
of a move that was cut short, and becomes `abandoned` when the alias never moved.
"""

import getpass
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from mlflow.entities import Run
from pydantic import TypeAdapter

from training.errors import NewerFormat
from training.reason import Reason, as_list
from training.tracking.registry import Registry, as_tags, from_tags

LONG_AGO = datetime.fromtimestamp(0, UTC)
MOVES = ("promoted", "rolled_back", "reverted", "found")
_ENTRY, _KEY, _FORMAT = "ledger.entry", "ledger.decision_key", "ledger.format"
FORMAT = 1  # of an entry; more where a reader that does not know it would decide wrongly


@dataclass(frozen=True)
class Entry:
    """One decision. For a move of the alias (MOVES), `version` is what it names from then on, empty for nothing.

    promoted, rolled_back (by a person), reverted (the service refused it), found (moved by other means than these
    commands); refused, would_promote and would_refuse move nothing, and `version` is the one that was judged; nor did
    abandoned, a move that was interrupted before the alias moved.
    `previous` is what the alias named before. `key` names the question that was decided.
    """

    action: str
    version: str
    previous: str | None
    reasons: tuple[Reason, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    key: str = ""
    alias: str = ""
    run_id: str = ""
    data_digest: str = ""
    code_version: str = ""
    by: str = ""
    at: datetime = LONG_AGO
    id: str = ""

    @property
    def moves(self) -> bool:
        return self.action in MOVES

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"at": self.at.isoformat(timespec="milliseconds")}


_READER = TypeAdapter(Entry)  # keys that another version of this program wrote are left out


class Ledger:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._name = f"{registry.name}-ledger"

    def entries(self) -> list[Entry]:
        """All of them, oldest first. What an earlier version of this program wrote is read as far as it goes.
        Raises NewerFormat."""
        runs = reversed(self.registry.notes(self._name))
        found = [_entry_of(run) for run in runs if _ENTRY in run.data.tags]
        return [entry for entry in found if entry.alias in ("", self.registry.alias)]

    def append(self, entry: Entry) -> Entry:
        """Writes one entry, with who or what made it, and when."""
        last = max((one.at for one in self.entries()), default=LONG_AGO)
        moment = max(time.time_ns() // 1_000_000, round(last.timestamp() * 1000) + 1)
        at = datetime.fromtimestamp(moment / 1000, UTC)
        written = replace(entry, alias=self.registry.alias, by=author(), at=at)
        plain = {"action": entry.action, "from": entry.previous or "", "to": entry.version, "by": written.by}
        run_id = self.registry.note(
            self._name,
            f"{entry.action} version {entry.version or '(none)'}",
            {**_tags(written), _KEY: entry.key, **{f"ledger.{name}": text for name, text in plain.items()}},
            as_list(entry.reasons),
            start_time=moment,
        )
        for name, value in entry.figures.items():  # the entry stands: this is for those who look closer
            self.registry.client.log_metric(run_id, name, value)
        written = replace(written, id=run_id)
        if not entry.moves:
            self.finish(written)
        return written

    def finish(self, entry: Entry) -> None:
        """Notes that the alias has moved as the entry says."""
        self.registry.client.set_terminated(entry.id)

    def unfinished(self, entry: Entry) -> bool:
        """Whether nobody has noted that the alias moved."""
        return bool(self.registry.client.get_run(entry.id).info.status == "RUNNING")

    def abandon(self, entry: Entry) -> None:
        """Notes that the alias never moved: the entry counts as no move and as no answer any more."""
        text = f"{entry.action} version {entry.version or '(none)'} was interrupted before {entry.alias} moved"
        reasons = (Reason("abandoned", False, text), *entry.reasons)
        tags = _tags(replace(entry, action="abandoned", key="", reasons=reasons))
        for name, value in (tags | {"ledger.action": "abandoned", _KEY: "", "mlflow.runName": text}).items():
            self.registry.client.set_tag(entry.id, name, value)
        self.registry.client.set_terminated(entry.id, "KILLED")


@dataclass
class Course:
    """How an alias has moved. `served` is like the pages behind a browser's back button, the present one last.

    `left` has every version that a person or the service moved away from, with the entry that did: those gone back
    past, too. One that is moved to again is no longer left. `reached`: when each was last moved to.
    """

    served: list[str] = field(default_factory=list)
    left: dict[str, Entry] = field(default_factory=dict)
    reached: dict[str, datetime] = field(default_factory=dict)
    last: Entry | None = None

    def before(self, known: Iterable[str]) -> str | None:
        """The version to go back to, of those that are still known."""
        there = set(known)
        return next((version for version in reversed(self.served[:-1]) if version in there), None)


def course(entries: Sequence[Entry]) -> Course:
    """Follows the moves among `entries`, oldest first."""
    found = Course()
    for entry in entries:
        if not entry.moves:
            continue
        found.last = entry
        found.reached[entry.version] = entry.at
        if entry.action == "promoted" or entry.version not in ("", *found.served):
            if found.served[-1:] != [entry.version]:  # two who promote at once both say so
                found.served.append(entry.version)
        else:
            back_to = len(found.served) - found.served[::-1].index(entry.version) if entry.version else 0
            found.left |= dict.fromkeys(found.served[back_to:], entry)
            del found.served[back_to:]
        if entry.action in ("rolled_back", "reverted", "found") and entry.previous:
            found.left[entry.previous] = entry
        found.left.pop(entry.version, None)
    return found


def serving_at(entries: Sequence[Entry], moment: datetime) -> Entry | None:
    """The last move up to `moment`; None before the first."""
    return next((entry for entry in reversed(entries) if entry.moves and entry.at <= moment), None)


def _tags(entry: Entry) -> dict[str, str]:
    return {_FORMAT: str(FORMAT), **as_tags(_ENTRY, json.dumps(entry.as_json(), allow_nan=False))}


def _entry_of(run: Run) -> Entry:
    tags = run.data.tags
    if int(tags.get(_FORMAT, 1)) > FORMAT:
        raise NewerFormat(f"an entry of the ledger (run {run.info.run_id})", tags[_FORMAT], FORMAT)
    try:
        entry = _READER.validate_json(from_tags(_ENTRY, tags))
    except ValueError:  # the plain tags still say what was done
        entry = Entry(tags.get("ledger.action", ""), tags.get("ledger.to", ""), tags.get("ledger.from") or None)
    return replace(entry, at=datetime.fromtimestamp(run.info.start_time / 1000, UTC), id=run.info.run_id)


def author() -> str:
    """Airflow tells a task's command which run it belongs to; otherwise it is the person at the terminal."""
    if "AIRFLOW_CTX_DAG_ID" in os.environ:
        return f"airflow: {os.environ['AIRFLOW_CTX_DAG_ID']}, {os.environ.get('AIRFLOW_CTX_DAG_RUN_ID', '')}"
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"user {os.getuid()}"
