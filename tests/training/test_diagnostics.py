"""Bootstrap, groups, reliability and permutation importance: against known values and by simulation."""

import numpy as np
import pandas as pd
import pytest
from training.evaluation import diagnostics, metrics
from training.evaluation.diagnostics import Bin, Estimate


def test_the_bootstrap_interval_holds_the_truth_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean absolute value of a normal is sqrt(2 / pi). 150 draws at 95 %: at least 133 (binomial, 0.1 % tail)."""
    monkeypatch.setattr(diagnostics, "RESAMPLES", 200)
    held = 0
    for draw in range(150):
        errors = np.random.default_rng(draw).normal(size=200)
        found = diagnostics.estimates(errors, np.zeros(200), draw)["mae"]
        held += found.low <= np.sqrt(2 / np.pi) <= found.high
    assert 133 <= held < 150


def test_every_figure_has_an_interval_around_it_and_the_same_each_time() -> None:
    generator = np.random.default_rng(4)
    labels, probabilities = generator.integers(0, 2, 300), generator.dirichlet([1, 1], 300)
    found = diagnostics.estimates(labels, probabilities, 3)
    assert set(found) == set(metrics.FIGURES["classification"])
    assert all(one.low < one.value < one.high for one in found.values())
    assert diagnostics.estimates(labels, probabilities, 3) == found


def test_figures_that_are_not_defined_are_left_out() -> None:
    assert set(diagnostics.estimates(np.ones(5), np.zeros(5), 1)) == {"mae", "rmse"}
    assert "roc_auc" not in diagnostics.estimates(np.zeros(5, int), np.full((5, 2), 0.5), 1)


def test_groups_come_largest_first_with_their_own_error() -> None:
    actual, groups = np.zeros(100), np.array(["a"] * 20 + ["b"] * 80)
    found = diagnostics.by_group("rmse", actual, np.where(groups == "a", 2.0, 1.0), groups, 1)
    assert [(group.name, group.rows, group.metric.value) for group in found] == [("b", 80, 1.0), ("a", 20, 2.0)]


def test_copies_of_rows_make_no_figure_surer() -> None:
    """Three copies of each of 200 rows: the intervals are those of the 200 rows."""
    generator = np.random.default_rng(4)
    labels, probabilities, copy = generator.integers(0, 2, 200), generator.dirichlet([1, 1], 200), np.arange(600) // 3
    once = diagnostics.estimates(labels, probabilities, 3)
    repeated = diagnostics.estimates(labels[copy], probabilities[copy], 3, copy)
    for name, figure in once.items():
        assert (repeated[name].low, repeated[name].high) == (pytest.approx(figure.low), pytest.approx(figure.high))
    seen = labels == 1
    assert diagnostics.share(seen[copy], copy) == diagnostics.share(seen)
    for bins in zip(
        diagnostics.reliability(probabilities, labels),
        diagnostics.reliability(probabilities[copy], labels[copy], copy),
        strict=True,
    ):
        assert bins[0].seen.high - bins[0].seen.low == pytest.approx(bins[1].seen.high - bins[1].seen.low, rel=0.1)
    groups = np.where(labels == 1, "a", "b")
    assert diagnostics.by_group("log_loss", labels[copy], probabilities[copy], groups[copy], 1, copy)[0].metric.low > 0


def test_reliability_of_probabilities_that_are_off() -> None:
    probabilities = np.tile([0.2, 0.8], (1000, 1))
    (found,) = diagnostics.reliability(probabilities, (np.arange(1000) % 2).astype(int))
    assert (found.rows, found.predicted, found.seen.value) == (1000, pytest.approx(0.8), 0.5)
    assert diagnostics.calibration_error([found]) == pytest.approx(0.3)
    good = Bin(1000, 0.5, Estimate(0.5, 0.4, 0.6))
    assert diagnostics.calibration_error([found, good]) == pytest.approx(0.15)


def test_a_shares_interval_is_wilsons() -> None:
    """Newcombe 1998, table I: 81 of 263."""
    found = diagnostics.share(np.arange(263) < 81)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert diagnostics.share(np.ones(10, bool)).high == 1.0


def test_a_feature_that_matters_is_told_from_noise() -> None:
    generator = np.random.default_rng(1)
    frame = pd.DataFrame({"signal": generator.normal(size=400), "noise": generator.normal(size=400)})
    target = frame["signal"].to_numpy()
    found = diagnostics.importance("mae", target, frame, lambda rows: rows["signal"].to_numpy(), 1)
    assert found.names == ("signal", "noise")
    assert found.mean[0] > 20 * found.spread[0] > 0
    assert (found.mean[1], found.spread[1]) == (0.0, 0.0)


def test_importance_predicts_a_bounded_number_of_rows() -> None:
    frame = pd.DataFrame(np.zeros((5000, 100)), columns=[f"f{i}" for i in range(100)])
    asked = []

    def predict(rows: pd.DataFrame) -> np.ndarray:
        asked.append(len(rows))
        return np.zeros(len(rows))

    diagnostics.importance("mae", np.ones(5000), frame, predict, 1)
    assert sum(asked) <= 101 * diagnostics.FEWEST_PERMUTED * diagnostics.REPEATS
