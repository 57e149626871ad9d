"""The gain and its bounds: against known values, against another implementation, and by simulation."""

import numpy as np
import pytest
from scipy import stats
from training.evaluation import bootstrap, metrics

GENERATOR = np.random.default_rng(3)
ACTUAL = GENERATOR.normal(size=500)
CLOSE = ACTUAL + GENERATOR.normal(0, 0.3, 500)
FAR = ACTUAL + GENERATOR.normal(0, 0.6, 500)
LABELS = GENERATOR.integers(0, 3, 500)
PROBABILITIES = GENERATOR.dirichlet([1, 1, 1], 500)
RIGHT = np.eye(3)[LABELS]


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_a_better_model_gains_and_a_worse_one_loses(metric: str) -> None:
    assert bootstrap.gain(metric, ACTUAL, FAR, CLOSE, 0.95, 1).lower > 0
    assert bootstrap.gain(metric, ACTUAL, CLOSE, FAR, 0.95, 1).upper < 0


@pytest.mark.parametrize(
    ("metric", "sign", "actual", "champion", "challenger"),
    [
        ("mae", 1, ACTUAL, FAR, CLOSE),
        ("rmse", 1, ACTUAL, FAR, CLOSE),
        ("log_loss", 1, LABELS, PROBABILITIES, RIGHT * 0.7 + 0.1),
        ("accuracy", -1, LABELS, PROBABILITIES, RIGHT),
    ],
)
def test_the_gain_is_the_difference_of_the_metrics(
    metric: str, sign: int, actual: np.ndarray, champion: np.ndarray, challenger: np.ndarray
) -> None:
    difference = metrics.score(metric, actual, champion) - metrics.score(metric, actual, challenger)
    found = bootstrap.gain(metric, actual, champion, challenger, 0.95, 1)
    assert found.estimate == pytest.approx(sign * difference)
    assert found.lower < found.estimate < found.upper


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "f1", "balanced_accuracy"])
def test_a_metric_that_is_no_mean_is_resampled_itself(metric: str) -> None:
    better = PROBABILITIES * 0.7 + RIGHT * 0.3
    found = bootstrap.gain(metric, LABELS, PROBABILITIES, better, 0.95, 1)
    difference = metrics.score(metric, LABELS, better) - metrics.score(metric, LABELS, PROBABILITIES)
    assert found.estimate == pytest.approx(difference)
    assert 0 < found.lower < found.estimate < found.upper
    same = bootstrap.gain(metric, LABELS, better, better, 0.95, 1)
    assert (same.lower, same.upper) == (0, 0)


def test_a_champion_may_know_labels_that_these_rows_do_not_have() -> None:
    labels, known = LABELS % 2, PROBABILITIES[:, :2] / PROBABILITIES[:, :2].sum(axis=1, keepdims=True)
    other = np.column_stack([known * 0.9, np.full(500, 0.1)])
    assert bootstrap.gain("average_precision", labels, other, known, 0.95, 1).estimate == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("metric", ["log_loss", "average_precision"])
def test_copies_of_rows_make_a_gain_no_surer(metric: str) -> None:
    copy, better = np.arange(1500) // 3, PROBABILITIES * 0.99 + RIGHT * 0.01
    once = bootstrap.gain(metric, LABELS, PROBABILITIES, better, 0.95, 1)
    given = LABELS[copy], PROBABILITIES[copy], better[copy]
    repeated = bootstrap.gain(metric, *given, 0.95, 1, copy)
    assert (repeated.lower, repeated.upper) == (pytest.approx(once.lower), pytest.approx(once.upper))
    assert bootstrap.gain(metric, *given, 0.95, 1).lower > once.lower


def test_perfect_models_are_equal() -> None:
    found = bootstrap.gain("rmse", ACTUAL, ACTUAL, ACTUAL, 0.95, 1)
    assert (found.lower, found.estimate, found.upper) == (0, 0, 0)


def test_the_bounds_are_those_of_scipys_bootstrap_where_it_is_the_more_cautious() -> None:
    """Without skew the percentile and the studentised bound are alike, and SciPy has the first of them."""
    values = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", confidence_level=0.9, rng=np.random.default_rng(1)
    ).confidence_interval
    lower, upper = bootstrap.bounds_of_mean(values, 0.95, 7)
    assert lower == pytest.approx(theirs.low, abs=0.005)
    assert upper == pytest.approx(theirs.high, abs=0.005)


@pytest.mark.parametrize("seed", range(5))
def test_two_rows_of_a_hundred_show_no_gain(seed: int) -> None:
    """One resample in seven holds neither of them: its mean is 0, and the bound is not above it by a rounding error."""
    values = np.zeros(100)
    values[:2] = 1.0
    lower, upper = bootstrap.bounds_of_mean(values, 0.95, seed)
    assert -1e-9 < lower <= 0
    assert bootstrap.bounds_of_mean(-values, 0.95, seed) == (pytest.approx(-upper), pytest.approx(-lower))


def test_the_seed_decides() -> None:
    values = GENERATOR.normal(size=100)
    assert bootstrap.bounds_of_mean(values, 0.95, 1) == bootstrap.bounds_of_mean(values, 0.95, 1)
    assert bootstrap.bounds_of_mean(values, 0.95, 1) != bootstrap.bounds_of_mean(values, 0.95, 2)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(lambda draw, rows: 1 - draw.gamma(0.25, 4, rows), id="few rows carry the loss"),
        pytest.param(lambda draw, rows: draw.choice([-1.0, 0, 1], rows, p=[0.01, 0.98, 0.01]), id="few rows differ"),
    ],
)
def test_small_and_awkward_samples_do_not_pass_too_often(case) -> None:
    """Where one bound alone passes 8 to 12 in 100 draws of no difference, the more cautious of the two passes about 5.

    300 draws; 28 or more come by chance once in 1,000 where the true rate is 5.7 % (binomial).
    """
    passed = 0
    for seed in range(300):
        values = case(np.random.default_rng(seed), 200)
        passed += bootstrap.bounds_of_mean(values, 0.95, seed)[0] > 0
    assert passed <= 28
