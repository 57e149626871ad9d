"""Why something was decided: the gate's and the service's findings, as the ledger keeps them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Reason:
    """One thing that was looked at: `code` for machines, `text` for people.

    Where it is a comparison, `value` was held against `threshold`, and `subject` names the metric or the group. A value
    that is not finite is None.
    """

    code: str
    passed: bool
    text: str
    subject: str | None = None
    value: float | None = None
    threshold: float | None = None

    @property
    def mark(self) -> str:
        """How it counted: what was held against no threshold, and has not failed, is only a note."""
        return "FAIL" if not self.passed else "note" if self.threshold is None else "pass"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def as_list(reasons: Iterable[Reason]) -> str:
    """In Markdown."""
    return "\n".join(f"- {reason.text}" for reason in reasons)
