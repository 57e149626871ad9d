"""Make `wine-sample.csv`, a synthetic twin of the UCI wine set, from published-style figures. Standard library only.

    python data/make_sample.py sample             figures -> data/wine-sample.csv (the same bytes every time)
    python data/make_sample.py figures RED WHITE  the two real files -> data/wine-figures.json

The figures hold no row of the real data. For each type of wine and each band of quality they give the number of wines,
quantiles of every column, and rank correlations. `sample` draws from a Gaussian copula: correlated normal
numbers keep the rank correlations, and the quantiles turn each of them into a value of its column.
Bands of quality keep what one copula could not: relations that rise and then fall, such as that of sulphur dioxide.
"""

import argparse
import csv
import json
import math
import random
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

HERE = Path(__file__).resolve().parent
SEED = 2009
BANDS = {"low": (0, 4), "5": (5, 5), "6": (6, 6), "high": (7, 10)}
LEVELS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1)
USUAL_SHARE = 0.85  # a column has so many decimals as this share of its values needs; the rest were typed more finely
MEASURES = (
    "fixed acidity",
    "volatile acidity",
    "citric acid",
    "residual sugar",
    "chlorides",
    "free sulfur dioxide",
    "total sulfur dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
)
COLUMNS = (*MEASURES, "quality")
HEADER = (*COLUMNS, "type")
NORMAL = NormalDist()

Matrix = list[list[float]]


@dataclass(frozen=True)
class Band:
    """What is known of the wines of one type within one band of quality.

    `quantiles` holds a value for each of LEVELS; `correlations` is square, in the order of MEASURES.
    """

    type: str
    band: str
    rows: int
    quality_counts: dict[str, int]
    quantiles: dict[str, list[float]]
    correlations: Matrix


def quantile(ordered: Sequence[float], level: float) -> float:
    """The value below which the share `level` of the sorted values lies, linear between neighbours."""
    position = level * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def normal_scores(values: Sequence[float]) -> list[float]:
    """Each value's rank, ties sharing the middle of theirs, as a normal number (van der Waerden's scores)."""
    positions: dict[float, list[int]] = {}
    for rank, value in enumerate(sorted(values), start=1):
        positions.setdefault(value, []).append(rank)
    middle = {value: sum(ranks) / len(ranks) for value, ranks in positions.items()}
    return [NORMAL.inv_cdf(middle[value] / (len(values) + 1)) for value in values]


def correlation(left: Sequence[float], right: Sequence[float]) -> float:
    """Pearson's correlation. Of normal scores it is van der Waerden's rank correlation: the copula's own parameter."""
    mean_left, mean_right = sum(left) / len(left), sum(right) / len(right)
    product = sum((a - mean_left) * (b - mean_right) for a, b in zip(left, right, strict=True))
    squares = sum((a - mean_left) ** 2 for a in left) * sum((b - mean_right) ** 2 for b in right)
    return product / math.sqrt(squares)


def decimals_of(texts: Iterable[str]) -> int:
    """How many decimals the usual value of a column is written with."""
    lengths = sorted(len(text.partition(".")[2]) for text in texts)
    return lengths[math.ceil(USUAL_SHARE * len(lengths)) - 1]


def band_of(wine_type: str, name: str, rows: list[dict[str, float]]) -> Band:
    """The figures of one band."""
    scores = [normal_scores([row[column] for row in rows]) for column in MEASURES]
    qualities = [round(row["quality"]) for row in rows]
    return Band(
        type=wine_type,
        band=name,
        rows=len(rows),
        quality_counts={str(value): qualities.count(value) for value in sorted(set(qualities))},
        quantiles={
            column: [round(quantile(sorted(row[column] for row in rows), level), 6) for level in LEVELS]
            for column in MEASURES
        },
        correlations=[[round(correlation(left, right), 4) for right in scores] for left in scores],
    )


def make_figures(paths: dict[str, Path]) -> dict[str, Any]:
    """The figures of the real files, comma or semicolon separated, as one JSON-ready object."""
    bands, decimals = [], {}
    for wine_type, path in paths.items():
        with path.open(newline="", encoding="utf-8") as file:
            separator = ";" if ";" in file.readline() else ","
            file.seek(0)
            texts = list(csv.DictReader(file, delimiter=separator))
        decimals[wine_type] = {column: decimals_of(row[column] for row in texts) for column in MEASURES}
        rows = [{column: float(row[column]) for column in COLUMNS} for row in texts]
        for name, (low, high) in BANDS.items():
            bands.append(band_of(wine_type, name, [row for row in rows if low <= row["quality"] <= high]))
    return {
        "about": "Summary figures of the UCI wine quality set (Cortez et al. 2009, CC BY 4.0). No row of it is here.",
        "measures": MEASURES,
        "levels": LEVELS,
        "decimals": decimals,
        "bands": [asdict(band) for band in bands],
    }


def lower_triangle(matrix: Matrix) -> Matrix:
    """Cholesky's factor L of a positive definite matrix: L times its transpose is the matrix."""
    factor = [[0.0] * len(matrix) for _ in matrix]
    for i in range(len(matrix)):
        for j in range(i + 1):
            rest = matrix[i][j] - sum(factor[i][k] * factor[j][k] for k in range(j))
            factor[i][j] = math.sqrt(rest) if i == j else rest / factor[j][j]
    return factor


def draw(band: Band, source: random.Random) -> list[list[float]]:
    """The band's wines, a list of MEASURES and quality each, drawn from its copula.

    The draws of a column are used by their rank, so that the column has the band's quantiles and not a noisy copy.
    """
    factor = lower_triangle(band.correlations)
    scores = []
    for _ in range(band.rows):
        independent = [source.gauss(0, 1) for _ in MEASURES]
        scores.append([sum(a * b for a, b in zip(line, independent, strict=True)) for line in factor])
    columns = []
    for index, column in enumerate(MEASURES):
        order = sorted(range(band.rows), key=lambda row: scores[row][index])
        values = [0.0] * band.rows
        for rank, row in enumerate(order):
            values[row] = value_at(band.quantiles[column], (rank + 0.5) / band.rows)
        columns.append(values)
    qualities = [float(value) for value, count in band.quality_counts.items() for _ in range(count)]
    source.shuffle(qualities)
    return [list(row) for row in zip(*columns, qualities, strict=True)]


def value_at(quantiles: Sequence[float], level: float) -> float:
    """The value at a level between 0 and 1, linear between the quantiles of LEVELS."""
    above = next(index for index, known in enumerate(LEVELS) if level <= known)
    share = (level - LEVELS[above - 1]) / (LEVELS[above] - LEVELS[above - 1])
    return quantiles[above - 1] + share * (quantiles[above] - quantiles[above - 1])


def make_sample(figures: dict[str, Any]) -> str:
    """The twin as the text of a CSV file: as many wines of each type and quality as in the figures, in mixed order."""
    source = random.Random(SEED)
    decimals: dict[str, dict[str, int]] = figures["decimals"]
    lines = []
    for fields in figures["bands"]:
        band = Band(**fields)
        for *measures, quality in draw(band, source):
            cells = [f"{value:.{decimals[band.type][name]}f}" for name, value in zip(MEASURES, measures, strict=True)]
            lines.append(",".join([*cells, f"{quality:.0f}", band.type]))
    source.shuffle(lines)
    return "\n".join([",".join(HEADER), *lines]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two commands; the exit code is 0."""
    parser = argparse.ArgumentParser(
        description="Make the synthetic twin of the wine set, or the figures it is made from."
    )
    parser.add_argument("--folder", type=Path, default=HERE, help="where the figures and the sample lie")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sample", help="wine-figures.json -> wine-sample.csv")
    real = commands.add_parser("figures", help="the two real files -> wine-figures.json")
    real.add_argument("red", type=Path)
    real.add_argument("white", type=Path)
    options = parser.parse_args(arguments)
    figures_file, sample_file = options.folder / "wine-figures.json", options.folder / "wine-sample.csv"
    if options.command == "figures":
        figures = make_figures({"red": options.red, "white": options.white})
        figures_file.write_text(json.dumps(figures, separators=(",", ":")).replace('{"type"', '\n{"type"') + "\n")
        print(f"wrote {figures_file}")
    else:
        sample_file.write_text(make_sample(json.loads(figures_file.read_text())), encoding="utf-8", newline="\n")
        print(f"wrote {sample_file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
