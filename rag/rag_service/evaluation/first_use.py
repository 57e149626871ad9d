"""The confidence of a collection whose embedder is not the one that the service's weights were fitted with: it is
fitted in the background when the collection is first asked, to questions made from its own documents."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import asdict

from rag_service.answering.answerer import Answerer
from rag_service.errors import RagError, TooManyJobs
from rag_service.evaluation import ask, calibrated
from rag_service.evaluation.run import Plan, trials_of
from rag_service.indexing.jobs import Job
from rag_service.models.find import DEFAULT_EMBEDDER
from rag_service.search.retriever import Retriever
from rag_service.service import Service
from rag_service.store.protocol import View
from rag_service.types import SearchOptions

# Weights that are fitted to fewer answerable questions would be chance; the collection may grow.
_FEWEST, _MOST = 20, 150


class FirstUse:
    """Fits each collection once, one after the other; one without enough questions again when documents change."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._fitting = threading.Lock()
        self._tried = dict[str, int]()

    def __call__(self, collection: str) -> None:
        """Begins to fit, where that is to be done. What is in the way now, such as other jobs, may not be next time."""
        with suppress(RagError):
            self._begin(collection)

    def _begin(self, collection: str) -> None:
        service = self._service
        if service.parts().embedder.name.partition("@")[0].partition(" ")[0] == DEFAULT_EMBEDDER:
            return
        view, change = service.store.view(collection), service.store.change()
        known = service.store.recall(view) is not None or self._tried.get(collection) == change
        if known or not self._fitting.acquire(blocking=False):
            return
        try:
            service.jobs.start("calibrate", lambda job: self._fit(view, job))
            self._tried[collection] = change
        except TooManyJobs:
            self._fitting.release()

    def _fit(self, view: View, job: Job) -> None:
        try:
            self._fit_now(view, job)
        finally:
            self._fitting.release()

    def _fit_now(self, view: View, job: Job) -> None:
        service, parts = self._service, self._service.parts()
        plan = Plan(view.collection, _MOST)
        trials = trials_of(service.store, plan)
        if not _FEWEST <= sum(trial.answerable for trial in trials) < len(trials):
            return
        # No answer is to be written.
        answerer = Answerer(parts.embedder, None, Retriever(parts.index, service.store), service.store, 0.0)
        outcomes = []
        for done, trial in enumerate(trials, start=1):
            outcomes.append(ask(answerer, trial, plan.top_k, SearchOptions()))
            job.reaches(done, len(trials))
        service.store.remember(view, json.dumps(asdict(calibrated(outcomes))))
