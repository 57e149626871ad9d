"""The population stability index by hand, by chance, and on the wines: drift is seen, and its absence too."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_wines import real_wines
from training.evaluation import metrics
from training.monitoring import drift
from training.monitoring.drift import MISSING, OUTSIDE, UNSEEN, Histogram

ROOT = Path(__file__).parents[2]
ROWS = 200
WINDOWS = 200

counts = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=12)


def test_the_index_by_hand() -> None:
    half = (0.5 - 0.25) * math.log(0.5 / 0.25) + (0.5 - 0.75) * math.log(0.5 / 0.75)
    assert drift.psi([(25, 50), (75, 50)]) == pytest.approx(half)


@given(counts)
def test_the_index_is_never_negative_and_the_same_both_ways(pairs: list[tuple[int, int]]) -> None:
    assert 0 <= drift.psi(pairs) < math.inf
    assert drift.psi(pairs) == pytest.approx(drift.psi([(live, trained) for trained, live in pairs]))


@given(counts, st.integers(2, 5))
def test_the_same_shares_are_no_drift(pairs: list[tuple[int, int]], times: int) -> None:
    assert drift.psi([(trained, trained * times) for trained, _ in pairs]) == pytest.approx(0)


def test_a_gap_a_new_category_and_another_constant_are_drift() -> None:
    number = Histogram("size", (500, 500), 0, (0.0, 1.0, 2.0))
    colour = Histogram("colour", (500, 500), 0, categories=("blue", "red"))
    constant = Histogram("version", (1000,), 0, (3.0,))
    gaps, unseen, other = drift.compare(
        [number, colour, constant],
        [{0: 60, 1: 60, MISSING: 80}, {0: 60, 1: 60, UNSEEN: 80}, {0: 200, OUTSIDE: 80}],
        0.2,
    )
    assert [column.drifted for column in (gaps, unseen, other)] == [True, True, True]
    assert (gaps.share(gaps.missing), unseen.share(unseen.outside), other.rows) == (0.4, 0.4, 200)


def test_few_rows_need_a_larger_index() -> None:
    bins = [(450, 5)] * 10
    assert drift.chance_limit(bins, 12) > 0.5
    assert drift.chance_limit([(450, 500)] * 10, 12) < 0.02
    assert drift.chance_limit([(450, 0)], 12) == 0


def wines(name: str) -> pd.DataFrame:
    return pd.read_csv(real_wines(name)).drop(columns="quality").drop_duplicates(ignore_index=True)


def alarming(train: pd.DataFrame, live: pd.DataFrame, rows: int, windows: int) -> float:
    """Share of windows of `rows` rows, drawn from `live`, in which any column has drifted."""
    generator = np.random.default_rng(1)
    edges = {name: metrics.edges(column.to_numpy()) for name, column in train.items()}
    known = [
        Histogram(str(name), tuple(np.histogram(train[name], bounds)[0].tolist()), 0, tuple(bounds))
        for name, bounds in edges.items()
    ]
    seen = 0
    for _ in range(windows):
        window = live.iloc[generator.integers(0, len(live), rows)]
        bins = [np.searchsorted(edges[name][1:-1], window[name], side="right") for name in train]
        counted = [dict(enumerate(np.bincount(found).tolist())) for found in bins]
        seen += any(column.drifted for column in drift.compare(known, counted, 0.2))
    return seen / windows


@pytest.mark.parametrize(("rows", "most"), [(50, 0.02), (100, 0.04), (200, 0.02)])
def test_windows_without_drift_are_quiet(rows: int, most: float) -> None:
    sample = pd.read_csv(ROOT / "data" / "wine-sample.csv").drop(columns=["quality", "type"]).drop_duplicates()
    mixed = sample.sample(frac=1, random_state=2)
    assert alarming(mixed.iloc[2000:], mixed.iloc[:2000], rows, WINDOWS) <= most


def test_real_wines_without_drift_are_quiet() -> None:
    mixed = pd.concat([wines("red"), wines("white")]).sample(frac=1, random_state=2)
    assert alarming(mixed.iloc[1500:], mixed.iloc[:1500], ROWS, WINDOWS) <= 0.02


def test_red_wines_are_drift_to_a_model_of_white_ones() -> None:
    assert alarming(wines("white"), wines("red"), ROWS, 20) == 1
    assert alarming(wines("red"), wines("white"), ROWS, 20) == 1


@pytest.mark.parametrize("rows", [40, 400])
def test_an_error_is_worse_only_when_its_whole_interval_is(rows: int) -> None:
    quiet = drift.live_error("mae", rows, 0.55, 0.4, tested=0.53, growth=0.1)
    worse = drift.live_error("mae", rows, 0.80, 0.4, tested=0.53, growth=0.1)
    assert (quiet.worse, worse.worse) == (False, True)
    assert quiet.lower < 0.55 < quiet.upper
    assert not drift.live_error("mae", 29, 5.0, 0.1, tested=0.53, growth=0.1).worse


def test_metrics_are_compared_in_their_own_unit() -> None:
    squared = drift.live_error("rmse", 100, 0.64, 0.1, tested=0.7, growth=0.1)
    assert (squared.error, squared.promised) == (pytest.approx(0.8), 0.7)
    wrong = drift.live_error("accuracy", 100, 0.3, 0.46, tested=0.9, growth=0.1)
    assert (wrong.error, wrong.promised, wrong.worse) == (0.3, pytest.approx(0.1), True)
