"""The synthetic twin: reproducible, shaped like the wine set, and made of figures only."""

import csv
import json
import sys
from collections import Counter
from itertools import chain
from pathlib import Path
from statistics import fmean

import pytest

DATA = Path(__file__).parents[2] / "data"
sys.path.insert(0, str(DATA))

import make_sample  # found by the line above: data/ is a folder of scripts

SAMPLE = DATA / "wine-sample.csv"
FIGURES = DATA / "wine-figures.json"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with SAMPLE.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    (tmp_path / FIGURES.name).write_bytes(FIGURES.read_bytes())
    assert make_sample.main(["--folder", str(tmp_path), "sample"]) == 0
    assert (tmp_path / SAMPLE.name).read_bytes() == SAMPLE.read_bytes()


def test_another_seed_is_another_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_sample, "SEED", make_sample.SEED + 1)
    assert make_sample.make_sample(json.loads(FIGURES.read_text())).encode() != SAMPLE.read_bytes()


def test_as_many_wines_of_each_type_and_quality_as_in_the_real_set(rows: list[dict[str, str]]) -> None:
    assert list(rows[0]) == [*make_sample.HEADER]
    assert Counter(row["type"] for row in rows) == {"red": 1599, "white": 4898}
    red = Counter(row["quality"] for row in rows if row["type"] == "red")
    assert red == {"3": 10, "4": 53, "5": 681, "6": 638, "7": 199, "8": 18}


def test_the_relation_of_alcohol_and_quality_is_kept(rows: list[dict[str, str]]) -> None:
    """In the real set the rank correlation of the two is 0.44 over all wines."""
    alcohol, quality = ([float(row[name]) for row in rows] for name in ("alcohol", "quality"))
    scores = make_sample.normal_scores(alcohol), make_sample.normal_scores(quality)
    assert make_sample.correlation(*scores) == pytest.approx(0.44, abs=0.05)


def test_what_the_figures_say_of_a_table_comes_back_from_the_sample(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    """Figures of the sample itself: quantiles as in the committed ones, the tails apart, to 3 % of the range."""
    paths = {}
    for kind in ("red", "white"):
        paths[kind] = tmp_path / f"{kind}.csv"
        with paths[kind].open("w", newline="") as file:
            writer = csv.DictWriter(file, make_sample.COLUMNS, delimiter=";", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(row for row in rows if row["type"] == kind)
    again = make_sample.make_figures(paths)
    known = json.loads(FIGURES.read_text())
    assert again["decimals"] == known["decimals"]
    for new, old in zip(again["bands"], known["bands"], strict=True):
        pairs = zip(chain(*new["correlations"]), chain(*old["correlations"]), strict=True)
        assert fmean(abs(found - wanted) for found, wanted in pairs) < 0.1
        assert (new["type"], new["band"], new["quality_counts"]) == (old["type"], old["band"], old["quality_counts"])
        for column, values in old["quantiles"].items():
            spread = values[-1] - values[0]
            assert new["quantiles"][column][2:-2] == pytest.approx(values[2:-2], abs=0.03 * spread), column


def test_quantiles_are_linear_between_neighbours() -> None:
    assert [make_sample.quantile([1.0, 2.0, 4.0], level) for level in (0, 0.25, 0.5, 0.75, 1)] == [1, 1.5, 2, 3, 4]


def test_decimals_are_those_of_the_usual_value() -> None:
    assert make_sample.decimals_of(["1.25"] * 9 + ["1.255"]) == 2
    assert make_sample.decimals_of(["1", "2.5", "3.5"]) == 1


def test_the_factor_of_a_matrix_times_its_transpose_is_the_matrix() -> None:
    matrix = [[1.0, 0.5, 0.2], [0.5, 1.0, -0.3], [0.2, -0.3, 1.0]]
    factor = make_sample.lower_triangle(matrix)
    product = [[sum(a * b for a, b in zip(left, right, strict=True)) for right in factor] for left in factor]
    assert [pytest.approx(line) for line in matrix] == product
