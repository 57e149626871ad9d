"""How often the gate is wrong: months of champions and challengers simulated, each judged by the gate itself.

    .venvs/training/bin/python benchmarks/gate_errors.py [--draws 5000]

False promotions of a challenger that is just as good, and promotions of one whose absolute errors are 5 % lower, for
pairs of models that err more or less alike, also where each row is there several times, and by the metrics of
classification; then what each of the two bootstrap bounds would do alone where samples are
awkward. Prints four tables, with 95 % intervals of the shares (Clopper and Pearson 1934). All cores work; what is found
does not depend on how many there are. 5,000 draws take about fifteen minutes of processor time.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from training.config import Config
from training.evaluation import bootstrap
from training.promotion.gate import Evidence, judge

ROWS = 1300  # the test rows of 6,500 wines
# What each model errs by on its own, in the unit of what both err by (Student's t, 6 degrees of freedom: the mean and
# the standard deviation of its absolute values are as 0.53 to 0.46, as for the real white wines).
ALIKE = {
    "two seeds of a forest": 0.096,  # absolute errors correlate by 0.987, as measured on the real white wines
    "two kinds of forest": 0.151,  # by 0.969, likewise
    "two kinds of model": 0.25,
    "other features": 0.5,
    "nothing in common": None,
}
COPIES = (1, 3, 5)
CLASSIFIED, CLASSIFIED_ROWS = ("log_loss", "accuracy", "balanced_accuracy", "f1", "roc_auc", "average_precision"), 400
Drawn = Callable[[np.random.Generator, int], np.ndarray]
ALTOGETHER = ("percentile alone", "studentised alone", "the lower of both")


def errors(
    generator: np.random.Generator, own: float | None, better: float, rows: int = ROWS
) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) errors of a champion, and of a challenger whose errors are `better` (a share) smaller."""
    shared = generator.standard_t(6, rows)
    if own is None:
        return shared, generator.standard_t(6, rows) * (1 - better)
    champion, challenger = shared + generator.normal(0, own, (2, rows))
    return champion, challenger * (1 - better)


def carried_by_few(generator: np.random.Generator, rows: int) -> np.ndarray:
    return 1 - generator.gamma(0.25, 4, rows)


def rarely_different(generator: np.random.Generator, rows: int, share: float) -> np.ndarray:
    """As accuracy has it: of the rows where the two differ, each is right in half."""
    return generator.choice([-1.0, 0, 1], rows, p=[share / 2, 1 - share, share / 2])


def of_forests(generator: np.random.Generator, rows: int) -> np.ndarray:
    champion, challenger = errors(generator, ALIKE["two seeds of a forest"], 0, rows)
    return np.abs(champion) - np.abs(challenger)


AWKWARD: list[tuple[str, Drawn, tuple[int, ...]]] = [
    ("few rows carry the loss (gamma, shape 0.25)", carried_by_few, (40, 100, 300, ROWS)),
    ("one row in 100 differs", partial(rarely_different, share=0.01), (300,)),
    ("three rows in 100 differ", partial(rarely_different, share=0.03), (100, 300)),
    ("two seeds of a forest", of_forests, (100, 300)),
]


def promotions(draws: int, own: float | None, better: float, seed: int, first: int = 0, copies: int = 1) -> int:
    """How many of `draws` challengers, the one numbered `first` and those after it, the gate promotes.

    Of `copies`, ROWS are the rows in all: a third of them are measured where each is there three times.
    """
    config = Config.model_validate({"name": "simulated", "data": {"source": "table.csv", "target": "y"}})
    promoted = 0
    for draw in range(first, first + draws):
        row = np.arange(ROWS) // copies
        champion, challenger = errors(np.random.default_rng([seed, draw]), own, better, row[-1] + 1)
        evidence = Evidence(
            np.zeros(ROWS), challenger[row], champion[row], "the champion", None, clusters=row if copies > 1 else None
        )
        drawn = config.model_copy(update={"split": config.split.model_copy(update={"seed": draw})})
        promoted += judge(drawn, evidence).passed
    return promoted


def classified(draws: int, metric: str, first: int = 0) -> int:
    """How often one of two equally good models of two labels, a fifth of them the second, surely gains by `metric`."""
    promoted = 0
    for draw in range(first, first + draws):
        generator = np.random.default_rng([9, draw])
        signal = generator.normal(-1.5, 1.5, CLASSIFIED_ROWS)
        actual = (generator.random(CLASSIFIED_ROWS) < 1 / (1 + np.exp(-signal))).astype(int)
        models = [1 / (1 + np.exp(-signal - generator.normal(0, 0.5, CLASSIFIED_ROWS))) for _ in range(2)]
        champion, challenger = (np.column_stack([1 - yes, yes]) for yes in models)
        promoted += bootstrap.gain(metric, actual, champion, challenger, 0.95, draw).lower > 0
    return promoted


def passes(draws: int, case: Drawn, rows: int, first: int = 0) -> np.ndarray:
    """How often the bounds of ALTOGETHER lie above zero where the true mean is zero."""
    count = np.zeros(len(ALTOGETHER), dtype=int)
    for draw in range(first, first + draws):
        values = case(np.random.default_rng([rows, draw]), rows)
        percentile, studentised = (bounds[0] for bounds in bootstrap.bootstrap_bounds(values, 0.95, draw))
        count += [percentile > 0, studentised > 0, min(percentile, studentised) > 0]
    return count


def share(count: int, draws: int) -> str:
    interval = stats.binomtest(count, draws).proportion_ci(0.95)
    return f"{count / draws:6.1%} ({interval.low:.1%} to {interval.high:.1%})"


def correlation(own: float | None) -> float:
    """Of the two models' absolute errors."""
    pairs = [np.abs(errors(np.random.default_rng(draw), own, 0)) for draw in range(50)]
    return float(np.corrcoef(np.hstack(pairs))[0, 1])


def _of_part(count: Callable[..., Any], part: tuple[int, int]) -> Any:
    return count(part[1], first=part[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500)
    draws = parser.parse_args().draws
    started = time.perf_counter()
    cores = os.cpu_count() or 1
    parts = [(start, min(100, draws - start)) for start in range(0, draws, 100)]
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:

        def total(count: Callable[..., Any]) -> Any:
            return sum(pool.map(_of_part, [count] * len(parts), parts))

        print(f"{draws} draws of {ROWS} rows, confidence 0.95, {bootstrap.RESAMPLES} resamples\n")
        print("| the two models | correlation | equally good: promoted | 5 % better: promoted |")
        print("| --- | ---: | ---: | ---: |")
        for name, own in ALIKE.items():
            found = (total(partial(promotions, own=own, better=better, seed=1)) for better in (0.0, 0.05))
            shares = " | ".join(share(count, draws) for count in found)
            print(f"| {name} | {correlation(own):.3f} | {shares} |", flush=True)
        print("\n| copies of each row | equally good: promoted | 5 % better: promoted |\n| --- | ---: | ---: |")
        for copies in COPIES:
            own = ALIKE["two kinds of forest"]
            found = (
                total(partial(promotions, own=own, better=better, seed=1, copies=copies)) for better in (0.0, 0.05)
            )
            print(f"| {copies} | {' | '.join(share(count, draws) for count in found)} |", flush=True)
        print("\n| equally good by | rows | promoted |\n| --- | ---: | ---: |")
        for metric in CLASSIFIED:
            count = total(partial(classified, metric=metric))
            print(f"| {metric} | {CLASSIFIED_ROWS} | {share(count, draws)} |", flush=True)
        print(f"\n| equally good, and | rows | {' | '.join(ALTOGETHER)} |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, case, sizes in AWKWARD:
            for rows in sizes:
                counts = total(partial(passes, case=case, rows=rows))
                print(f"| {name} | {rows} | {' | '.join(share(int(count), draws) for count in counts)} |", flush=True)
    print(f"\n{time.perf_counter() - started:.0f} s on {cores} cores")


if __name__ == "__main__":
    main()
