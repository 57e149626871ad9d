"""Traces against a tracking server that speaks the same protocol: what is sent, and that nothing waits or breaks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rag_service.app import create_app
from rag_service.errors import BadSettings
from rag_service.settings import Settings


class Tracking(BaseHTTPRequestHandler):
    """MLflow's two calls for experiments, and OpenTelemetry's for traces."""

    experiments: dict[str, str] = {}
    received: list[tuple[str, ExportTraceServiceRequest]] = []

    def do_GET(self) -> None:
        self._answer(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            self.received.append((self.headers["x-mlflow-experiment-id"], request))
            self._answer(200, b"")
        else:
            assert self.path == "/api/2.0/mlflow/experiments/create"
            self._answer(200, b'{"experiment_id": "7"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def tracking() -> Iterator[str]:
    Tracking.received.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tracking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def traced(settings: Settings, address: str) -> Settings:
    return settings.model_copy(update={"traces": True, "mlflow_tracking_uri": address})


def ask(settings: Settings) -> str:
    """Asks one question of one document; the metrics after the service has ended."""
    app = create_app(settings)
    with TestClient(app) as client:
        app.state.service.loaded.wait()
        text = b"The harbour of Velmar was dug in 1923 by prisoners."
        client.post("/documents", files={"files": ("velmar.md", text)}, data={"collection": "traced"})
        body = {"question": "When was the harbour of Velmar dug?", "collection": "traced"}
        assert client.post("/ask", json=body).status_code == 200
    return "\n".join(str(family) for family in app.state.metrics.registry.collect() if "traces" in family.name)


def test_a_question_becomes_a_trace(settings: Settings, tracking: str) -> None:
    assert "rag_traces_lost_total', labels={}, value=0.0" in ask(traced(settings, tracking))
    [(experiment, request)] = Tracking.received
    assert experiment == "7"
    spans = {span.name: span for span in request.resource_spans[0].scope_spans[0].spans}
    assert set(spans) == {"ask", "retrieve", "answer"}
    root = spans["ask"]
    assert {spans[name].parent_span_id for name in ("retrieve", "answer")} == {root.span_id}
    assert root.start_time_unix_nano <= spans["retrieve"].end_time_unix_nano <= root.end_time_unix_nano
    told = {one.key: one.value.string_value for one in root.attributes}
    assert "When was the harbour of Velmar dug?" in told["mlflow.spanInputs"]
    assert "1923" in told["mlflow.spanOutputs"]


def test_a_server_that_is_away_loses_the_trace_and_nothing_else(settings: Settings) -> None:
    assert "rag_traces_lost_total', labels={}, value=1.0" in ask(traced(settings, "http://127.0.0.1:9"))


def test_traces_without_a_server_are_a_wrong_setting(settings: Settings) -> None:
    with pytest.raises(BadSettings, match="MLFLOW_TRACKING_URI"):
        create_app(traced(settings, ""))
