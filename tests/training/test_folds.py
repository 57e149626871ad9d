"""Cross-validation where a fold lacks labels, and learners of noise."""

import numpy as np
import pandas as pd
import pytest
from training.evaluation import bootstrap, metrics
from training.fit import calibration, local, search
from training.fit.local import TrainingRows
from training.fit.search import STARTING_POINTS


def parameters(candidate: str) -> search.Parameters:
    point = STARTING_POINTS[candidate].items()
    named = {name.removesuffix("_xgboost"): value for name, value in point}
    return {"candidate": candidate, **named, "n_estimators": 20}


def rows_of(target: list[int] | np.ndarray, fold: list[int] | np.ndarray, weights: str = "none") -> TrainingRows:
    actual = np.array(target)
    generator = np.random.default_rng(1)
    frame = pd.DataFrame(generator.normal(size=(len(actual), 2)).astype("float32"), columns=["a", "b"])
    frame["a"] += actual
    columns = search.Columns(("a", "b"), (), int(actual.max()) + 1)
    return TrainingRows(columns, frame, actual, np.array(fold), weights)


@pytest.mark.parametrize("candidate", sorted(STARTING_POINTS))
@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "f1", "roc_auc"])
@pytest.mark.parametrize("labels", [2, 3])
def test_a_fold_may_be_fitted_without_some_labels(candidate: str, metric: str, labels: int) -> None:
    """The rare label is in one fold: the model that judges it has never seen it."""
    target = [0] * 30 + ([1] * 30 if labels == 3 else [0] * 30) + [labels - 1]
    value = local.cross_validate(parameters(candidate), rows_of(target, [0, 1, 2] * 20 + [2]), metric, 7)
    assert np.isfinite(value)


def test_a_ranking_without_two_labels_in_any_fold_says_so() -> None:
    with pytest.raises(ValueError, match="roc_auc is not defined: in each fold all rows have one label"):
        local.cross_validate(parameters("extra_trees"), rows_of([0] * 30 + [1] * 30, [0] * 30 + [1] * 30), "roc_auc", 7)


@pytest.mark.parametrize("candidate", sorted(STARTING_POINTS))
def test_balanced_weights_find_the_rare_label_and_keep_the_probabilities(candidate: str) -> None:
    target = (np.random.default_rng(3).random(900) < 0.06).astype(int)
    plain, balanced = (rows_of(target, np.arange(900) % 3, weights) for weights in ("none", "balanced"))
    few = parameters(candidate) | ({} if candidate == "xgboost" else {"min_samples_leaf": 10})
    scores = [local.cross_validate(few, rows, "balanced_accuracy", 7) for rows in (plain, balanced)]
    assert scores[1] > scores[0] + 0.05
    lost = [local.cross_validate(few, rows, "log_loss", 7) for rows in (plain, balanced)]
    assert lost[1] < lost[0] + 0.1


def test_a_forest_of_noise_with_many_labels_does_not_beat_the_baseline() -> None:
    """Thirty labels, as in the gate: fitted on 280 rows, calibrated on 40, judged on 80."""
    passed = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        frame = pd.DataFrame(generator.random((400, 2)).astype("float32"), columns=["a", "b"])
        target = np.concatenate([np.arange(30), generator.integers(0, 30, 370)])
        columns = search.Columns(("a", "b"), (), 30)
        model = search.build(parameters("extra_trees"), columns, 1).fit(frame[:280], target[:280])
        held, test = (search.predict(model, frame[part], 30) for part in (slice(280, 320), slice(320, 400)))
        predicted = calibration.fit(held, target[280:320], seed)(test)
        baseline = metrics.baseline(metrics.baseline_shares(np.bincount(target[:280], minlength=30)), 80)
        passed += bootstrap.gain("log_loss", target[320:], baseline, predicted, 0.95, seed).lower > 0
    assert passed <= 2
