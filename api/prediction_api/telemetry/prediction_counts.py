"""How many rows each version predicted, and how what it predicted is spread.

Counted in plain Python and shaped only when it is asked for: prometheus_client's own histogram takes a microsecond a
value, which for a batch of 10,000 rows would be longer than the model takes.
"""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from prediction_api.models.contract import Contract
from prediction_api.models.predictor import Prediction


class _Counts:
    """One version's. `buckets` has one place more than `edges`, for what lies above the last one."""

    def __init__(self, contract: Contract) -> None:
        histogram = contract.prediction_histogram if contract.task == "regression" else None
        self.edges = (histogram or {}).get("edges", [])
        self.buckets = [0] * (len(self.edges) + 1)
        self.rows = 0
        self.sum = 0.0
        self.labels: Counter[str] = Counter()


class PredictionCounts(Collector):
    """Takes predictions from any thread; a Prometheus registry asks it for its metrics."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[str, _Counts] = {}

    def add(self, version: str, contract: Contract, predictions: Sequence[Prediction]) -> None:
        """Counts the rows of one answer. A version's first contract gives its buckets: a version never changes."""
        with self._lock:
            counts = self._versions.get(version)
            if counts is None:
                counts = self._versions[version] = _Counts(contract)
            counts.rows += len(predictions)
            edges, buckets = counts.edges, counts.buckets
            for prediction in predictions:
                value = prediction.value
                if isinstance(value, str):
                    counts.labels[value] += 1
                else:
                    buckets[bisect_left(edges, value)] += 1
                    counts.sum += value

    def collect(self) -> Iterator[Metric]:
        """Rows, numbers (in the buckets of the contract's prediction histogram) and labels, each by version."""
        rows = CounterMetricFamily("api_predictions", "Rows predicted", labels=["version"])
        values = HistogramMetricFamily("api_prediction_value", "Values predicted", labels=["version"])
        labels = CounterMetricFamily("api_predicted_labels", "Labels predicted", labels=["version", "label"])
        with self._lock:
            for version, counts in self._versions.items():
                rows.add_metric([version], counts.rows)
                if not counts.labels:
                    values.add_metric([version], _cumulative(counts), counts.sum)
                for label, count in counts.labels.items():
                    labels.add_metric([version, label], count)
        yield from (rows, values, labels)


def _cumulative(counts: _Counts) -> list[tuple[str, float]]:
    total, shown = 0, []
    for edge, count in zip([*map(str, counts.edges), "+Inf"], counts.buckets, strict=True):
        total += count
        shown.append((edge, float(total)))
    return shown
