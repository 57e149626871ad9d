"""Probabilities and intervals hold on rows that nothing was fitted on: by simulation, and on the real wines."""

import warnings

import numpy as np
import pandas as pd
import pytest
from real_wines import real_wines
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from training.evaluation import diagnostics, metrics
from training.evaluation.metrics import Array
from training.fit import calibration


def drawn(generator: np.random.Generator, rows: int, labels: int = 3) -> tuple[Array, Array]:
    """True probabilities, and labels drawn by them."""
    probabilities = generator.dirichlet([0.7] * labels, rows)
    actual = (generator.random((rows, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    return probabilities, np.minimum(actual, labels - 1)


def sharpened(probabilities: Array, power: float) -> Array:
    powers = probabilities**power
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("power", [0.4, 2.5])
def test_timid_and_overconfident_probabilities_become_true(power: float) -> None:
    generator = np.random.default_rng(5)
    (seen, labels), (new, truth) = drawn(generator, 800), drawn(generator, 4000)
    calibrator = calibration.fit(sharpened(seen, power), labels, 1)
    before = sharpened(new, power)
    after = calibrator(before)
    assert calibrator.sharpness
    assert metrics.score("log_loss", truth, after) < metrics.score("log_loss", truth, new) + 0.01
    assert diagnostics.calibration_error(diagnostics.reliability(after, truth)) < 0.03
    assert diagnostics.calibration_error(diagnostics.reliability(before, truth)) > 0.08
    assert after.sum(axis=1) == pytest.approx(np.ones(len(after)))
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()


def test_true_probabilities_are_left_or_hardly_touched() -> None:
    """One standard error is exceeded by chance now and then; what is then done must do little harm, on average none."""
    rises, beyond_noise = [], 0
    for draw in range(60):
        generator = np.random.default_rng(draw)
        (seen, labels), (new, truth) = drawn(generator, 150), drawn(generator, 2000)
        calibrated = calibration.fit(seen, labels, draw)(new)
        rise = metrics.losses("log_loss", truth, calibrated) - metrics.losses("log_loss", truth, new)
        rises.append(rise.mean())
        beyond_noise += rise.mean() > 2 * rise.std() / np.sqrt(len(rise))
    assert np.mean(rises) < 0.002
    assert beyond_noise <= 3


def balanced(probabilities: Array, shares: Array) -> Array:
    """What a model of balanced labels gives where these are the true probabilities."""
    return calibration.unbalanced(probabilities, 1 / shares)


@pytest.mark.parametrize("weights_count", [True, False])
def test_the_balance_is_taken_back_only_where_the_model_has_it(weights_count: bool) -> None:
    """Three labels, of which one has two rows in a hundred. Pure leaves give true probabilities in spite of weights."""
    generator, shares = np.random.default_rng(4), np.array([0.6, 0.38, 0.02])
    truth = calibration.unbalanced(drawn(generator, 4000)[0], shares)
    actual = np.minimum((generator.random((4000, 1)) > truth.cumsum(axis=1)).sum(axis=1), 2)
    given = balanced(truth, shares) if weights_count else truth
    calibrator = calibration.fit(given[:800], actual[:800], 1, shares=shares)
    lost = [metrics.score("log_loss", actual[800:], one[800:]) for one in (truth, calibrator(given))]
    assert lost[1] < lost[0] + 0.005
    assert (calibrator.shares is not None) == weights_count


def test_a_few_rows_that_are_all_right_do_not_make_it_certain() -> None:
    labels = np.arange(60) % 2
    probabilities = np.where(np.eye(2)[labels] == 1, 0.9, 0.1)
    calibrator = calibration.fit(probabilities, labels, 1)
    assert calibrator(np.array([[0.9, 0.1]]))[0, 0] < 0.995
    assert not calibration.fit(probabilities[:8], labels[:8], 1).sharpness


def test_a_label_without_calibration_rows_keeps_a_probability() -> None:
    generator = np.random.default_rng(2)
    seen, labels = drawn(generator, 500, 4)
    calibrator = calibration.fit(sharpened(seen, 3.0), np.where(labels == 3, 0, labels), 1)
    given = calibrator(np.array([[1.0, 0.0, 0.0, 0.0], [0.1, 0.1, 0.1, 0.7]]))
    assert (given > 0).all()
    assert given[1].argmax() == 3


def test_forests_on_digits_are_timid_and_become_true() -> None:
    digits, labels = load_digits(return_X_y=True)
    part = np.random.default_rng(3).random(len(labels))
    model = ExtraTreesClassifier(60, random_state=1).fit(digits[part < 0.5], labels[part < 0.5])
    held, test = (part >= 0.5) & (part < 0.65), part >= 0.65
    calibrator = calibration.fit(model.predict_proba(digits[held]), labels[held], 1)
    before = model.predict_proba(digits[test])
    after = calibrator(before)
    assert metrics.score("log_loss", labels[test], after) < 0.6 * metrics.score("log_loss", labels[test], before)
    errors = [diagnostics.calibration_error(diagnostics.reliability(p, labels[test])) for p in (before, after)]
    assert errors[1] < 0.5 * errors[0]


def coverages(actual: Array, predicted: Array, share: float, draws: int) -> Array:
    """(draws,) coverage of rows drawn again as test, a third of them as calibration."""
    found = []
    for draw in range(draws):
        held = np.random.default_rng(draw).random(len(actual)) < 1 / 3
        width = metrics.half_width(actual[held], predicted[held], share)
        found.append((np.abs(actual - predicted)[~held] <= width).mean())
    return np.array(found)


@pytest.mark.parametrize("share", [0.8, 0.9])
def test_coverage_where_the_noise_depends_on_the_row(share: float) -> None:
    """It holds on average over rows, and the picture shows where it does not."""
    generator = np.random.default_rng(1)
    predicted = generator.uniform(0, 10, 1600)
    actual = predicted + generator.normal(0, 0.1 + 0.2 * predicted)
    assert coverages(actual, predicted, share, 100).mean() == pytest.approx(share, abs=0.01)
    width = metrics.half_width(actual[:600], predicted[:600], share)
    bins = diagnostics.coverage(actual[600:], predicted[600:], width)
    assert bins[0].seen.low > share > bins[-1].seen.high


@pytest.mark.parametrize("wine", ["red", "white"])
def test_coverage_on_the_real_wines(wine: str) -> None:
    """Within 2 points on average; a single split varies more by chance (docs/reference/evaluation.md)."""
    table = real(wine)
    features, quality = table.drop(columns="quality"), table["quality"].to_numpy(float)
    train = np.random.default_rng(7).random(len(table)) < 0.6
    model = ExtraTreesRegressor(60, random_state=1, n_jobs=2).fit(features[train], quality[train])
    found = coverages(quality[~train], model.predict(features[~train]), 0.9, 100)
    assert found.mean() == pytest.approx(0.9, abs=0.01)
    assert (np.abs(found - 0.9) <= 0.02).mean() > 0.5


@pytest.mark.parametrize("wine", ["red", "white"])
def test_calibration_is_never_worse_on_the_real_wines(wine: str) -> None:
    table = real(wine)
    features, labels = table.drop(columns="quality"), (table["quality"] - 3).clip(1, 4).to_numpy() - 1
    train = np.random.default_rng(7).random(len(table)) < 0.6
    model = ExtraTreesClassifier(60, random_state=1, n_jobs=2).fit(features[train], labels[train])
    predicted, actual = model.predict_proba(features[~train]), labels[~train]
    for draw in range(10):
        held = np.random.default_rng(draw).random(len(actual)) < 1 / 3
        after = calibration.fit(predicted[held], actual[held], draw)(predicted[~held])
        rise = metrics.losses("log_loss", actual[~held], after)
        rise -= metrics.losses("log_loss", actual[~held], predicted[~held])
        assert rise.mean() <= 2 * rise.std() / np.sqrt(len(rise))


def real(wine: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        return pd.read_csv(real_wines(wine)).drop_duplicates(ignore_index=True)
