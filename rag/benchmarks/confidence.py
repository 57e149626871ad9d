"""Does the confidence tell what the documents answer? Fitted on one half of a file's articles, judged on the other.

    PYTHONPATH=. python benchmarks/confidence.py FILE [--splits 20]

FILE is in SQuAD's format. The evaluation asks each question of its own half of the articles and of the other half
(`rag_service eval --questions FILE`), its calibration fits the weights. Each way of fitting uses some of the features.
`held out` is the mean over random halves of the articles: each is judged by weights that were fitted to the other.
`wrong` are abstentions from what the documents answer, `right` those from what they do not, at the service's threshold.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy

from rag_service.answering import confidence
from rag_service.evaluation import Outcome, calibrated
from rag_service.evaluation.measures import auroc, calibration_error
from rag_service.evaluation.running import Plan, outcomes_of
from rag_service.runtime import Runtime
from rag_service.settings import read_settings

COSINE, WORDS, LATE = range(3)
WAYS = {
    "cosine, words": (COSINE, WORDS),
    "late interaction": (LATE,),
    "words, late interaction": (WORDS, LATE),
    "cosine, words, late interaction": (COSINE, WORDS, LATE),
}


def judged(outcomes: Sequence[Outcome], sure: Sequence[float], threshold: float) -> list[float]:
    """AUROC, calibration error, and the shares of right and of wrong abstentions."""
    said, labels = numpy.array(sure), numpy.array([float(one.trial.answerable) for one in outcomes])
    abstained = said < threshold
    shares = float(abstained[labels == 0].mean()), float(abstained[labels == 1].mean())
    return [auroc(said, labels), calibration_error(said, labels), *shares]


def held_out(outcomes: Sequence[Outcome], threshold: float, splits: int) -> list[float]:
    """The mean of `judged` over so many random halves of the articles."""
    articles = sorted({str(one.trial.question.document_id) for one in outcomes})
    rows = []
    for seed in range(splits):
        half = set(random.Random(seed).sample(articles, len(articles) // 2))
        inside = [one.trial.question.document_id in half for one in outcomes]
        fitted = {
            side: calibrated([one for one, within in zip(outcomes, inside, strict=True) if within is not side])
            for side in (True, False)
        }
        sure = [confidence(one.features, fitted[side]) for one, side in zip(outcomes, inside, strict=True)]
        rows.append(judged(outcomes, sure, threshold))
    return [float(value) for value in numpy.mean(rows, axis=0)]


def row(name: str, figures: Sequence[float]) -> None:
    print(f"| {name} | " + " | ".join(f"{figure:.4f}" for figure in figures) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Runtime(read_settings(data_dir=Path(folder), generator="none"))) as runtime,
    ):
        runtime.load()
        outcomes = outcomes_of(runtime, Plan(file=options.file), lambda done, total: None)
        threshold = runtime.settings.threshold
    print(f"{len(outcomes)} trials; abstentions below {threshold}\n")
    print("| weights | AUROC | calibration error | right | wrong |\n| --- | --- | --- | --- | --- |")
    row("the service's, all articles", judged(outcomes, [one.answer.confidence for one in outcomes], threshold))
    for name, chosen in WAYS.items():
        some = [replace(one, features=tuple(one.features[place] for place in chosen)) for one in outcomes]
        row(f"{name}, held out", held_out(some, threshold, options.splits))
        print(f"  fitted on all articles: {', '.join(f'{weight:.2f}' for weight in calibrated(some))}")


if __name__ == "__main__":
    main()
