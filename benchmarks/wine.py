"""Accuracy on the real wines beside the literature's, by the literature's protocol.

    .venvs/training/bin/python benchmarks/wine.py [--runs 20] [--data FOLDER] [--candidates extra_trees ...]

Cortez et al. (Decision Support Systems 47(4), 2009, table 3) ran 5-fold cross-validation 20 times on all rows, red and
white wines apart. The set repeats rows, so the same wine is in the training folds and in the judged one; the last lines
keep repeated wines together, and say what a model is worth on wines that it has not seen. A line is the mean over the
runs, with half of its 95 % confidence interval (Student's t, as in the paper).

Nothing is tuned on what is reported: a candidate has the parameters of the pipeline's first trial of it. Where several
candidates are named, cross-validation inside each training fold chooses between them.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import cohen_kappa_score
from sklearn.model_selection import GroupKFold, KFold

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from training.fit import local, search
from training.fit.local import TrainingRows
from training.fit.search import STARTING_POINTS

FOLDS, INNER_FOLDS = 5, 3
TARGET = "quality"
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Figures:
    """Mean absolute error in points of quality; the shares (0 to 1) are of whole points after rounding."""

    mae: float
    accuracy: float
    kappa: float

    def beats(self, other: "Figures") -> bool:
        return self.mae < other.mae and self.accuracy > other.accuracy and self.kappa > other.kappa


# The best of the three methods in the paper, the support vector machine.
PAPER = {"red": Figures(0.46, 0.624, 0.387), "white": Figures(0.45, 0.646, 0.439)}


def read(folder: Path, colour: str) -> pd.DataFrame:
    """The file of one colour as UCI has it, or its rows in the file that `make data` writes."""
    single = folder / f"winequality-{colour}.csv"
    if single.is_file():
        return pd.read_csv(single, sep=None, engine="python")
    both = pd.read_csv(folder / "WineQuality.csv")
    return both[both["type"] == colour].drop(columns="type").reset_index(drop=True)


def judge(actual: Array, predicted: Array) -> Figures:
    """The paper's figures at tolerance 0.5: right is what rounds to the truth."""
    rounded = np.rint(predicted)
    return Figures(
        mae=float(np.abs(actual - predicted).mean()),
        accuracy=float((np.abs(actual - predicted) <= 0.5).mean()),
        kappa=float(cohen_kappa_score(actual, rounded)),
    )


def cross_validate(wines: pd.DataFrame, candidates: Sequence[str], seed: int, together: bool) -> Figures:
    """One run: every wine is predicted once, by a model fitted without its fold. `together`: nor its repetitions."""
    features, actual = wines.drop(columns=TARGET), wines[TARGET].to_numpy(np.float64)
    group = features.groupby([*features.columns], sort=False).ngroup().to_numpy()
    if together:
        folds = GroupKFold(FOLDS, shuffle=True, random_state=seed).split(features, actual, group)
    else:
        folds = KFold(FOLDS, shuffle=True, random_state=seed).split(features)
    predicted = np.empty(len(wines))
    for fit, held in folds:
        inner = (group[fit] if together else np.arange(len(fit))) % INNER_FOLDS
        names = tuple(features.columns)
        columns = search.Columns(names, (), 0)
        rows = TrainingRows(columns, features.iloc[fit].reset_index(drop=True), actual[fit], inner)
        model = search.build(chosen(candidates, rows, seed), columns, seed, jobs=-1).fit(rows.features, rows.target)
        predicted[held] = search.predict(model, features.iloc[held], classes=0)
    return judge(actual, predicted)


def chosen(candidates: Sequence[str], rows: TrainingRows, seed: int) -> search.Parameters:
    """The candidate, with its starting point, that predicts these training rows best when they are held out."""
    offered = [{"candidate": name, **start(name)} for name in candidates]
    if len(offered) == 1:
        return offered[0]
    return min(offered, key=lambda parameters: local.cross_validate(parameters, rows, "mae", seed))


def start(candidate: str) -> search.Parameters:
    return {name.removesuffix("_xgboost"): value for name, value in STARTING_POINTS[candidate].items()}


def line(name: str, colour: str, runs: Sequence[Figures]) -> str:
    """A line of the table, with the interval where there is more than one run."""
    cells = []
    for figure, factor, form in (("mae", 1, ".3f"), ("accuracy", 100, ".1f"), ("kappa", 100, ".1f")):
        values = np.array([getattr(run, figure) for run in runs]) * factor
        wide = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else np.nan
        cells.append(f"{values.mean():{form}}" + ("" if np.isnan(wide) else f" ± {wide:{form}}"))
    return f"| {colour} | {name} | " + " | ".join(cells) + " |"


def mean(runs: Sequence[Figures]) -> Figures:
    return Figures(*(float(np.mean([getattr(run, name) for run in runs])) for name in ("mae", "accuracy", "kappa")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EXTRAS") or ROOT, "data"), metavar="FOLDER")
    parser.add_argument("--candidates", nargs="+", choices=sorted(STARTING_POINTS), default=["extra_trees"])
    options = parser.parse_args()
    folder = next((one for one in (options.data, ROOT / "data") if [*one.glob("[wW]ine*uality*.csv")]), None)
    if folder is None:
        print(f"skipped: the real wines are not in {options.data}; `make data` fetches them, or name a folder: --data")
        return 0
    started = time.perf_counter()
    lines, better = [], []
    for colour, paper in PAPER.items():
        wines = read(folder, colour)
        found = {
            together: [cross_validate(wines, options.candidates, seed, together) for seed in range(options.runs)]
            for together in (False, True)
        }
        repeated = int(wines.duplicated().sum())
        lines.append(line("Cortez et al. 2009", f"{colour}, {len(wines):,} rows", [paper]))
        lines.append(line("this pipeline, the same protocol", "", found[False]))
        lines.append(line(f"this pipeline, {repeated} repeated rows kept together", "", found[True]))
        better.append(mean(found[False]).beats(paper))
    print(f"\n{options.runs} runs of {FOLDS} folds; {', '.join(options.candidates)}, parameters of the first trial.")
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {time.perf_counter() - started:.0f} s.\n")
    print("| wines | | mean absolute error | % right within 0.5 | kappa, % |\n| --- | --- | ---: | ---: | ---: |")
    print("\n".join(lines))
    print(f"\nBetter than the paper on all six figures: {'yes' if all(better) else 'NO'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
