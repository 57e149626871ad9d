"""What the service counts, in a Prometheus registry of its own (so that two apps in one process do not mix)."""

import math
import shutil
import threading
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict, Field

from prediction_api.models.contract import Contract
from prediction_api.models.predictor import Prediction

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Verdict(BaseModel):
    """What the monitor found in its last window of a version's traffic, as it writes it to the registered model."""

    model_config = ConfigDict(frozen=True)

    version: str
    end: float  # of the window, in seconds since 1970
    drifted: int = Field(ge=0)  # columns
    error_worse: bool


@dataclass(frozen=True)
class Traffic:
    """Rows predicted, reports of feedback, requests refused by their status, lines that the prediction log lost."""

    predictions: float
    feedback: float
    refused: dict[str, float]
    lost: float


class Metrics:
    """What is counted; names follow Prometheus' conventions (seconds, _total)."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self._requests = counter("api_requests_total", "Requests answered", ["path", "status"])
        self._seconds = Histogram(
            "api_request_seconds", "Time to answer", ["path"], buckets=_SECONDS, registry=registry
        )
        self._pairs: dict[tuple[str, int], tuple[Counter, Histogram]] = {}  # looking labels up costs more than counting
        self._predictions = counter("api_predictions_total", "Rows predicted", ["model", "version"])
        self._labels = counter("api_predicted_labels_total", "Labels predicted", ["model", "version", "label"])
        self._values = _PredictedValues()
        registry.register(self._values)
        self.logged = counter("api_log_lines_total", "Lines of the prediction log", ["kind"])
        self.log_dropped = counter("api_log_dropped_total", "Lines that the prediction log lost", ["reason"])
        for reason in ("queue-full", "disk-full", "unwritable", "failed"):
            self.log_dropped.labels(reason)  # a series that is there from the start can be watched for its first rise
        self.turned_away = counter("api_turned_away_total", "Requests and connections refused unread", ["reason"])
        self.in_hand = gauge("api_requests_in_hand", "Requests with a body that are under way")
        self.connections = gauge("api_connections", "Connections that are open")
        self._swaps = counter("api_model_swaps_total", "Models that went live", ["model"])
        self.refusals = counter("api_model_refusals_total", "Versions refused", ["model", "reason"])
        self._info = gauge("api_model_info", "1 for each live model", ["model", "version"])
        self._drifted = gauge("api_monitor_drifted_columns", "Columns that drifted in the last window", ["model"])
        self._error_worse = gauge("api_monitor_error_worse", "1 if the live error was worse than promised", ["model"])
        self._window_end = gauge("api_monitor_window_end_seconds", "When the monitor's last window ended", ["model"])
        self._disk_free = gauge("api_disk_free_ratio", "Free part of the disk that holds the folder", ["folder"])
        self._backup = gauge("api_backup_time_seconds", "When a backup was last noted")
        self._backup.set(math.nan)
        self.registry_reachable = gauge("api_registry_reachable", "1 if the last look succeeded")

    def answered(self, path: str, status: int, seconds: float) -> None:
        """`path` is a route's template, never what the client sent: labels must stay few."""
        pair = self._pairs.get((path, status))
        if pair is None:
            pair = self._requests.labels(path, str(status)), self._seconds.labels(path)
            self._pairs[path, status] = pair
        pair[0].inc()
        pair[1].observe(seconds)

    def predicted(self, name: str, version: str, contract: Contract, predictions: Sequence[Prediction]) -> None:
        """Counts the rows of one answer. Call from any thread."""
        self._predictions.labels(name, version).inc(len(predictions))
        if contract.task == "regression":
            self._values.add(name, version, contract, [float(one.value) for one in predictions])
        else:
            for label, count in Tally(one.value for one in predictions).items():
                self._labels.labels(name, version, label).inc(count)

    def swapped(self, name: str, before: str | None, version: str) -> None:
        self._swaps.labels(name).inc()
        if before is not None:
            self.withdrawn(name, before)
        self._info.labels(name, version).set(1)

    def withdrawn(self, name: str, version: str) -> None:
        self._info.remove(name, version)

    def monitored(self, verdicts: Mapping[str, Verdict]) -> None:
        """The monitor's verdict on each live model, by its name. Those of earlier versions are gone."""
        for gauge in (self._drifted, self._error_worse, self._window_end):
            gauge.clear()
        for name, verdict in verdicts.items():
            self._drifted.labels(name).set(verdict.drifted)
            self._error_worse.labels(name).set(verdict.error_worse)
            self._window_end.labels(name).set(verdict.end)

    def watch_folders(self, models: Path, predictions: Path | None) -> None:
        """Measures their disks at each scrape. Whoever makes backups touches the file `last-backup` in the second."""
        self._disk_free.labels("models").set_function(partial(_free_ratio, models))
        if predictions:
            self._disk_free.labels("predictions").set_function(partial(_free_ratio, predictions))
            self._backup.set_function(partial(_changed_at, predictions / "last-backup"))

    def traffic(self) -> Traffic:
        """What was counted since the process started."""
        samples = [one for family in self._registry.collect() for one in family.samples]

        def total(name: str, **labels: str) -> float:
            return sum(one.value for one in samples if one.name == name and labels.items() <= one.labels.items())

        statuses = {one.labels["status"] for one in samples if one.name == "api_requests_total"}
        refused = {status: total("api_requests_total", status=status) for status in statuses if status.startswith("4")}
        feedback = total("api_log_lines_total", kind="feedback")
        return Traffic(total("api_predictions_total"), feedback, refused, total("api_log_dropped_total"))

    def page(self) -> bytes:
        """The text format that Prometheus scrapes."""
        return generate_latest(self._registry)


def _changed_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return math.nan


def _free_ratio(folder: Path) -> float:
    """NaN where it cannot be read: a folder is made when it is first written to."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return math.nan
    return usage.free / usage.total


class _PredictedValues(Collector):
    """Histograms of predicted numbers, each version's in the buckets of its contract's prediction histogram.

    prometheus_client's Histogram has one set of buckets for all versions, and takes one value at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[tuple[str, str], tuple[list[float], list[int], list[float]]] = {}  # edges, counts, [sum]

    def add(self, name: str, version: str, contract: Contract, values: Sequence[float]) -> None:
        with self._lock:
            found = self._versions.get((name, version))
            if found is None:
                histogram = contract.prediction_histogram
                edges = histogram.edges if histogram else []
                found = self._versions[name, version] = edges, [0] * (len(edges) + 1), [0.0]
            edges, counts, total = found
            total[0] += sum(values)
            for value in values:
                counts[bisect_left(edges, value)] += 1

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily("api_prediction_value", "Values predicted", labels=["model", "version"])
        with self._lock:
            for labels, (edges, counts, total) in self._versions.items():
                names = [*map(str, edges), "+Inf"]
                family.add_metric(labels, list(zip(names, accumulate(map(float, counts)), strict=True)), total[0])
        yield family
