"""What the service counts about itself, for Prometheus."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rag_service.errors import GeneratorFailed
from rag_service.types import Answer, Backlog, Verdict

_JOBS = ("ingest", "reindex", "evaluate", "calibrate", "watch")
_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)  # seconds


class Metrics:
    """Counters in a registry of their own, so that two applications in one process never share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "rag_requests_total", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "rag_request_seconds", "Time to answer a request, by route.", ["route"], registry=self.registry
        )
        self._answers = Counter(
            "rag_answers_total", "Answers by who gave them; none: abstained.", ["answered_by"], registry=self.registry
        )
        self._stages = Histogram(
            "rag_stage_seconds", "Time of a question's stages.", ["stage"], registry=self.registry, buckets=_BUCKETS
        )
        self._refusals = Counter(
            "rag_refusals_total", "Requests that were refused, by the problem's title.", ["why"], registry=self.registry
        )
        self._traces_lost = Counter(
            "rag_traces_lost_total", "Traces that the tracking server did not take.", registry=self.registry
        )
        self._jobs = Counter("rag_jobs_total", "Jobs that ended.", ["kind", "state"], registry=self.registry)
        for kind in _JOBS:
            self._jobs.labels(kind, "failed")  # a series that is there from the start shows its first rise
        self._files = Counter("rag_files_total", "Files added, by verdict.", ["verdict"], registry=self.registry)
        self._files.labels("failed")
        self._uploads = Gauge("rag_uploads_queued", "Uploads that are still to be added.", registry=self.registry)
        self._oldest = Gauge(
            "rag_uploads_oldest_seconds", "How long nobody has worked on one of them.", registry=self.registry
        )
        self._failed_at = Gauge(
            "rag_jobs_failed_time_seconds",
            "When a job last failed, here or elsewhere.",
            ["kind"],
            registry=self.registry,
        )
        self.ready = Gauge("rag_ready", "1 if questions can be answered.", registry=self.registry)
        self._disk_free = Gauge("rag_disk_free_ratio", "Free part of the data folder's disk.", registry=self.registry)
        self.uploading = Gauge("rag_uploads_working", "Uploads that are being read.", registry=self.registry)
        self.working = Gauge("rag_questions_working", "Questions that are worked on.", registry=self.registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts one request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(self, answer: Answer) -> None:
        """Counts one answer, and how long its stages took."""
        self._answers.labels(answer.answered_by).inc()
        if answer.generator_error:
            self.refused(GeneratorFailed.title)
        for stage, milliseconds in answer.timings_ms.items():
            self._stages.labels(stage).observe(milliseconds / 1000)

    def refused(self, title: str) -> None:
        """Counts one refusal; titles are the classes of errors.py, never made up from what was asked."""
        self._refusals.labels(title).inc()

    def job_ended(self, kind: str, state: str) -> None:
        """Counts one job."""
        self._jobs.labels(kind, state).inc()

    def judged(self, verdict: Verdict) -> None:
        """Counts one file."""
        self._files.labels(verdict.verdict).inc()

    def saw(self, backlog: Backlog) -> None:
        """Takes over what the database says of all replicas and workers."""
        self._uploads.set(backlog.uploads)
        self._oldest.set(backlog.oldest)
        for kind, moment in backlog.failed_at.items():
            self._failed_at.labels(kind).set(moment)

    def watch_disk(self, folder: Path) -> None:
        """Measures the folder's disk at each scrape; not a number as long as the folder is not there."""

        def free() -> float:
            try:
                usage = shutil.disk_usage(folder)
            except OSError:
                return math.nan
            return usage.free / usage.total

        self._disk_free.set_function(free)

    def traces_lost(self, count: int) -> None:
        """Counts traces that could not be sent."""
        self._traces_lost.inc(count)
