"""How often the gate is wrong: many months simulated, each judged by the gate itself."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import gate_errors

ALIKE = gate_errors.ALIKE


@pytest.fixture(autouse=True)
def _a_quarter_of_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which moves a bound by little of its own noise."""
    monkeypatch.setattr(gate_errors.bootstrap, "RESAMPLES", 500)


@pytest.mark.parametrize(("pair", "as_measured"), [("two seeds of a forest", 0.987), ("two kinds of forest", 0.969)])
def test_the_simulated_models_err_as_alike_as_real_ones(pair: str, as_measured: float) -> None:
    assert gate_errors.correlation(ALIKE[pair]) == pytest.approx(as_measured, abs=0.003)


@pytest.mark.parametrize("pair", ["two seeds of a forest", "two kinds of model"])
def test_an_equally_good_model_is_promoted_in_at_most_6_of_100_draws(pair: str) -> None:
    assert gate_errors.promotions(500, ALIKE[pair], 0.0, seed=1) <= 30


@pytest.mark.parametrize("pair", ["two kinds of forest", "other features"])
def test_a_model_better_by_5_percent_is_promoted_in_at_least_80_of_100_draws(pair: str) -> None:
    assert gate_errors.promotions(100, ALIKE[pair], 0.05, seed=1) >= 80


@pytest.mark.parametrize("copies", [3, 5])
def test_copies_of_rows_promote_an_equally_good_model_no_more_often(copies: int) -> None:
    """Taken for different rows, three copies promote 16 in 100, five 23."""
    assert gate_errors.promotions(500, ALIKE["two kinds of forest"], 0.0, seed=1, copies=copies) <= 30


@pytest.mark.parametrize("metric", ["roc_auc", "f1"])
def test_an_equally_good_model_rarely_gains_by_a_metric_that_is_no_mean(metric: str) -> None:
    """80 draws; 12 or more come by chance once in 1,000 where the true rate is 5 % (binomial)."""
    assert gate_errors.classified(80, metric) <= 11
