"""How often the gate is wrong: months of champions and challengers simulated, each judged by the gate itself.

    .venvs/training/bin/python benchmarks/gate_errors.py [--draws 5000]

False promotions of a challenger that is just as good, and promotions of one whose absolute errors are 5 % lower, for
pairs of models that err more or less alike; then what each of the two bootstrap bounds would do alone where samples are
awkward. Prints two tables, with 95 % intervals of the shares (Clopper and Pearson 1934).
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from training import comparison
from training.config import Config
from training.gate import Evidence, judge

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
AWKWARD: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "few rows carry the loss": lambda draw, rows: 1 - draw.gamma(0.25, 4, rows),
    "one row in 50 differs": lambda draw, rows: draw.choice([-1.0, 0, 1], rows, p=[0.01, 0.98, 0.01]),
    "heavy tails (t, 3)": lambda draw, rows: np.abs(draw.standard_t(3, rows)) - np.abs(draw.standard_t(3, rows)),
}


def errors(generator: np.random.Generator, own: float | None, better: float) -> tuple[np.ndarray, np.ndarray]:
    """(ROWS,) errors of a champion, and of a challenger whose errors are `better` (a share) smaller."""
    shared = generator.standard_t(6, ROWS)
    if own is None:
        return shared, generator.standard_t(6, ROWS) * (1 - better)
    champion, challenger = shared + generator.normal(0, own, (2, ROWS))
    return champion, challenger * (1 - better)


def promotions(draws: int, own: float | None, better: float, seed: int) -> int:
    """How many of `draws` challengers the gate promotes."""
    config = Config.model_validate({"name": "simulated", "data": {"source": "table.csv", "target": "y"}})
    promoted = 0
    for draw in range(draws):
        champion, challenger = errors(np.random.default_rng([seed, draw]), own, better)
        evidence = Evidence(np.zeros(ROWS), challenger, champion, "the champion", None)
        drawn = config.model_copy(update={"split": config.split.model_copy(update={"seed": draw})})
        promoted += judge(drawn, evidence).passed
    return promoted


def passes(draws: int, case: str, rows: int) -> dict[str, int]:
    """How often each bound lies above zero where the true mean is zero."""
    count = {"percentile": 0, "studentised": 0, "the lower of both": 0}
    for draw in range(draws):
        values = AWKWARD[case](np.random.default_rng([rows, draw]), rows)
        percentile, studentised = (bounds[0] for bounds in comparison.bootstrap_bounds(values, 0.95, draw))
        count["percentile"] += percentile > 0
        count["studentised"] += studentised > 0
        count["the lower of both"] += comparison.bounds_of_mean(values, 0.95, draw)[0] > 0
    return count


def share(count: int, draws: int) -> str:
    interval = stats.binomtest(count, draws).proportion_ci(0.95)
    return f"{count / draws:6.1%} ({interval.low:.1%} to {interval.high:.1%})"


def correlation(own: float | None) -> float:
    """Of the two models' absolute errors."""
    pairs = [np.abs(errors(np.random.default_rng(draw), own, 0)) for draw in range(50)]
    return float(np.corrcoef(np.hstack(pairs))[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500)
    draws = parser.parse_args().draws
    print(f"{draws} draws of {ROWS} rows, confidence 0.95, {comparison.RESAMPLES} resamples\n")
    print("| the two models | correlation | equally good: promoted | 5 % better: promoted |")
    print("| --- | ---: | ---: | ---: |")
    for name, own in ALIKE.items():
        false, true = (promotions(draws, own, better, 1) for better in (0.0, 0.05))
        print(f"| {name} | {correlation(own):.3f} | {share(false, draws)} | {share(true, draws)} |", flush=True)
    print("\n| equally good, and | rows | percentile alone | studentised alone | the lower of both |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for case in AWKWARD:
        for rows in (50, 200, ROWS):
            counts = passes(draws, case, rows).values()
            print(f"| {case} | {rows} | {' | '.join(share(count, draws) for count in counts)} |", flush=True)


if __name__ == "__main__":
    main()
