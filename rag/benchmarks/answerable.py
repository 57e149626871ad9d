"""Fits the weights of the confidence, and judges them on articles that they were not fitted to.

    PYTHONPATH=. python benchmarks/answerable.py JUDGED [--also FILE ...] [--about FILE] [--penalty 30]

The files are in SQuAD's format; in JUDGED, questions without an answer are near misses. Each question is asked as
`rag_service eval --questions FILE` asks it. Every article of JUDGED is judged by weights that were fitted to its other
articles, twice each, and to all of --also (SQuAD 2.0's training articles; none of JUDGED's may be among them).
`withheld`: of the near misses, the share below the threshold that 5 % of the answerable questions are below. The last
lines are the weights fitted to everything, for `answering/confidence.py`; those of its last features are set by hand.
With --about, its answerable questions are asked of other articles too; the weights of `ABOUT` are printed as fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy

from benchmarks.measured import loaded, options
from rag_service.answering.confidence import ABOUT, BY_HAND, FEATURES, about
from rag_service.evaluation import Outcome
from rag_service.evaluation.measures import auroc, fit_logistic
from rag_service.evaluation.run import Plan, outcomes_of

WITHHELD = 0.05


def asked(file: Path, elsewhere: bool = False) -> list[Outcome]:
    """What came of each question, asked where its article is, and where it is not."""
    with loaded() as service:
        return outcomes_of(service, Plan(file=file, elsewhere=elsewhere), lambda done, total: None)


def fitted(outcomes: Sequence[Outcome], penalty: float) -> list[float]:
    labels = numpy.array([float(one.trial.answerable) for one in outcomes])
    features = numpy.array([one.features for one in outcomes])[:, : -len(BY_HAND)]
    return [*fit_logistic(features, labels, penalty), *BY_HAND]


def fitted_about(outcomes: Sequence[Outcome], penalty: float) -> list[float]:
    labels = numpy.array([float(one.trial.answerable) for one in outcomes])
    features = numpy.array([one.features for one in outcomes])[:, : len(ABOUT) - 1]
    return list(fit_logistic(features, labels, penalty))


def held_out(judged: Sequence[Outcome], also: Sequence[Outcome], penalty: float) -> list[float]:
    """The confidence in each, by weights of the other articles."""
    weights = {}
    for article in {one.trial.question.document_id for one in judged}:
        others = [one for one in judged if one.trial.question.document_id != article]
        weights[article] = fitted([*others, *others, *also], penalty)
    own = [weights[one.trial.question.document_id] for one in judged]
    totals = [by[0] + float(numpy.dot(by[1:], one.features)) for by, one in zip(own, judged, strict=True)]
    return [about(one.features) / (1 + numpy.exp(-total)) for one, total in zip(judged, totals, strict=True)]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("judged", type=Path)
    parser.add_argument("--also", type=Path, nargs="*", default=[])
    parser.add_argument("--about", type=Path)
    parser.add_argument("--penalty", type=float, default=30.0)
    given = parser.parse_args()
    judged, also = asked(given.judged), [one for file in given.also for one in asked(file)]
    labels = numpy.array([float(one.trial.answerable) for one in judged])
    for name, sure in (
        ("as it is", numpy.array([one.answer.confidence for one in judged])),
        ("held out", numpy.array(held_out(judged, also, given.penalty))),
    ):
        threshold = float(numpy.quantile(sure[labels == 1], WITHHELD))
        withheld = float((sure[labels == 0] < threshold).mean())
        print(f"{name}: AUROC {auroc(sure, labels):.4f}, withheld {withheld:.3f} below {threshold:.3f}", flush=True)
    weights = fitted([*judged, *judged, *also], given.penalty)
    show(weights)
    if given.about:
        print("about the subject:")
        show(fitted_about(asked(given.about, elsewhere=True), given.penalty))


def show(weights: Sequence[float]) -> None:
    for feature, weight in zip(("constant", *FEATURES), weights, strict=False):
        print(f"{weight:8.2f}  {feature}")


if __name__ == "__main__":
    main()
