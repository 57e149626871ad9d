"""What the service counts, in a Prometheus registry of its own (so that two apps in one process do not mix)."""

from collections.abc import Callable
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from prediction_api.telemetry.prediction_counts import PredictionCounts

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """One method per thing that happens; names follow Prometheus' conventions (seconds, _total)."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        registry = self._registry
        self._requests = Counter("api_requests_total", "Requests answered", ["path", "status"], registry=registry)
        self._seconds = Histogram(
            "api_request_seconds", "Time to answer", ["path"], buckets=_SECONDS, registry=registry
        )
        self._pairs: dict[tuple[str, int], tuple[Counter, Histogram]] = {}  # looking labels up costs more than counting
        self.predictions = PredictionCounts()
        registry.register(self.predictions)
        self._logged = Counter("api_log_lines_total", "Lines of the prediction log", ["kind"], registry=registry)
        self._log_dropped = Counter(
            "api_log_dropped_total", "Lines that the prediction log lost", ["reason"], registry=registry
        )
        for reason in ("queue-full", "disk-full", "unwritable", "failed"):
            self._log_dropped.labels(reason)  # a series that is there from the start can be watched for its first rise
        turned_away = Counter(
            "api_turned_away_total", "Requests and connections that were refused unread", ["reason"], registry=registry
        )
        self._turned_away = lru_cache(turned_away.labels)  # refusals come in crowds
        self._admission = {
            "waiting": Gauge("api_requests_waiting", "Requests that have arrived and not begun", registry=registry),
            "in_hand": Gauge("api_requests_in_hand", "Requests with a body that have begun", registry=registry),
            "connections": Gauge("api_connections", "Connections that are open", registry=registry),
        }
        self._swaps = Counter("api_model_swaps_total", "Models that went live", registry=registry)
        self._refusals = Counter("api_model_refusals_total", "Models refused", ["reason"], registry=registry)
        self._model = Gauge("api_model_info", "1 for the live model", ["name", "version"], registry=registry)
        self.registry_reachable = Gauge("api_registry_reachable", "1 if the last look succeeded", registry=registry)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """`path` is a route's template, never what the client sent: labels must stay few."""
        pair = self._pairs.get((path, status))
        if pair is None:
            pair = self._requests.labels(path, str(status)), self._seconds.labels(path)
            self._pairs[path, status] = pair
        pair[0].inc()
        pair[1].observe(seconds)

    def swapped(self, name: str, version: str) -> None:
        self._swaps.inc()
        self._model.clear()
        self._model.labels(name, version).set(1)

    def refused(self, reason: str) -> None:
        self._refusals.labels(reason).inc()

    def logged(self, kind: str, lines: int) -> None:
        self._logged.labels(kind).inc(lines)

    def log_dropped(self, reason: str, lines: int) -> None:
        self._log_dropped.labels(reason).inc(lines)

    def turned_away(self, reason: str) -> None:
        self._turned_away(reason).inc()

    def watch_admission(self, **sources: Callable[[], float]) -> None:
        """Where the gauges of this name read their values when they are asked for."""
        for name, source in sources.items():
            self._admission[name].set_function(source)

    def page(self) -> bytes:
        """The text format that Prometheus scrapes."""
        return generate_latest(self._registry)
