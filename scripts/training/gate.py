"""The gate: may the challenger take the alias? A pure function of the evidence, with reasons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training import evaluation
from training.config import LOWER_IS_BETTER, Config

Array = np.ndarray[Any, Any]

SMALLEST_GROUP = 30  # rows; a smaller group's mean says too little to block on


@dataclass(frozen=True)
class Evidence:
    """Both models on the challenger's test rows.

    `champion` is None where it cannot score these rows; for the first model it is the baseline predictor
    (training mean, or the shares of the labels). `groups` is the segment's value per row, or None.
    """

    actual: Array
    challenger: Array
    champion: Array | None
    champion_name: str
    groups: Array | None


@dataclass(frozen=True)
class Verdict:
    """Passed or not; every reason with a code for machines and a sentence for people."""

    passed: bool
    reasons: list[dict[str, Any]]
    figures: dict[str, float] = field(default_factory=dict)


def judge(config: Config, evidence: Evidence) -> Verdict:
    """Limits, gain over the champion at the configured confidence, and no segment worse. Missing evidence blocks."""
    reasons: list[dict[str, Any]] = []
    figures: dict[str, float] = {}
    metric = config.gate_metric

    def note(code: str, passed: bool, text: str) -> None:
        reasons.append({"code": code, "passed": passed, "text": text})

    for name, limit in config.gate.limits.items():
        value = evaluation.score(name, evidence.actual, evidence.challenger)
        within = value <= limit if name in LOWER_IS_BETTER else value >= limit
        note("limit", within, f"{name} {value:.4g} is {'within' if within else 'beyond'} the limit {limit:g}")
    if evidence.champion is None:
        note("champion_cannot_score", False, f"{evidence.champion_name} cannot score the challenger's test rows")
        return Verdict(False, reasons, figures)
    gain = evaluation.gain(
        metric, evidence.actual, evidence.champion, evidence.challenger, config.gate.confidence, config.split.seed
    )
    figures |= {"gain": gain.estimate, "gain_lower": gain.lower, "gain_upper": gain.upper}
    better = gain.lower > config.gate.min_gain
    note(
        "gain",
        better,
        f"{metric} gain over {evidence.champion_name} is {gain.estimate:.4g}; at least {gain.lower:.4g} with "
        f"{gain.confidence:.0%} confidence, {'above' if better else 'not above'} {config.gate.min_gain:g}",
    )
    if evidence.groups is not None:
        for group in np.unique(evidence.groups):
            _judge_group(config, evidence, str(group), evidence.champion, note)
    return Verdict(all(reason["passed"] for reason in reasons), reasons, figures)


def _judge_group(config: Config, evidence: Evidence, group: str, champion: Array, note: Any) -> None:
    """A group may lose at most `max_segment_loss`; groups under SMALLEST_GROUP rows are reported, not judged."""
    rows = np.asarray(evidence.groups == group)
    metric, place = config.gate_metric, f"{config.data.segment} = {group}"
    before = evaluation.score(metric, evidence.actual[rows], champion[rows])
    after = evaluation.score(metric, evidence.actual[rows], evidence.challenger[rows])
    loss = after - before if metric in LOWER_IS_BETTER else before - after
    text = f"{place} ({int(rows.sum())} rows): {metric} {before:.4g} -> {after:.4g}"
    if rows.sum() < SMALLEST_GROUP:
        note("segment", True, f"{text}; fewer than {SMALLEST_GROUP} rows, not judged")
    else:
        kept = loss <= config.gate.max_segment_loss
        note("segment", kept, f"{text}; {'within' if kept else 'beyond'} the loss of {config.gate.max_segment_loss:g}")
