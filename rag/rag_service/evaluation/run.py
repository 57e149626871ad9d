"""An evaluation from beginning to end: which questions are asked of which collection, with which models."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rag_service.answering.answerer import Answerer
from rag_service.errors import BadQuestions, BadSweep
from rag_service.evaluation import Outcome, Report, Trial, ask, calibrated, report, trials
from rag_service.evaluation.gate import missed
from rag_service.evaluation.questions import Article, make_near_misses, make_questions, read_squad
from rag_service.evaluation.ratings import rated_trials, read_ratings
from rag_service.service import Service
from rag_service.store.protocol import Store, every_document
from rag_service.store.sqlite import SqliteStore
from rag_service.telemetry.mlflow import log_run
from rag_service.types import SearchOptions, Weights

_MOST_DOCUMENTS = 200
_HALVES = ("first half", "second half")

Step = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """What to evaluate: a collection by `count` questions made from it, or by those of a `file`. Rated answers are
    asked of their collections; questions in SQuAD's format of the file's texts, which are cut as `cut` says
    (`chunk_tokens`, `overlap_tokens`), else as the settings do, with `elsewhere` also of other texts."""

    collection: str = "default"
    count: int = 150
    top_k: int = 4
    seed: int = 7
    file: Path | None = None
    calibrate: bool = False
    options: SearchOptions = field(default_factory=SearchOptions)
    cut: Mapping[str, int] = field(default_factory=dict)
    elsewhere: bool = True


def evaluate_and_log(service: Service, plan: Plan, gate: Mapping[str, float], step: Step) -> Report:
    """Evaluates, judges by the gate, and logs to MLflow where MLFLOW_TRACKING_URI is set. Raises what `evaluate`
    raises, and TrackingFailed."""
    made = evaluate(service, plan, step)
    sentences = tuple(missed(made, gate))
    address = service.settings.mlflow_tracking_uri
    made = replace(made, passed=not sentences, missed=sentences)
    if not address:
        return made
    known = [(name, figure) for name, figure in made.figures.items() if figure]
    metrics = {name: figure.value for name, figure in known}
    metrics |= {f"{name}_{end}": getattr(figure, end) for end in ("low", "high") for name, figure in known}
    parameters = {"source": made.source, "top_k": plan.top_k, "seed": plan.seed}
    parameters["embedder"] = service.parts().embedder.name
    return replace(made, mlflow_run=log_run(address, "rag-evaluation", metrics, parameters))


def evaluate(service: Service, plan: Plan, step: Step) -> Report:
    """Runs it; `step` hears how many of how many trials are done. With `calibrate` the confidence of the collection is
    fitted to what came out, kept in the store and used from then on; the report is of before. Raises EmptyCollection,
    BadQuestions."""
    view = service.store.view(plan.collection) if plan.calibrate else None
    found = outcomes_of(service, plan, step)
    if view is not None:
        service.store.remember(view, json.dumps(asdict(calibrated(found))))
    return report(found, plan.file.name if plan.file else plan.collection, plan.top_k, plan.seed)


def swept(plan: Plan, name: str, value: str) -> Plan:
    """The plan with another value: of `top_k`, `depth`, `chunk_tokens`, `overlap_tokens`, or of `weights`, which are
    three with colons between. Raises BadSweep."""
    try:
        if name == "top_k":
            return replace(plan, top_k=int(value))
        if name == "depth":
            return replace(plan, options=replace(plan.options, depth=int(value)))
        if name == "weights":
            late, dense, lexical = map(float, value.split(":"))
            return replace(plan, options=replace(plan.options, weights=Weights(late, dense, lexical)))
        if name in ("chunk_tokens", "overlap_tokens") and plan.file:
            return replace(plan, cut={**plan.cut, name: int(value)})
    except ValueError as error:
        raise BadSweep(f"{name}={value}", str(error)) from error
    raise BadSweep(name, "there is no such value, or only for the texts of a question file (--questions)")


def outcomes_of(service: Service, plan: Plan, step: Step) -> list[Outcome]:
    """What came of each trial. Raises EmptyCollection, BadQuestions."""
    if plan.file is None:
        return outcomes(service.parts().answerer, trials_of(service.store, plan), plan, step)
    if plan.file.suffix == ".jsonl":
        rated = rated_trials(service.store, read_ratings(plan.file), str(plan.file))
        fitted = [trial for trial in rated if not plan.calibrate or trial.collection == plan.collection]
        return outcomes(service.parts().answerer, fitted, plan, step)
    with _asked_of_file(service, read_squad(plan.file), plan) as (answerer, asked):
        return outcomes(answerer, asked, plan, step)


def outcomes(answerer: Answerer, asked: Sequence[Trial], plan: Plan, step: Step) -> list[Outcome]:
    """Asks each trial. Raises BadQuestions where nothing could be fitted to them."""
    if plan.calibrate and len({trial.answerable for trial in asked if trial.bad is None}) < 2:
        reason = "a confidence is fitted to questions with and without an answer, for which it takes two documents"
        raise BadQuestions(str(plan.file or plan.collection), reason)
    found = []
    for number, trial in enumerate(asked, start=1):
        found.append(ask(answerer, trial, plan.top_k, plan.options))
        step(number, len(asked))
    return found


def trials_of(store: Store, plan: Plan) -> list[Trial]:
    """Questions made from the collection, each asked with and without its document. Raises EmptyCollection,
    BadQuestions."""
    store.view(plan.collection)
    summaries = list({one.id: one for one in every_document(store, plan.collection)}.values())
    spread = summaries[:: math.ceil(len(summaries) / _MOST_DOCUMENTS)]
    contents = [(one.id, store.content(plan.collection, one.id)) for one in spread]
    questions = make_questions(contents, plan.count, plan.seed)
    if not questions:
        raise BadQuestions(plan.collection, "its documents have no sentence that a question could be made from")
    near_misses = make_near_misses(contents, questions, plan.seed)
    return trials(questions, near_misses, plan.collection, [one.id for one in summaries])


@contextmanager
def _asked_of_file(service: Service, articles: Sequence[Article], plan: Plan) -> Iterator[tuple[Answerer, list[Trial]]]:
    """The file's own texts in a store that lasts as long as the evaluation. Its articles make two collections, so that
    what is asked of the half that does not hold the answer cannot be answered."""
    with (
        tempfile.TemporaryDirectory(prefix="rag-evaluation-") as folder,
        closing(SqliteStore(Path(folder) / "store.db")) as store,
    ):
        library = service.library_over(store, service.parts().embedder, **plan.cut)
        answerer = service.answerer_over(store)
        asked: list[Trial] = []
        for number, article in enumerate(articles):
            own, other = _HALVES[number % 2], _HALVES[1 - number % 2]
            verdict = library.add(f"{number}/{article.name}.txt", article.text.encode(), own)
            if verdict.verdict == "failed":
                raise BadQuestions(str(plan.file), f"{article.name}: {verdict.reason}")
            for open_question in article.questions:
                question = replace(open_question, document_id=verdict.document_id)
                asked.append(Trial(question, own, bool(question.answers), near_miss=not question.answers))
                if question.answers and len(articles) > 1 and plan.elsewhere:
                    asked.append(Trial(question, other, False))
        yield answerer, asked
