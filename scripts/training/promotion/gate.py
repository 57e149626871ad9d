"""The gate: may the challenger take the alias? A pure function of the evidence, with reasons."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.config import LOWER_IS_BETTER, MEANS, SMALLEST_GROUP, Config
from training.evaluation import bootstrap, metrics
from training.reason import Reason

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Evidence:
    """Both models on the challenger's test rows.

    A model that cannot score these rows is None; for the first model the champion is the baseline predictor (training
    mean, or the shares of the labels). `groups` (rows,) is the segment's value, None where there is none.
    `clusters` (rows,) is equal where rows are: copies of a row are one piece of evidence. `served` are the
    label indices that champion and challenger serve, by default the likeliest. `findings` are what else was found: one
    that has not passed makes the comparison worthless.
    """

    actual: Array
    challenger: Array | None
    champion: Array | None
    champion_name: str
    groups: Array | None
    clusters: Array | None = None
    served: tuple[Array | None, Array | None] = (None, None)
    findings: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Passed or not, every reason, and the figures behind them as far as they are finite."""

    passed: bool
    reasons: tuple[Reason, ...]
    figures: dict[str, float] = field(default_factory=dict)


def judge(config: Config, evidence: Evidence) -> Verdict:
    """Limits, gain over the champion at the configured confidence, and no segment worse. Missing evidence blocks."""
    unusable = tuple(_unusable(config, evidence))
    actual, champion, challenger = evidence.actual, evidence.champion, evidence.challenger
    if unusable or champion is None or challenger is None:
        return Verdict(False, unusable)
    metric, confidence, seed = config.gate_metric, config.gate.confidence, config.split.seed
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite passes no comparison below
        gain = bootstrap.gain(
            metric, actual, champion, challenger, confidence, seed, evidence.clusters, evidence.served
        )
        reasons = (
            *_limits(config, evidence, challenger),
            _gain(config, evidence.champion_name, gain),
            *_groups(config, evidence, champion, challenger),
            *evidence.findings,
        )
    figures = {"gain": gain.estimate, "gain_lower": gain.lower, "gain_upper": gain.upper}
    finite = {name: value for name, value in figures.items() if math.isfinite(value)}
    return Verdict(all(reason.passed for reason in reasons), reasons, finite)


def _unusable(config: Config, evidence: Evidence) -> Iterator[Reason]:
    rows = len(evidence.actual)
    if rows < SMALLEST_GROUP:
        text = f"{rows} test rows; at least {SMALLEST_GROUP} are needed to compare two models"
        yield Reason("too_few_rows", False, text, None, rows, SMALLEST_GROUP)
    if not np.isfinite(evidence.actual).all():
        yield Reason("truth_unknown", False, f"column '{config.data.target}' is not known for every test row")
    yield from _unusable_predictions("challenger", "the challenger", evidence.challenger, rows)
    yield from _unusable_predictions("champion", evidence.champion_name, evidence.champion, rows)
    yield from (finding for finding in evidence.findings if not finding.passed)
    if config.data.segment and (evidence.groups is None or len(evidence.groups) != rows):
        yield Reason("segment_unknown", False, f"column '{config.data.segment}' is not known for every test row")


def _unusable_predictions(role: str, name: str, predicted: Array | None, rows: int) -> Iterator[Reason]:
    if predicted is None:
        yield Reason(f"{role}_cannot_score", False, f"{name} cannot score the challenger's test rows")
        return
    finite = int(np.isfinite(predicted.reshape(len(predicted), -1)).all(axis=1).sum())
    if finite != rows or len(predicted) != rows:
        text = f"{name} gives a finite prediction for {finite} of {rows} test rows"
        yield Reason(f"{role}_not_finite", False, text, None, finite, rows)


def _limits(config: Config, evidence: Evidence, challenger: Array) -> Iterator[Reason]:
    for metric, limit in config.gate.limits.items():
        value = metrics.score(metric, evidence.actual, challenger, evidence.served[1])
        within = bool(value <= limit if metric in LOWER_IS_BETTER else value >= limit)
        text = f"{metric} {value:.4g} is {'within' if within else 'beyond'} the limit {limit:g}"
        yield Reason("limit", within, text, metric, _finite(value), limit)


def _gain(config: Config, champion_name: str, gain: bootstrap.Gain) -> Reason:
    better = bool(gain.lower > config.gate.min_gain)
    text = (
        f"{config.gate_metric} gain over {champion_name} is {gain.estimate:.4g}; at least {gain.lower:.4g} with "
        f"{config.gate.confidence:.0%} confidence, {'above' if better else 'not above'} {config.gate.min_gain:g}"
    )
    return Reason("gain", better, text, config.gate_metric, _finite(gain.lower), config.gate.min_gain)


def _groups(config: Config, evidence: Evidence, champion: Array, challenger: Array) -> Iterator[Reason]:
    """A group may lose at most `max_segment_loss`; groups under SMALLEST_GROUP rows are reported, not judged."""
    if evidence.groups is None:
        return
    metric, most = config.gate_metric, config.gate.max_segment_loss
    labels = challenger.shape[1] if challenger.ndim == 2 else None  # the champion may know others
    for group in np.unique(evidence.groups):
        rows = np.asarray(evidence.groups == group)
        before, after = (
            metrics.score(metric, evidence.actual[rows], model[rows], None if served is None else served[rows], labels)
            for model, served in zip((champion, challenger), evidence.served, strict=True)
        )
        loss = after - before if metric in LOWER_IS_BETTER else before - after
        text = f"{config.data.segment} = {group} ({int(rows.sum())} rows): {metric} {before:.4g} -> {after:.4g}"
        if rows.sum() < SMALLEST_GROUP:
            text = f"{text}; fewer than {SMALLEST_GROUP} rows, not judged"
            yield Reason("small_segment", True, text, str(group), _finite(loss))
        elif math.isnan(loss) and metric not in MEANS:
            yield Reason("small_segment", True, f"{text}; rows of one label, not judged", str(group))
        else:
            kept = bool(loss <= most)
            text = f"{text}; {'within' if kept else 'beyond'} the loss of {most:g}"
            yield Reason("segment", kept, text, str(group), _finite(loss), most)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
