"""A trace of each question, sent by OpenTelemetry, which MLflow shows. Off unless RAG_TRACES is set.

A trace has the question, the passages' places and the answer, so everybody who can read the tracking server can read
them.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, set_span_in_context

from rag_service.telemetry.metrics import Metrics
from rag_service.telemetry.mlflow import experiment_id, rest
from rag_service.types import Answer, Hit

log = logging.getLogger(__name__)

EXPERIMENT = "rag-questions"
_MILLISECOND = 1_000_000  # in nanoseconds


class Traces:
    """Sends traces in the background; what cannot be sent is counted and dropped, and no question waits for it."""

    def __init__(self, address: str, metrics: Metrics) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": "rag"}))
        self._provider.add_span_processor(BatchSpanProcessor(_ToMlflow(address.rstrip("/"), metrics)))
        self._tracer = self._provider.get_tracer("rag_service")

    def asked(self, question: str, collection: str, hits: Sequence[Hit], answer: Answer, began: int) -> None:
        """One question: `began` in nanoseconds of the epoch; how long each stage took is in the answer."""
        found = began + round(answer.timings_ms["retrieval"] * _MILLISECOND)
        ended = began + round(answer.timings_ms["total"] * _MILLISECOND)
        root = self._tracer.start_span("ask", start_time=began)
        _describe(root, "CHAIN", {"question": question, "collection": collection}, _told(answer))
        root.set_attributes({"answered_by": answer.answered_by, "confidence": answer.confidence})
        within = set_span_in_context(root)
        retrieval = self._tracer.start_span("retrieve", within, start_time=began)
        _describe(retrieval, "RETRIEVER", {"query": question}, [_place(hit) for hit in hits])
        retrieval.end(found)
        answering = self._tracer.start_span("answer", within, start_time=found)
        _describe(answering, "LLM" if answer.answered_by == "generator" else "CHAIN", {}, answer.answer)
        answering.end(ended)
        root.end(ended)

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


class _ToMlflow(SpanExporter):
    """Finds the experiment at the first trace: the tracking server need not be there before."""

    def __init__(self, address: str, metrics: Metrics) -> None:
        self._address = address
        self._metrics = metrics
        self._lock = threading.Lock()
        self._inner: OTLPSpanExporter | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            with self._lock:
                self._inner = self._inner or self._exporter()
            result = self._inner.export(spans)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError) as error:
            log.warning("traces are lost: %s does not accept them (%s)", self._address, type(error).__name__)
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            self._metrics.traces_lost(sum(span.parent is None for span in spans))
        return result

    def shutdown(self) -> None:
        if self._inner is not None:
            self._inner.shutdown()  # type: ignore[no-untyped-call]

    def _exporter(self) -> OTLPSpanExporter:
        with rest(self._address) as client:
            number = experiment_id(client, EXPERIMENT)
        headers = {"x-mlflow-experiment-id": number}
        return OTLPSpanExporter(f"{self._address}/v1/traces", headers=headers, timeout=10)


def _describe(span: Span, kind: str, inputs: Mapping[str, Any], outputs: Any) -> None:
    """In the attributes that MLflow shows as a span's type, inputs and outputs."""
    span.set_attribute("mlflow.spanType", json.dumps(kind))
    span.set_attribute("mlflow.spanInputs", json.dumps(inputs, ensure_ascii=False))
    span.set_attribute("mlflow.spanOutputs", json.dumps(outputs, ensure_ascii=False))


def _place(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    return {"document": passage.document, "start": passage.start, "end": passage.end, "score": hit.score}


def _told(answer: Answer) -> dict[str, Any]:
    quotes = [{"document": one.document, "quote": one.quote} for one in answer.citations]
    return {"answer": answer.answer, "abstained": answer.abstained, "citations": quotes}
