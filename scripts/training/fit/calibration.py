"""Probabilities that mean what they say: a temperature and a floor, fitted on rows that neither training nor gate used.

Temperature scaling (Guo et al. 2017, section 4.2) with one more number, a floor: of a forest's trees often none votes
for a label, and a logarithm needs more than 0. Neither number can change which label is the likeliest.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from training.evaluation.metrics import Array, clustered, losses

FLOORS = (1e-5, 1e-4, 1e-3, 1e-2)
WIDEST = 2.0  # of log(sharpness): temperatures from 0.14 to 7.4
FOLDS = 5


@dataclass(frozen=True)
class Calibrator:
    """softmax(sharpness * log(p + floor)); sharpness is 1 / temperature. Sharpness 0 stands for p as it is.

    With `shares`, the labels' shares in training of a model that was fitted with balanced labels, p is first what it
    would be without the balance.
    """

    sharpness: float
    floor: float
    shares: tuple[float, ...] | None = None

    def __call__(self, probabilities: Array) -> Array:
        """(rows, labels) to (rows, labels)."""
        if self.shares is not None:
            probabilities = unbalanced(probabilities, np.array(self.shares))
        if not self.sharpness:
            return probabilities
        return np.asarray(softmax(self.sharpness * np.log(probabilities + self.floor), axis=1))


def unbalanced(probabilities: Array, shares: Array) -> Array:
    """Probabilities of a model that was fitted with balanced labels, as the labels are spread in the data: by Bayes'
    rule, times each label's share (Elkan 2001, theorem 2). `shares` may be the labels' rows as well."""
    weighted = probabilities * shares
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))


def fit(
    probabilities: Array, actual: Array, seed: int, clusters: Array | None = None, shares: Array | None = None
) -> Calibrator:
    """The calibrator that does best on these rows, or the one that changes nothing where none helps.

    With `shares`, of a model that was fitted with balanced labels, each is tried with and without `unbalanced`: trees
    that are grown until their leaves hold one label give the same probabilities with and without weights.

    A calibrator helps if on rows that it was not fitted on (5 folds, clusters of equal rows kept together) the mean log
    loss falls by more than one standard error of that fall (the one-standard-error rule, Breiman et al. 1984, section
    3.4.3).
    """
    rows, numbers = len(actual), clustered(clusters, len(actual))
    drawn = len(np.unique(numbers))
    fold = (np.random.default_rng(seed).permutation(drawn) % FOLDS)[numbers]
    before = losses("log_loss", actual, probabilities)
    best, least = Calibrator(0.0, 0.0), before
    for known in (None,) if shares is None else (None, tuple(shares.tolist())):
        plain = Calibrator(0.0, 0.0, known)
        given = plain(probabilities)
        tried = [(plain, given)]
        if drawn > 2 * FOLDS:
            held_out = given.copy()
            for number in range(FOLDS):
                held = fold == number
                held_out[held] = _fitted(given[~held], actual[~held])(given[held])
            tried.append((replace(_fitted(given, actual), shares=known), held_out))
        for calibrator, calibrated in tried:
            lost = losses("log_loss", actual, calibrated)
            if lost.mean() < least.mean():
                best, least = calibrator, lost
    fall = before - least
    error = np.sqrt(np.square(np.bincount(numbers, fall - fall.mean())).sum() * drawn / max(1, drawn - 1)) / rows
    return best if fall.mean() > error else Calibrator(0.0, 0.0)


def _fitted(probabilities: Array, actual: Array) -> Calibrator:
    """Least log loss against softened labels: with n rows a label counts as 1 - 1 / (n + 2), the others share the rest
    (Platt 1999, section 2.2), or a few rows that are all right would ask for certainty."""
    rows, labels = probabilities.shape
    wrong = 1.0 / (rows + 2)
    target = np.full((rows, labels), wrong / (labels - 1))
    target[np.arange(rows), actual] = 1.0 - wrong

    def loss(log_sharpness: float, logarithms: Array) -> float:
        return float(-(target * log_softmax(np.exp(log_sharpness) * logarithms, axis=1)).sum(axis=1).mean())

    found = []
    for floor in FLOORS:
        options = {"bounds": (-WIDEST, WIDEST), "method": "bounded", "options": {"xatol": 1e-3}}
        least = minimize_scalar(loss, args=(np.log(probabilities + floor),), **options)
        found.append((float(least.fun), Calibrator(float(np.exp(least.x)), floor)))
    return min(found, key=lambda one: one[0])[1]
