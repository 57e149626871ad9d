"""The population stability index by hand, by chance, and on the wines: drift is seen, and its absence too."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training.evaluation import metrics
from training.fit import profile
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


def test_few_rows_may_differ_by_chance() -> None:
    assert drift.chance([(450, 5)] * 10) == pytest.approx(1)
    few, many = (
        [(450, 5 + 3 * (i % 2 * 2 - 1)) for i in range(10)],
        [(450, 500 + 300 * (i % 2 * 2 - 1)) for i in range(10)],
    )
    assert drift.psi(few) == pytest.approx(drift.psi(many))
    assert drift.chance(few) > 0.01
    assert drift.chance(many) < 1e-9
    assert drift.chance([(450, 0)]) == 1


Draw = Callable[[np.random.Generator, int], np.ndarray]
POPULATIONS: dict[str, Draw] = {
    "11 values": lambda random, rows: random.integers(0, 11, rows),
    "30 values": lambda random, rows: random.integers(0, 30, rows) ** 2 / 7,
    "k/13": lambda random, rows: random.integers(0, 17, rows) / 13,
    "YYYYMMDD": lambda random, rows: 20240000 + random.integers(1, 13, rows) * 100 + random.integers(1, 29, rows),
    "ids": lambda random, rows: random.integers(10**9, 10**10, rows),
    "predictions of categorical data": lambda random, rows: random.integers(0, 15, rows) ** 1.7 / 3,
    "categories": lambda random, rows: random.integers(0, 8, rows).astype(str).astype(object),
    "rare categories": lambda random, rows: (100 ** random.random(rows)).astype(int).astype(str).astype(object),
    "more categories than rows": lambda random, rows: random.integers(0, 1000, rows).astype(str).astype(object),
}


def histogram(table: np.ndarray) -> Histogram:
    """As the contract has it."""
    found = profile.of_frame(pd.DataFrame({"x": table}), np.zeros(len(table)), 0).features["x"]
    if isinstance(found, profile.Categories):
        return Histogram("x", tuple(found.counts.values()), 0, categories=tuple(found.counts), kind="category")
    return Histogram("x", tuple(found.counts), 0, tuple(found.edges))


def counted(known: Histogram, live: np.ndarray) -> dict[int, int]:
    """Rows by bin, as a window of live values is counted."""
    if known.categories:
        places = {text: place for place, text in enumerate(known.categories)}
        return dict(Counter(places.get(text, UNSEEN) for text in live.tolist()))
    inner = np.array(known.edges[1:-1], dtype=np.float32)
    return dict(Counter(np.searchsorted(inner, live.astype(np.float32), side="right").tolist()))


@pytest.mark.parametrize("population", POPULATIONS)
def test_windows_of_the_same_population_are_quiet(population: str) -> None:
    """30 models, 20 windows each. The stated rate, one in 1,000, is exceeded where bins hold few rows."""
    random, alarms = np.random.default_rng(5), 0
    for model in range(30):
        draw = POPULATIONS[population]
        table = draw(random, (150, 700, 5000)[model % 3])
        known = histogram(table if table.dtype == object else table.astype(np.float32))
        for window in range(20):
            live = counted(known, draw(random, (50, 200, 1000)[window % 3]))
            [column] = drift.compare([known], [live], 0.2)
            alarms += column.drifted
    assert alarms <= 6  # of 600: one in 100


def test_a_rare_category_that_becomes_common_is_drift() -> None:
    known = Histogram("x", (3, 4, 900, 1000), categories=("a", "b", "c", "d"), kind="category")
    usual, unseen, rare = ({2: 95, 3: 100, 0: 5}, {2: 45, 3: 50, UNSEEN: 105}, {2: 45, 3: 50, 0: 105})
    columns = [drift.compare([known], [live], 0.2)[0].drifted for live in (usual, unseen, rare)]
    assert columns == [False, True, True]


def test_windows_of_a_survey_that_repeats_few_rows_are_no_alarm() -> None:
    """Sixty different rows, of which whole ones are in a part: a tenth of them make the histogram of predictions."""
    random, of_rows, of_clusters = np.random.default_rng(11), 0, 0
    for _ in range(40):
        copies = random.multinomial(6_000, random.dirichlet(np.full(60, 3.0)))
        values = random.integers(0, 10, 60)
        part = random.permutation(60)[:6]
        counts = tuple(np.bincount(values[part], copies[part], 10).astype(int).tolist())
        design_effect = float((copies**2).sum() / copies.sum())
        known = Histogram("x", counts, 0, tuple(range(11)))
        for _ in range(10):
            window = values[random.choice(60, 500, p=copies / copies.sum())]
            live = dict(enumerate(np.bincount(window, minlength=10).tolist()))
            of_rows += drift.compare([known], [live], 0.2)[0].drifted
            of_clusters += drift.compare([known], [live], 0.2, 1 / design_effect)[0].drifted
    assert of_clusters <= 4  # of 400
    assert of_rows > 300


def sample(*types: str) -> pd.DataFrame:
    """Wines of these types, shuffled. The sample's red and white ones differ as the real ones do."""
    found = pd.read_csv(ROOT / "data" / "wine-sample.csv").drop(columns="quality").drop_duplicates()
    return found[found["type"].isin(types)].drop(columns="type").sample(frac=1, random_state=2)


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
    mixed = sample("red", "white")
    assert alarming(mixed.iloc[2000:], mixed.iloc[:2000], rows, WINDOWS) <= most


def test_red_wines_are_drift_to_a_model_of_white_ones() -> None:
    red, white = sample("red"), sample("white")
    assert alarming(white, red, ROWS, 20) == 1
    assert alarming(red, white, ROWS, 20) == 1


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
