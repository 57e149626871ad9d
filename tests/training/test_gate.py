"""The gate: every reason to refuse, each told; and that nothing else gets past it."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from training.config import SMALLEST_GROUP, Config
from training.evaluation import metrics
from training.promotion.gate import Evidence, Verdict, judge
from training.reason import Reason

GENERATOR = np.random.default_rng(5)
ROWS = 400
ACTUAL = GENERATOR.normal(10, 2, ROWS)
GOOD = ACTUAL + GENERATOR.normal(0, 0.5, ROWS)
POOR = ACTUAL + GENERATOR.normal(0, 1.0, ROWS)
COLOURS = np.array(["red"] * 50 + ["blue"] * 350)


@pytest.fixture
def config(configured: Callable[..., Config], table: pd.DataFrame) -> Config:
    return configured(table, data={"segment": "colour"}, gate={"limits": {"mae": 0.7}, "max_segment_loss": 0.05})


def evidence(champion: np.ndarray | None, challenger: np.ndarray | None, **others: Any) -> Evidence:
    given_or_not = {"actual": ACTUAL, "groups": COLOURS, "champion_name": "version 1"} | others
    return Evidence(champion=champion, challenger=challenger, **given_or_not)


def failed(verdict: Verdict) -> set[str]:
    codes = {reason.code for reason in verdict.reasons if not reason.passed}
    assert verdict.passed == (not codes)
    return codes


ON_RED_WORSE = np.where(COLOURS == "red", ACTUAL + 1.5, GOOD)


@pytest.mark.parametrize(
    ("given", "codes"),
    [
        pytest.param(evidence(POOR, GOOD), set(), id="better"),
        pytest.param(evidence(GOOD, GOOD), {"gain"}, id="the same"),
        pytest.param(
            evidence(POOR, GOOD, findings=(Reason("synthetic_data", False, ""),)),
            {"synthetic_data"},
            id="by made-up rows",
        ),
        pytest.param(evidence(POOR * 2, POOR), {"limit"}, id="beyond an absolute limit"),
        pytest.param(evidence(POOR, ON_RED_WORSE), {"segment"}, id="worse for a group"),
    ],
)
def test_a_version_passes_or_is_told_why_not(config: Config, given: Evidence, codes: set[str]) -> None:
    assert failed(judge(config, given)) == codes


def test_the_gain_must_exceed_what_is_asked(config: Config) -> None:
    sure = judge(config, evidence(POOR, GOOD)).figures["gain_lower"]
    asks = [config.gate.model_copy(update={"min_gain": sure + more}) for more in (-0.001, 0.0, 0.001)]
    verdicts = [judge(config.model_copy(update={"gate": gate}), evidence(POOR, GOOD)) for gate in asks]
    assert [verdict.passed for verdict in verdicts] == [True, False, False]


def test_a_limit_of_accuracy_is_the_least(configured: Callable[..., Config], table: pd.DataFrame) -> None:
    labels = GENERATOR.integers(0, 2, ROWS)
    right, half = np.eye(2)[labels] * 0.8 + 0.1, np.full((ROWS, 2), 0.5)
    for least, codes in ((0.99, set()), (1.01, {"limit"})):
        config = configured(table, data={"task": "classification"}, gate={"limits": {"accuracy": least}})
        assert failed(judge(config, evidence(half, right, actual=labels, groups=None))) == codes


def test_a_small_group_that_loses_is_only_reported(config: Config) -> None:
    few = np.array(["red"] * (SMALLEST_GROUP - 1) + ["blue"] * (ROWS - SMALLEST_GROUP + 1))
    worse_on_few = np.where(few == "red", ACTUAL + 1.5, GOOD)
    verdict = judge(config, evidence(POOR, worse_on_few, groups=few))
    assert verdict.passed
    assert [(reason.subject, reason.mark) for reason in verdict.reasons if reason.code == "small_segment"] == [
        ("red", "note")
    ]


def _with(values: np.ndarray, value: float) -> np.ndarray:
    changed = values.copy()
    changed[7] = value
    return changed


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("champion_cannot_score", evidence(None, GOOD)),
        ("challenger_cannot_score", evidence(POOR, None)),
        ("challenger_not_finite", evidence(POOR, _with(GOOD, np.nan))),
        ("challenger_not_finite", evidence(POOR, GOOD[1:])),
        ("champion_not_finite", evidence(_with(POOR, -np.inf), GOOD)),
        ("truth_unknown", evidence(POOR, GOOD, actual=_with(ACTUAL, np.nan))),
        ("champion_saw_rows", evidence(POOR, GOOD, findings=(Reason("champion_saw_rows", False, ""),))),
        ("segment_unknown", evidence(POOR, GOOD, groups=None)),
        ("too_few_rows", Evidence(ACTUAL[:29], GOOD[:29], POOR[:29], "version 1", COLOURS[:29])),
    ],
)
def test_missing_evidence_blocks(config: Config, code: str, given: Evidence) -> None:
    verdict = judge(config, given)
    assert failed(verdict) == {code}
    assert verdict.figures == {}


def test_reasons_are_for_machines_too(config: Config) -> None:
    said = {reason.code: reason for reason in judge(config, evidence(GOOD, POOR)).reasons}
    limit, gain = said["limit"], said["gain"]
    assert (limit.subject, limit.threshold, limit.passed) == ("mae", 0.7, False)
    assert limit.value == pytest.approx(metrics.score("mae", ACTUAL, POOR))
    assert gain.value is not None
    assert gain.value < 0
    assert json.loads(json.dumps(limit.as_json(), allow_nan=False))["text"] == limit.text


FINITE = st.floats(-1e6, 1e6)
ANY = st.one_of(FINITE, st.sampled_from([np.nan, np.inf, -np.inf, 1e200, -1e200, 1.7e308, 5e-324]))


@st.composite
def anything(draw: st.DrawFn) -> tuple[dict[str, Any], Evidence]:
    """Gate settings and evidence, mostly of the sort that could pass, with anything wrong anywhere."""
    rows = draw(st.integers(25, 70))
    cells = draw(st.sampled_from([FINITE, ANY]))
    actual = draw(hnp.arrays(float, rows, elements=cells, fill=FINITE))
    predicted = []
    for error in (1.0, 0.1):
        noise = np.random.default_rng(draw(st.integers(0, 99))).normal(0, error, rows)
        values = np.nan_to_num(actual, posinf=0, neginf=0) + noise
        for place in draw(st.lists(st.integers(0, rows - 1), max_size=2)):
            values[place] = draw(cells)
        predicted.append(draw(st.sampled_from([values] * 8 + [None, values[1:]])))
    groups = np.where(np.arange(rows) % draw(st.integers(1, 3)), "a", "b")
    gate = {
        "metric": draw(st.sampled_from(["mae", "rmse"])),
        "min_gain": draw(st.sampled_from([0.0, 0.5])),
        "max_segment_loss": draw(st.sampled_from([0.0, 0.02])),
        "limits": draw(st.dictionaries(st.sampled_from(["mae", "rmse"]), st.sampled_from([0.05, 0.5, 1e9]))),
    }
    findings = draw(st.sampled_from([()] * 8 + [(Reason("champion_saw_rows", False, "another seed"),)]))
    champion, challenger = predicted
    of_segment = draw(st.sampled_from([groups] * 8 + [None]))
    return gate, Evidence(actual, challenger, champion, "version 1", of_segment, findings=findings)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(anything())
def test_nothing_passes_that_should_not(case: tuple[dict[str, Any], Evidence]) -> None:
    """Whatever passed was whole, finite, within its limits, better by more than was asked, and no judged group lost."""
    sections, given_evidence = case
    data = {"source": "table.csv", "target": "y", "segment": "colour"}
    config = Config.model_validate({"name": "x", "data": data, "gate": sections})
    verdict = judge(config, given_evidence)
    json.dumps([verdict.figures, *(reason.as_json() for reason in verdict.reasons)], allow_nan=False)
    assert verdict.reasons
    if not verdict.passed:
        return
    actual, challenger, champion, groups = (
        getattr(given_evidence, name) for name in ("actual", "challenger", "champion", "groups")
    )
    assert given_evidence.findings == ()
    assert len(actual) >= SMALLEST_GROUP
    assert all(np.isfinite(part).all() and len(part) == len(actual) for part in (actual, challenger, champion))
    metric, gate = config.gate_metric, config.gate
    assert all(metrics.score(name, actual, challenger) <= limit for name, limit in gate.limits.items())
    scores = [metrics.score(metric, actual, model) for model in (champion, challenger)]
    # The gate compares row by row; of two means beyond a float's digits the difference is nothing but rounding.
    assert scores[0] - scores[1] > gate.min_gain or max(scores) > 1e12
    for group in set(groups):
        rows = groups == group
        before, after = (metrics.score(metric, actual[rows], model[rows]) for model in (champion, challenger))
        assert rows.sum() < SMALLEST_GROUP or after - before <= gate.max_segment_loss


def test_a_gain_too_large_for_a_number_is_no_figure(config: Config) -> None:
    assert judge(config, evidence(np.full(ROWS, 1.7e308), GOOD)).figures == {}


def test_evidence_is_not_changed(config: Config) -> None:
    given_evidence = evidence(POOR, GOOD)
    copy = {name: np.copy(value) for name, value in dataclasses.asdict(given_evidence).items() if value is not None}
    judge(config, given_evidence)
    assert all(np.array_equal(getattr(given_evidence, name), value) for name, value in copy.items())
