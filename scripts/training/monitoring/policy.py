"""When live data call for training again: a pure function of the windows so far, with reasons."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from training.config import Monitor
from training.reason import Reason


@dataclass(frozen=True)
class Window:
    """What one stretch of the production version's traffic showed. `id` is a digest of its bounds and its content."""

    id: str
    version: str
    start: datetime
    end: datetime
    rows: int
    drifted: tuple[str, ...] = ()
    error_worse: bool = False

    @property
    def alarming(self) -> bool:
        return bool(self.drifted) or self.error_worse

    @property
    def summary(self) -> str:
        """In words: what is not as in training."""
        names = ", ".join(self.drifted[:5]) + (f" and {len(self.drifted) - 5} more" if len(self.drifted) > 5 else "")
        found = [f"drift of {names}"] if self.drifted else []
        found += ["an error worse than promised"] if self.error_worse else []
        return " and ".join(found) or "no drift"


@dataclass(frozen=True)
class Decision:
    """A reason has `passed` unless it calls for training. `key` names the evidence: the same evidence is never decided
    twice."""

    action: Literal["retrain", "keep"]
    reasons: tuple[Reason, ...]
    key: str

    @property
    def text(self) -> str:
        return "; ".join(reason.text for reason in self.reasons)


def decide(
    rules: Monitor,
    windows: Sequence[Window],
    now: datetime,
    requested: datetime | None = None,
    live_since: datetime | None = None,
) -> Decision:
    """Train again when `rules.windows` of the last `rules.of` windows are alarming, the last among them, unless it is
    too soon after the last request or promotion.

    `windows` are those of the production version since it went live, oldest first. A window that ended before the last
    request counts no more.
    """
    evidence = [w for w in windows if w.rows >= rules.min_rows and (requested is None or w.end > requested)]
    evidence = evidence[-rules.of :]
    key = evidence_key([window.id for window in evidence])

    def keep(code: str, text: str) -> Decision:
        return Decision("keep", (*found, Reason(code, True, text)), key)

    found: tuple[Reason, ...] = ()
    if not evidence:
        return keep("no_window", "no window of live rows was measured yet")
    last, alarming = evidence[-1], [window for window in evidence if window.alarming]
    if not last.alarming:
        return keep("last_is_quiet", "the last window shows no drift")
    counted = f"{len(alarming)} of the last {len(evidence)} windows alarming"
    code = "_and_".join((["drift"] if last.drifted else []) + (["error"] if last.error_worse else []))
    found = (Reason(code, False, f"the last window shows {last.summary}"),)
    if len(alarming) < rules.windows:
        return keep("too_few_windows", f"{counted}; {rules.windows} of {rules.of} are needed")
    moments = [moment for moment in (requested, live_since) if moment is not None]
    until = max(moments) + timedelta(hours=rules.cooldown_hours) if moments else now
    if now < until:
        return keep(
            "cooldown", f"{counted}, but it is too soon after the last change: not before {until:%d %B %H:%M} UTC"
        )
    return Decision("retrain", (*found, Reason("enough_windows", False, counted)), key)


def nothing_new(decision: Decision) -> Decision:
    """What becomes of the decision to train again where training would see nothing that it has not seen yet."""
    *found, enough = decision.reasons
    text = "there is nothing new to learn from: provide new data, or labelled predictions with data.feedback: true"
    return Decision("keep", (*found, Reason("nothing_new", True, f"{enough.text}, but {text}")), decision.key)


def data_changed(file: str, digest: str, version: str) -> Decision:
    """Train again because the data file is not what `version`, the newest, was trained on."""
    text = f"{file} has changed since version {version} was trained"
    return Decision("retrain", (Reason("data_changed", False, text),), evidence_key([digest, version]))


def evidence_key(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:16]
