"""Metrics and the interval: against known values and by simulation."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk
from training.evaluation import metrics
from training.fit import profile

GENERATOR = np.random.default_rng(3)
ACTUAL = GENERATOR.normal(size=500)
CLOSE = ACTUAL + GENERATOR.normal(0, 0.3, 500)
LABELS = GENERATOR.integers(0, 3, 500)
PROBABILITIES = GENERATOR.dirichlet([1, 1, 1], 500)


def test_metrics_agree_with_scikit_learn() -> None:
    assert metrics.score("mae", ACTUAL, CLOSE) == pytest.approx(sk.mean_absolute_error(ACTUAL, CLOSE))
    assert metrics.score("rmse", ACTUAL, CLOSE) == pytest.approx(sk.root_mean_squared_error(ACTUAL, CLOSE))
    chosen = PROBABILITIES.argmax(axis=1)
    assert metrics.score("accuracy", LABELS, PROBABILITIES) == pytest.approx(sk.accuracy_score(LABELS, chosen))
    assert metrics.score("log_loss", LABELS, PROBABILITIES) == pytest.approx(sk.log_loss(LABELS, PROBABILITIES))


def test_rows_without_a_group_are_a_group_with_a_name() -> None:
    assert metrics.group_names(pd.Series(["cash", ""])).tolist() == ["cash", "(empty)"]
    assert metrics.group_names(pd.Series([1.0, np.nan])).tolist() == ["1.0", "(empty)"]


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown metric"):
        metrics.losses("charm", ACTUAL, CLOSE)


@pytest.mark.parametrize(("coverage", "rows"), [(0.9, 9), (0.5, 1), (0.8, 4), (0.95, 19), (0.99, 99), (0.999, 999)])
def test_so_many_rows_an_interval_needs(coverage: float, rows: int) -> None:
    """With n rows, the largest residual holds n / (n + 1) of what comes, and nothing holds more."""
    assert metrics.fewest_rows(coverage) == rows
    assert rows / (rows + 1) == pytest.approx(coverage)
    residuals = np.arange(1.0, rows + 1)
    assert metrics.half_width(residuals, np.zeros(rows), coverage) == rows
    with pytest.raises(IndexError):
        metrics.half_width(residuals[1:], np.zeros(rows - 1), coverage)


def test_the_baseline_says_the_same_of_every_row() -> None:
    assert metrics.baseline(np.array([2.0]), 2).tolist() == [2.0, 2.0]
    assert metrics.baseline(np.array([0.75, 0.25]), 1).tolist() == [[0.75, 0.25]]


@pytest.mark.parametrize(
    ("values", "edges", "counts"),
    [
        ([0.0] * 19 + [1.0], [0, 0.5, 1], [19, 1]),
        ([1.0, 2.0, 3.0] * 10, [1, 1.5, 2.5, 3], [10, 10, 10]),
        ([4.0] * 5, [4], [5]),
    ],
)
def test_every_bin_holds_values_and_few_values_have_a_bin_each(
    values: list[float], edges: list[float], counts: list[int]
) -> None:
    found = metrics.edges(np.array(values))
    assert found.tolist() == edges
    assert profile.counts(np.array(values), found.tolist()) == counts


@pytest.mark.parametrize(
    "values",
    [
        np.arange(2000) % 29 / 13,
        20240101.0 + np.arange(2000) % 300,
        9000000000.0 + np.arange(2000) * 37,
        np.repeat(GENERATOR.dirichlet([1, 1], 18).max(axis=1), 100),
    ],
    ids=["thirteenths", "YYYYMMDD", "ids of ten digits", "18 probabilities"],
)
def test_the_same_values_give_the_same_counts_with_the_edges_that_the_contract_stores(values: np.ndarray) -> None:
    """Also after the edges went through JSON and the values through the last digit of float32."""
    known = profile.of_frame(pd.DataFrame({"x": values.astype("float32")}), values, 0).features["x"]
    live = np.array(json.loads(json.dumps([float(str(np.float32(value))) for value in values])))
    edges = json.loads(json.dumps(known.edges))
    assert edges == [float(str(np.float32(edge))) for edge in edges]
    assert profile.counts(live, edges) == known.counts
    assert sum(known.counts) == len(values)


def test_values_that_differ_by_a_rounding_stay_in_their_bin() -> None:
    values = np.repeat(GENERATOR.uniform(0.5, 1, 18), 50).astype(np.float32)
    edges = metrics.stored(metrics.edges(values))
    above = np.minimum(np.nextafter(values, np.float32(2)), values.max())
    below = np.maximum(np.nextafter(values, np.float32(0)), values.min())
    assert profile.counts(above, edges) == profile.counts(values, edges)
    assert profile.counts(below, edges) == profile.counts(values, edges)


def test_bins_of_many_values_are_filled_alike() -> None:
    found = metrics.edges(ACTUAL)
    assert (found[0], found[-1]) == (ACTUAL.min(), ACTUAL.max())
    assert profile.counts(ACTUAL, found) == [50] * 10


def figures(labels: metrics.Array, probabilities: metrics.Array) -> dict[str, float]:
    return {name: metrics.score(name, labels, probabilities) for name in metrics.FIGURES["classification"]}


@pytest.mark.parametrize("ties", [False, True])
def test_metrics_of_two_labels_agree_with_scikit_learn(ties: bool) -> None:
    labels, scores = LABELS % 2, PROBABILITIES[:, 1].round(1 if ties else 9)
    found = figures(labels, np.column_stack([1 - scores, scores]))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, scores))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(labels, scores))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, scores > 0.5))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, scores > 0.5))


def test_metrics_of_more_labels_are_means_over_them() -> None:
    chosen, ones = PROBABILITIES.argmax(axis=1), np.eye(3)[LABELS]
    found = figures(LABELS, PROBABILITIES)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(LABELS, PROBABILITIES, multi_class="ovr"))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(ones, PROBABILITIES))
    assert found["f1"] == pytest.approx(sk.f1_score(LABELS, chosen, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(LABELS, chosen))


def test_a_metric_counts_each_row_as_often_as_it_was_drawn() -> None:
    times = np.random.default_rng(1).integers(0, 3, 500)
    rows = np.repeat(np.arange(500), times)
    for metric in metrics.FIGURES["classification"]:
        counted = metrics.scorer(metric, LABELS, PROBABILITIES)(times.astype(float))
        assert counted == pytest.approx(metrics.score(metric, LABELS[rows], PROBABILITIES[rows]))


def test_the_served_label_decides_what_is_judged_by_it() -> None:
    served = np.zeros(500, int)
    for metric in metrics.FIGURES["classification"]:
        same = metrics.score(metric, LABELS, PROBABILITIES, served) == metrics.score(metric, LABELS, PROBABILITIES)
        assert same == (metric not in metrics.OF_CHOICE)


def test_rows_with_one_label_have_no_ranking() -> None:
    assert np.isnan(metrics.score("roc_auc", np.zeros(5, int), np.full((5, 2), 0.5)))


@pytest.mark.parametrize("kind", ["equally common", "long tail"])
def test_many_labels_of_noise_do_not_beat_the_baseline(kind: str) -> None:
    """A learner that knows nothing but the training shares, smoothed as it likes, gains nothing over the baseline."""
    true = np.ones(30) if kind == "equally common" else 1 / np.arange(1, 31)
    true /= true.sum()
    lost: dict[str, list[float]] = {"baseline": [], "uniform": [], "shares": []}
    for draw in range(100):
        generator = np.random.default_rng(draw)
        counts = np.maximum(np.bincount(generator.choice(30, 280, p=true), minlength=30), 1)
        test = generator.choice(30, 2000, p=true)
        for name, constant in (
            ("baseline", metrics.baseline_shares(counts)),
            ("uniform", np.full(30, 1 / 30)),
            ("shares", counts / counts.sum()),
        ):
            lost[name].append(metrics.score("log_loss", test, metrics.baseline(constant, 2000)))
    mean = {name: np.mean(values) for name, values in lost.items()}
    assert mean["baseline"] < mean["uniform"] + 0.003
    assert mean["baseline"] < mean["shares"]
    assert mean["shares"] > mean["uniform"] or kind == "long tail"


def test_ten_copies_of_each_row_leave_the_interval_as_wide() -> None:
    residuals, copy = np.random.default_rng(1).standard_t(4, 12), np.arange(120) // 10
    width = metrics.half_width(residuals, np.zeros(12), 0.9)
    assert metrics.half_width(residuals[copy], np.zeros(120), 0.9, copy) == width
    assert metrics.half_width(residuals[copy], np.zeros(120), 0.9) < width


def test_coverage_where_rows_repeat_unequally() -> None:
    covered = []
    for draw in range(300):
        generator = np.random.default_rng(draw)
        cluster = np.repeat(np.arange(60), generator.integers(1, 9, 60))
        residuals = generator.standard_t(4, 60)[cluster]
        width = metrics.half_width(residuals, np.zeros(len(cluster)), 0.9, cluster)
        covered.append((np.abs(generator.standard_t(4, 500)) <= width).mean())
    assert np.mean(covered) == pytest.approx(0.9, abs=0.015)
