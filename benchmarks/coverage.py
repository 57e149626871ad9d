"""Do interval and probabilities hold? Over many draws of calibration and test rows, for every kind of model.

    PYTHONPATH=scripts .venvs/training/bin/python benchmarks/coverage.py [--wine FOLDER] [--draws 100]

Each model is fitted once, at the search's starting point, on 7 of 10 rows, without repeated ones; the others are drawn
as calibration (1 of 10) and test (2 of 10). Prints the coverage of the interval at 90 %, and log loss and expected
calibration error before and after calibration. Where the wines are absent, scikit-learn's own sets remain. All cores
work, each on a kind of model and a table.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from training.evaluation import diagnostics, metrics
from training.fit import calibration, search
from training.fit.search import STARTING_POINTS, Columns

SHARE = 0.9
KINDS = tuple(STARTING_POINTS)
Table = tuple[pd.DataFrame, np.ndarray]


def tables(wine: Path) -> tuple[dict[str, Table], dict[str, Table]]:
    """Features and target by name: for regression, and for classification with the target as label indices."""
    values, labels = {}, {}
    for kind in ("red", "white"):
        path = wine / f"winequality-{kind}.csv"
        if path.exists():
            rows = pd.read_csv(path).drop_duplicates(ignore_index=True)
            features, quality = rows.drop(columns="quality"), rows["quality"].to_numpy()
            values[f"{kind} wines"] = features, quality.astype(float)
            labels[f"{kind} wines, quality"] = features, np.unique(quality, return_inverse=True)[1]
            labels[f"{kind} wines, good or not"] = features, (quality > 5).astype(int)
        else:
            print(f"no {path}: without the {kind} wines", file=sys.stderr)
    values["diabetes"] = load_diabetes(return_X_y=True, as_frame=True)
    for name, load in (("digits", load_digits), ("breast cancer", load_breast_cancer)):
        labels[name] = load(return_X_y=True, as_frame=True)
    return values, labels


def held_back(table: Table, kind: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and truth of the 3 rows of 10 that the model was not fitted on."""
    features, target = table[0], np.asarray(table[1])
    train = np.random.default_rng(7).random(len(target)) < 0.7
    columns = Columns(tuple(map(str, features.columns)), (), classes)
    parameters = {name.removesuffix("_xgboost"): value for name, value in STARTING_POINTS[kind].items()}
    model = search.build({"candidate": kind, **parameters}, columns, 7).fit(features[train], target[train])
    return search.predict(model, features[~train], classes), target[~train]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wine", type=Path, default=Path(os.environ.get("EXTRAS") or ROOT, "data"), metavar="FOLDER")
    parser.add_argument("--draws", type=int, default=100)
    options = parser.parse_args()
    started = time.perf_counter()
    values, labels = tables(options.wine)
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        lines = [
            [pool.submit(measure, name, table, kind, options.draws) for name, table in found.items() for kind in KINDS]
            for found, measure in ((values, interval), (labels, probabilities))
        ]
        print("| interval at 90 % | rows | mean | sd | within 2 points | by chance |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        tell(lines[0])
        print("\n| probabilities | rows | log loss | calibration error | left | worse |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        tell(lines[1])
    print(f"\n{options.draws} draws, {time.perf_counter() - started:.0f} s on {os.cpu_count()} cores")


def tell(lines: "list[Future[str]]") -> None:
    for line in lines:
        print(line.result(), flush=True)


def interval(name: str, table: Table, kind: str, times: int) -> str:
    """How much the interval at 90 % covers, over that many draws."""
    predicted, actual = held_back(table, kind, 0)
    covered = []
    for held, test in draws(len(actual), times):
        width = metrics.half_width(actual[held], predicted[held], SHARE)
        covered.append((np.abs(actual - predicted)[test] <= width).mean())
    within = float((np.abs(np.array(covered) - SHARE) <= 0.02).mean())
    rows = len(actual) // 3
    chance = within_by_chance(rows, len(actual) - rows)
    return f"| {name}, {kind} | {rows} | {np.mean(covered):.3f} | {np.std(covered):.3f} | {within:.2f} | {chance:.2f} |"


def probabilities(name: str, table: Table, kind: str, times: int) -> str:
    """Means of what `judged` says, over that many draws."""
    predicted, actual = held_back(table, kind, int(np.max(table[1])) + 1)
    found = np.array([judged(predicted, actual, *parts) for parts in draws(len(actual), times)])
    before, after, error, error_after, left, worse = found.mean(axis=0)
    figures = f"{before:.3f} → {after:.3f} | {error:.3f} → {error_after:.3f} | {left:.2f} | {worse:.2f}"
    return f"| {name}, {kind} | {len(actual) // 3} | {figures} |"


def draws(rows: int, times: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A third of the rows as calibration, the others as test, again and again."""
    for draw in range(times):
        order = np.random.default_rng(draw).permutation(rows)
        yield order[: rows // 3], order[rows // 3 :]


def within_by_chance(calibration_rows: int, test_rows: int) -> float:
    """P(coverage within 2 points) of an interval that is right: the calibration rows give a Beta-distributed coverage
    (Vovk 2012, proposition 2b), the test rows a binomial share of it."""
    generator, rank = np.random.default_rng(1), int(np.ceil((calibration_rows + 1) * SHARE))
    true = generator.beta(rank, calibration_rows + 1 - rank, 100_000)
    return float((np.abs(generator.binomial(test_rows, true) / test_rows - SHARE) <= 0.02).mean())


def judged(predicted: np.ndarray, actual: np.ndarray, held: np.ndarray, test: np.ndarray) -> list[float]:
    """Log loss and calibration error before and after, whether it was left alone, and whether it got worse by more
    than two standard errors."""
    calibrator = calibration.fit(predicted[held], actual[held], 7)
    before, truth = predicted[test], actual[test]
    after = calibrator(before)
    rise = metrics.losses("log_loss", truth, after) - metrics.losses("log_loss", truth, before)
    losses = [metrics.score("log_loss", truth, one) for one in (before, after)]
    errors = [diagnostics.calibration_error(diagnostics.reliability(one, truth)) for one in (before, after)]
    worse = rise.mean() > 2 * rise.std() / np.sqrt(len(rise))
    return [*losses, *errors, not calibrator.sharpness, worse]


if __name__ == "__main__":
    main()
