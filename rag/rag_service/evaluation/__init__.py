"""Is it any good on these documents? Asks questions whose answers are known, and measures what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy

from rag_service.answering.answerer import Answerer, Retrieved
from rag_service.answering.confidence import ABOUT, Fitted, summary
from rag_service.evaluation import measures
from rag_service.evaluation.measures import Bin, Estimate, Floats
from rag_service.evaluation.questions import Question
from rag_service.types import Answer, Hit, SearchOptions

_RANKS = (1, 3, 5)


@dataclass(frozen=True)
class Trial:
    """A question as it is asked: of one collection, or only of some `documents` of it (their ids). `answerable` says
    whether those hold the answer; `near_miss`, that they do not though the question looks as if they did. `bad`: a
    person rated the answer that begins with this quote as bad ("": that there is none); no more is known of it."""

    question: Question
    collection: str
    answerable: bool
    documents: tuple[str, ...] = ()
    near_miss: bool = False
    bad: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a trial. `rank` is that of the first passage that holds the answer, counted from 1."""

    trial: Trial
    answer: Answer
    features: tuple[float, ...]
    rank: int | None
    first_quote_holds: bool
    quotes_hold: bool


@dataclass(frozen=True)
class Report:
    """The figures by name, each with its 95 % interval; None where a figure cannot be had from these questions.
    `missed` has a sentence for each threshold that was not met."""

    source: str
    questions: int
    answerable: int
    top_k: int
    seed: int
    figures: dict[str, Estimate | None]
    reliability: tuple[Bin, ...]
    passed: bool = True
    missed: tuple[str, ...] = ()
    mlflow_run: str | None = None


def trials(
    questions: Sequence[Question], near_misses: Sequence[Question], collection: str, documents: Sequence[str]
) -> list[Trial]:
    """Each question as it is, once more of all documents but the one that answers it, where there are others, and the
    near misses of all documents."""
    asked = [Trial(one, collection, True) for one in questions]
    for one in questions:
        others = tuple(document for document in documents if document != one.document_id)
        asked.extend([Trial(one, collection, False, others)] if others else [])
    return [*asked, *(Trial(one, collection, False, near_miss=True) for one in near_misses)]


def ask(answerer: Answerer, trial: Trial, top_k: int, options: SearchOptions) -> Outcome:
    """One trial."""
    found = Retrieved(())

    def tell(event: object) -> None:
        nonlocal found
        if isinstance(event, Retrieved):
            found = event

    question = trial.question
    options = replace(options, documents=trial.documents)
    answer = answerer.ask(question.text, trial.collection, top_k, tell, options)
    quotes = [citation.quote for citation in answer.citations]
    return Outcome(
        trial=trial,
        answer=answer,
        features=found.features,
        rank=next((rank for rank, hit in enumerate(found.hits, start=1) if _holds(hit, question)), None),
        first_quote_holds=measures.contains(" ".join(quotes[:1]), question.answers),
        quotes_hold=any(measures.contains(quote, question.answers) for quote in quotes),
    )


def _holds(hit: Hit, question: Question) -> bool:
    passage = hit.passage
    same = passage.document_id == question.document_id
    return same and passage.start <= question.start and question.end <= passage.end


def report(outcomes: Sequence[Outcome], source: str, top_k: int, seed: int) -> Report:
    """The figures. Those of finding and answering are over the questions that can be answered; those of abstaining and
    of confidence are over all but the near misses, which have figures of their own, as have answers rated as bad."""
    bad = [outcome for outcome in outcomes if outcome.trial.bad is not None]
    asked, outcomes = len(outcomes), [outcome for outcome in outcomes if outcome.trial.bad is None]
    good = [outcome for outcome in outcomes if outcome.trial.answerable]
    labels, abstained, sure = _columns([outcome for outcome in outcomes if not outcome.trial.near_miss])
    near = [outcome for outcome in outcomes if outcome.trial.answerable or outcome.trial.near_miss]
    near_labels, near_abstained, near_sure = _columns(near)

    def over_good(value: Callable[[Outcome], float]) -> Estimate | None:
        return measures.estimate([numpy.array([float(value(outcome)) for outcome in good])], measures.mean, seed)

    ranks = sorted({*(rank for rank in _RANKS if rank < top_k), top_k})
    figures = {f"recall@{rank}": over_good(_found_by(rank)) for rank in ranks}
    figures |= {
        "mrr": over_good(lambda outcome: 1 / outcome.rank if outcome.rank else 0),
        "answer_containment": over_good(lambda outcome: outcome.quotes_hold),
        "answer_containment_first_quote": over_good(lambda outcome: outcome.first_quote_holds),
        "quotes": over_good(lambda outcome: len(outcome.answer.citations)),
        "exact_match": over_good(lambda outcome: measures.exact(outcome.answer.answer, outcome.trial.question.answers)),
        "f1": over_good(lambda outcome: measures.f1(outcome.answer.answer, outcome.trial.question.answers)),
        "abstention_precision": measures.estimate([1 - labels, abstained], measures.share, seed),
        "abstention_recall": measures.estimate([abstained, 1 - labels], measures.share, seed),
        "auroc": measures.estimate([sure, labels], measures.auroc, seed),
        "ece": measures.estimate([sure, labels], measures.calibration_error, seed),
        "near_miss_auroc": measures.estimate([near_sure, near_labels], measures.auroc, seed),
        "near_miss_withheld": measures.estimate([near_abstained, 1 - near_labels], measures.share, seed),
        "answerable_withheld": measures.estimate([near_abstained, near_labels], measures.share, seed),
        "bad_repeated": measures.estimate(
            [numpy.array([float(_same_as_bad(outcome)) for outcome in bad])], measures.mean, seed
        ),
    }
    return Report(source, asked, len(good), top_k, seed, figures, tuple(measures.reliability(sure, labels)))


def _columns(outcomes: Sequence[Outcome]) -> tuple[Floats, Floats, Floats]:
    """Whether each can be answered, whether it was not answered, and the confidence."""
    labels = numpy.array([float(outcome.trial.answerable) for outcome in outcomes])
    abstained = numpy.array([float(outcome.answer.abstained) for outcome in outcomes])
    return labels, abstained, numpy.array([outcome.answer.confidence for outcome in outcomes])


def _same_as_bad(outcome: Outcome) -> bool:
    quotes = [] if outcome.answer.abstained else [citation.quote for citation in outcome.answer.citations]
    return next(iter(quotes), "") == outcome.trial.bad


def _found_by(rank: int) -> Callable[[Outcome], float]:
    return lambda outcome: outcome.rank is not None and outcome.rank <= rank


def calibrated(outcomes: Sequence[Outcome]) -> Fitted:
    """The weights of a collection's confidence that fit these outcomes."""
    outcomes = [outcome for outcome in outcomes if outcome.trial.bad is None]
    answerable = numpy.array([float(outcome.trial.answerable) for outcome in outcomes])
    related = numpy.array([float(outcome.trial.answerable or outcome.trial.near_miss) for outcome in outcomes])
    values = numpy.array([summary(outcome.features) for outcome in outcomes])
    about = ABOUT if related.all() else measures.fit_logistic(values[:, 1:], related)
    return Fitted(tuple(about), tuple(measures.fit_logistic(values, answerable)))
