"""Fits the weights of the confidence, and judges them on articles that they were not fitted to.

    PYTHONPATH=. python benchmarks/answerable.py JUDGED [--also FILE ...] [--penalty 30]

The files are in SQuAD's format; in JUDGED, questions without an answer are near misses. Each question is asked as
`rag_service eval --questions FILE` asks it. Every article of JUDGED is judged by weights that were fitted to its other
articles and to all of --also (SQuAD 2.0's training articles; none of JUDGED's may be among them). `held back`: of the
near misses, the share below the threshold that 5 % of the answerable questions are below. The last lines are the
weights fitted to everything, for `answering/confidence.py`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy

from rag_service.answering.confidence import FEATURES, about
from rag_service.evaluation import Outcome
from rag_service.evaluation.measures import auroc, fit_logistic
from rag_service.evaluation.run import Plan, outcomes_of
from rag_service.service import Runtime
from rag_service.settings import read_settings

WITHHELD = 0.05


def asked(file: Path) -> list[Outcome]:
    """What came of each question that the file's article answers, or seems to."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Runtime(read_settings(data_dir=Path(folder), generator="none"))) as runtime,
    ):
        runtime.load()
        outcomes = outcomes_of(runtime, Plan(file=file), lambda done, total: None)
    return [one for one in outcomes if one.trial.answerable or one.trial.near_miss]


def fitted(outcomes: Sequence[Outcome], penalty: float) -> list[float]:
    labels = numpy.array([float(one.trial.answerable) for one in outcomes])
    return fit_logistic(numpy.array([one.features for one in outcomes]), labels, penalty)


def held_out(judged: Sequence[Outcome], also: Sequence[Outcome], penalty: float) -> list[float]:
    """The confidence in each, by weights of the other articles."""
    articles = {one.trial.question.document_id for one in judged}
    sure = {}
    for article in articles:
        others = [one for one in judged if one.trial.question.document_id != article]
        weights = fitted([*others, *also], penalty)
        for one in judged:
            if one.trial.question.document_id == article:
                total = weights[0] + float(numpy.dot(weights[1:], one.features))
                sure[id(one)] = about(one.features) / (1 + numpy.exp(-total))
    return [sure[id(one)] for one in judged]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judged", type=Path)
    parser.add_argument("--also", type=Path, nargs="*", default=[])
    parser.add_argument("--penalty", type=float, default=30.0)
    options = parser.parse_args()
    judged, also = asked(options.judged), [one for file in options.also for one in asked(file)]
    labels = numpy.array([float(one.trial.answerable) for one in judged])
    for name, sure in (
        ("as it is", numpy.array([one.answer.confidence for one in judged])),
        ("held out", numpy.array(held_out(judged, also, options.penalty))),
    ):
        threshold = float(numpy.quantile(sure[labels == 1], WITHHELD))
        back = float((sure[labels == 0] < threshold).mean())
        print(f"{name}: AUROC {auroc(sure, labels):.4f}, held back {back:.3f} below {threshold:.3f}")
    for name, weight in zip(("constant", *FEATURES), fitted([*judged, *also], options.penalty), strict=True):
        print(f"{weight:8.2f}  {name}")


if __name__ == "__main__":
    main()
