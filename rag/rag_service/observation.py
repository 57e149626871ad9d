"""What the service counts about itself, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from rag_service.documents import Answer


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

    def request(self, route: str, status: int, seconds: float) -> None:
        """Counts one request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(self, answer: Answer) -> None:
        """Counts one answer."""
        self._answers.labels(answer.answered_by).inc()
