"""The confidence of a collection whose embedder is not the one that the service's weights were fitted with: it is
fitted in the background when the collection is first asked, to questions made from its own documents."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import asdict

from rag_service.errors import RagError
from rag_service.evaluation import calibrated
from rag_service.evaluation.run import Plan, outcomes, trials_of
from rag_service.indexing.jobs import Job
from rag_service.models.find import DEFAULT_EMBEDDER
from rag_service.service import Service
from rag_service.store.protocol import View

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
        service = self._service
        with suppress(RagError):
            if service.parts().embedder.name.partition("@")[0].partition(" ")[0] == DEFAULT_EMBEDDER:
                return
            view, change = service.store.view(collection), service.store.change()
            known = service.store.recall(view) is not None or self._tried.get(collection) == change
            if not known and not self._fitting.locked():
                service.jobs.start("calibrate", lambda job: self._fit(view, job))
                self._tried[collection] = change

    def _fit(self, view: View, job: Job) -> None:
        service, plan = self._service, Plan(view.collection, _MOST)
        with self._fitting:
            trials = trials_of(service.store, plan)
            if _FEWEST <= sum(trial.answerable for trial in trials) < len(trials):
                fitted = calibrated(outcomes(service.parts().quoting, trials, plan, job.reaches))
                service.store.remember(view, json.dumps(asdict(fitted)))
