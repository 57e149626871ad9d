"""The calls as a user meets them, on a live service with a real ONNX model."""

import json
import math
import re
import time
from typing import Any

import pytest
from conftest import live, run, started, wait_until
from fastapi.testclient import TestClient
from model_files import classification_model, overflowing_model, regression_contract, regression_model
from prediction_api.models.predictor import Predictor
from prediction_api.settings import Settings
from registry_server import FakeRegistry

ROW = {"fixed acidity": 8.0, "alcohol": 9.0, "type": "white"}
JSON = {"Content-Type": "application/json"}

IDENTIFIER = re.compile(r"[0-9a-f]{16}-[0-9a-f]{6,}")


def test_predict_answers_value_interval_id_and_model(shared: TestClient) -> None:
    answer = shared.post("/predict", json=ROW)
    assert answer.status_code == 200
    body = answer.json()
    assert IDENTIFIER.fullmatch(body.pop("id"))
    assert body == {
        "prediction": 14.0,
        "interval": {"low": 13.5, "high": 14.5, "coverage": 0.9},
        "model": {"name": "wine-quality", "version": "1"},
    }
    others = [shared.post("/predict", json=ROW) for _ in range(20)]
    assert (
        len({other.json()["id"] for other in others}) == len({other.headers["x-request-id"] for other in others}) == 20
    )


@pytest.mark.parametrize(
    ("row", "prediction"),
    [
        ({"fixed_acidity": 4, "alcohol": None, "type": None}, 12.0),  # by identifier; null where nullable
        (ROW | {"fixed acidity": 1000}, 510.0),  # outside of what training saw
    ],
)
def test_other_rows_that_are_accepted(shared: TestClient, row: dict[str, object], prediction: float) -> None:
    assert shared.post("/predict", json=row).json()["prediction"] == prediction


@pytest.mark.parametrize(
    ("change", "loc", "says"),
    [
        ({"fixed acidity": ...}, ["fixed acidity"], "missing; expected a finite number"),
        ({"sulphates": 1}, ["sulphates"], "no such feature"),
        ({"quality": 6}, ["quality"], "this is the target, which the model predicts: leave it out"),
        ({"alcool": 1}, ["alcool"], "the nearest is 'alcohol'"),
        ({"fixed_acidity": 8.0}, ["fixed_acidity"], "the feature 'fixed acidity' is given twice"),
        ({"fixed acidity": None}, ["fixed acidity"], "found null"),
        ({"fixed acidity": "7,4"}, ["fixed acidity"], "found the text '7,4'"),
        ({"fixed acidity": "n/a"}, ["fixed acidity"], "found the text 'n/a', which means no value"),
        ({"fixed acidity": True}, ["fixed acidity"], "found true"),
        ({"fixed acidity": [7.4]}, ["fixed acidity"], "found a list"),
        ({"fixed acidity": {"a": 1}}, ["fixed acidity"], "found an object"),
        ({"fixed acidity": 1e39}, ["fixed acidity"], "found 1e+39"),
        ({"fixed acidity": 10**400}, ["fixed acidity"], "expected a finite number"),
        ({"fixed acidity": math.inf}, ["fixed acidity"], "expected a finite number"),
        ({"fixed acidity": math.nan}, ["fixed acidity"], "expected a finite number"),
        ({"type": "rosé"}, ["type"], "expected one of 'red', 'white' or null, found the text 'rosé'"),
        ({"type": 3}, ["type"], "found 3"),
    ],
)
def test_a_wrong_feature_is_named(shared: TestClient, change: dict[str, object], loc: list[str], says: str) -> None:
    row = {key: value for key, value in (ROW | change).items() if value is not ...}
    answer = shared.post("/predict", content=json.dumps(row), headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    [complaint] = answer.json()["errors"]
    assert complaint["loc"] == loc
    assert says in complaint["msg"]
    assert complaint["msg"] in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        *((body, "not-json") for body in (b"", b"{", b"fixed acidity=7", b'{"alcohol": "\xff"}', b"[" * 60_000)),
        *((body, "wrong-content") for body in (b"[]", b"null", b"7", b'"text"', b'{"rows": []}', b'{"rows": {}}')),
    ],
)
def test_bodies_that_are_no_rows_are_refused(shared: TestClient, path: str, body: bytes, kind: str) -> None:
    answer = shared.post(path, content=body, headers=JSON)
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (422, 422)
    assert problem["type"] == f"/docs#error-{kind}"
    assert all(problem[key] for key in ("title", "detail", "hint", "request_id"))


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Content-Type": "text/csv"}, "text/csv"),
        ({"Content-Type": ""}, "missing"),
        ({"Content-Type": "application/json; charset=latin-1"}, "latin-1"),
        (JSON | {"Content-Encoding": "gzip"}, "compressed"),
    ],
)
def test_other_content_types_are_refused(shared: TestClient, headers: dict[str, str], says: str) -> None:
    answer = shared.post("/predict", content=json.dumps(ROW), headers=headers)
    assert answer.status_code == 415
    assert says in answer.json()["detail"]
    utf8 = {"Content-Type": 'Application/JSON; charset="UTF-8"'}
    assert shared.post("/predict", content=json.dumps(ROW), headers=utf8).status_code == 200


def test_ten_megabytes_are_refused_by_the_announced_length(shared: TestClient) -> None:
    answer = shared.post("/predict", content=b" " * 10_000_000, headers=JSON)
    assert answer.status_code == 413
    assert "10000000 bytes" in answer.json()["detail"]
    assert shared.post("/predict", json=ROW).status_code == 200


@pytest.mark.parametrize(
    ("message", "status", "received"),
    [
        (
            {"type": "http.request", "body": b" " * 1_000_000, "more_body": True},
            413,
            4,
        ),  # without end: 3 MB are allowed
        ({"type": "http.disconnect"}, 499, 1),  # a client that leaves is no failure
    ],
)
def test_a_body_without_a_length_is_read_only_up_to_the_limit(
    shared: TestClient, message: dict[str, Any], status: int, received: int
) -> None:
    taken, sent = 0, []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return message

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/predict/batch", "query_string": b"", "headers": headers}
    run(shared.app(scope, receive, send))
    assert (sent[0]["status"], taken) == (status, received)


def test_batch_keeps_the_order(shared: TestClient) -> None:
    rows = [ROW | {"fixed acidity": number} for number in range(10_000)]
    body = shared.post("/predict/batch", json={"rows": rows}).json()
    assert body["predictions"] == [number * 0.5 + 10.0 for number in range(10_000)]
    assert body["interval"] == {"half_width": 0.5, "coverage": 0.9}
    assert body["model"] == {"name": "wine-quality", "version": "1"}


def test_batch_names_row_and_column_of_each_complaint(shared: TestClient) -> None:
    rows = [ROW, ROW | {"alcohol": "strong"}, ROW, ROW | {"typ": "red"}, 5]
    problem = shared.post("/predict/batch", json={"rows": rows}).json()
    places = [complaint["loc"] for complaint in problem["errors"]]
    assert places == [["rows", 1, "alcohol"], ["rows", 3, "typ"], ["rows", 4]]
    assert problem["detail"] == "rows 1 alcohol: expected a finite number or null, found the text 'strong' (and 2 more)"


def test_batch_of_bad_rows_is_reported_in_a_short_list(shared: TestClient) -> None:
    problem = shared.post("/predict/batch", json={"rows": [{}] * 9_000}).json()
    assert len(problem["errors"]) == 20
    assert problem["detail"].endswith("(and at least 20 more)")


@pytest.mark.parametrize("names", [[f"n{number}" for number in range(200_000)], ["n" * 2_000_000]])
def test_a_huge_object_gets_a_short_answer(shared: TestClient, names: list[str]) -> None:
    huge = dict.fromkeys(names, 1)
    for path, body, status in (
        ("/predict", huge, 413),
        ("/predict", dict(list(huge.items())[:5_000]), 413 if len(names) == 1 else 422),
        ("/predict/batch", {"rows": [huge]}, 422),
        ("/predict/batch", {"rows": []} | huge, 422),
    ):
        answer = shared.post(path, json=body)
        assert answer.status_code == status
        assert len(answer.content) < 3_000


def test_batch_takes_at_most_ten_thousand_rows(shared: TestClient) -> None:
    problem = shared.post("/predict/batch", json={"rows": [1] * 10_001}).json()
    assert problem["errors"][0]["loc"] == ["rows"]
    assert "10000" in problem["detail"]


def test_classification_answers_label_and_probabilities(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(classification_model())
    with live(settings) as client:
        one = client.post("/predict", json={"size": 2}).json()
        many = client.post("/predict/batch", json={"rows": [{"size": -2}, {"size": 2}]}).json()
        described = client.get("/model").json()
        metrics = client.get("/metrics").text
    assert one["prediction"] == "malign"
    assert one["probabilities"] == pytest.approx({"benign": 0.1192029, "malign": 0.8807971}, abs=1e-6)
    assert "interval" not in one
    assert many["predictions"] == ["benign", "malign"]
    assert many["probabilities"][1] == one["probabilities"]
    assert described["labels"] == ["benign", "malign"]
    for label, count in (("malign", 2.0), ("benign", 1.0)):
        assert f'labels_total{{label="{label}",model="wine-quality",version="1"}} {count}' in metrics
    assert "api_prediction_value_bucket" not in metrics


def test_model_describes_what_is_served(shared: TestClient) -> None:
    body = shared.get("/model").json()
    assert body["features"][0] == {
        "name": "fixed acidity", "input": "fixed_acidity", "type": "number", "unit": "g/dm3",
        "low": 3.8, "high": 15.9, "example": 7.0, "nullable": False,
    }  # fmt: skip
    assert body["features"][2]["categories"] == ["red", "white"]
    assert len(body["sha256"]) == 64
    wanted = {
        "name": "wine-quality", "version": "1", "alias": "production", "run_id": "run-1", "task": "regression",
        "target": "quality", "trained_at": "2026-11-23T09:00:00Z",
        "data": {"source": "data/sample.csv", "digest": "sha256:00", "rows": 7, "synthetic": True},
    }  # fmt: skip
    assert {key: body[key] for key in wanted} == wanted


def test_aliases_of_livez_answer_with_and_without_a_model(registry: FakeRegistry, settings: Settings) -> None:
    with started(settings) as client:
        for path in ("/livez", "/health", "/healthz", "/ping"):
            assert client.get(path).json() == {"status": "ok", "ready": False}
        registry.add(regression_model())
        for path in ("/livez", "/health", "/healthz", "/ping"):
            wait_until(lambda path=path: client.get(path).json()["ready"])


def test_without_a_model_every_prediction_says_what_to_do(settings: Settings) -> None:
    with started(settings) as client:
        wait_until(lambda: "no registered model carries" in client.get("/readyz").json()["detail"])
        posts = [client.post(path, json={}) for path in ("/predict", "/predict/batch", "/explain")]
        for answer in (*posts, client.get("/model")):
            assert answer.status_code == 503
            assert answer.json()["hint"].startswith("Train and promote a model")


def test_a_first_version_that_is_refused_is_told_to_programs_too(settings: Settings, registry: FakeRegistry) -> None:
    registry.add(regression_model(), sha256="0" * 64)
    with started(settings) as client:
        wait_until(lambda: client.get("/readyz").json()["refused"])
        answer = client.get("/readyz")
    said = answer.json()
    assert (answer.status_code, said["ready"], said["model"]) == (503, False, None)
    assert said["title"] == "No model is loaded"
    assert (said["refused"]["version"], said["refused"]["reason"]) == ("1", "digest-mismatch")
    assert (said["registry"]["model"], said["registry"]["alias"]) == ("wine-quality", "production")


def test_request_id_is_taken_and_given_back(shared: TestClient) -> None:
    answer = shared.post("/predict", json={}, headers={"X-Request-ID": "mine-1"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine-1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>"])
def test_a_strange_request_id_is_replaced(shared: TestClient, given: str) -> None:
    made = shared.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"]
    assert made != given
    assert IDENTIFIER.fullmatch(made)


def test_unknown_paths_and_methods_are_problems_too(shared: TestClient) -> None:
    missing, method = shared.get("/nowhere"), shared.get("/predict")
    assert (missing.status_code, method.status_code) == (404, 405)
    assert missing.json()["detail"] == "GET /nowhere: Not Found"
    assert [one.json()["type"] for one in (missing, method)] == [
        "/docs#error-not-found",
        "/docs#error-method-not-allowed",
    ]
    assert method.headers["allow"] == "POST"


def test_a_fault_of_ours_is_a_problem_without_its_trace(shared: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Predictor, "predict")
    answer = shared.post("/predict", json=ROW, headers={"X-Request-ID": "bug-1"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "bug-1"
    assert "Traceback" not in answer.text


def test_a_prediction_that_is_not_finite_is_an_error(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(overflowing_model())
    with live(settings) as client:
        answer = client.post("/predict", json=ROW | {"fixed acidity": 1e10})
    assert (answer.status_code, answer.json()["type"]) == (500, "/docs#error-prediction-failed")


def test_metrics_count_by_route_and_never_by_what_was_sent(client: TestClient) -> None:
    client.post("/predict", json=ROW)
    client.post("/predict/batch", json={"rows": [ROW, ROW]})
    client.get("/nowhere/12345")
    page = client.get("/metrics").text
    assert 'api_requests_total{path="/predict",status="200"} 1.0' in page
    assert 'api_requests_total{path="other",status="404"} 1.0' in page
    assert 'api_predictions_total{model="wine-quality",version="1"} 3.0' in page
    assert 'api_model_info{model="wine-quality",version="1"} 1.0' in page
    assert "api_registry_reachable 1.0" in page
    assert "12345" not in page


def test_metrics_show_the_monitors_verdict_on_the_live_version(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(regression_model())
    tags = registry.models["wine-quality"].tags
    tags["monitor.verdict"] = '{"version": "1", "end": 1764325800.5, "drifted": 2, "error_worse": true}'
    with live(settings) as client:
        page = client.get("/metrics").text
        assert 'api_monitor_drifted_columns{model="wine-quality"} 2.0' in page
        assert 'api_monitor_error_worse{model="wine-quality"} 1.0' in page
        assert 'api_monitor_window_end_seconds{model="wine-quality"} 1.7643258005e+09' in page
        good = tags["monitor.verdict"]
        for verdict in (good.replace('"1"', '"7"'), "no JSON"):
            tags["monitor.verdict"] = verdict
            wait_until(lambda: "api_monitor_drifted_columns{" not in client.get("/metrics").text)
            tags["monitor.verdict"] = good
            wait_until(lambda: "api_monitor_drifted_columns{" in client.get("/metrics").text)


def test_metrics_show_when_a_backup_was_noted(client: TestClient, settings: Settings) -> None:
    def shown() -> float:
        return float(client.get("/metrics").text.partition("\napi_backup_time_seconds ")[2].split()[0])

    assert math.isnan(shown())
    assert settings.prediction_log_dir is not None
    settings.prediction_log_dir.mkdir(exist_ok=True)
    (settings.prediction_log_dir / "last-backup").touch()
    assert shown() == pytest.approx(time.time(), abs=600)


def test_metrics_show_how_full_the_disks_are(client: TestClient, settings: Settings) -> None:
    client.post("/predict", json=ROW)
    folder = settings.prediction_log_dir
    assert folder is not None
    wait_until(folder.is_dir)
    for name in ("models", "predictions"):
        free = re.search(rf'api_disk_free_ratio\{{folder="{name}"\}} (\S+)', client.get("/metrics").text)
        assert free is not None
        assert 0 < float(free[1]) < 1


def test_metrics_show_how_the_predicted_values_are_spread(registry: FakeRegistry, settings: Settings) -> None:
    contract = regression_contract() | {"prediction_histogram": {"edges": [10.0, 12.0, 14.0], "counts": [1, 1]}}
    registry.add(regression_model(contract=contract))
    with live(settings) as client:
        rows = [{"fixed acidity": acid, "alcohol": 9.0, "type": "red"} for acid in (1.0, 4.0, 6.0, 6.0, 100.0)]
        client.post("/predict/batch", json={"rows": rows})
        client.post("/predict", json=rows[0])
        page = client.get("/metrics").text
    below = re.findall(r'api_prediction_value_bucket\{le="(.*?)",model="wine-quality",version="1"\} (.*)', page)
    assert below == [("10.0", "2.0"), ("12.0", "5.0"), ("14.0", "5.0"), ("+Inf", "6.0")]
    assert 'api_prediction_value_count{model="wine-quality",version="1"} 6.0' in page
    assert 'api_prediction_value_sum{model="wine-quality",version="1"} 113.0' in page


def test_openapi_follows_the_live_model(registry: FakeRegistry, settings: Settings) -> None:
    with started(settings) as client:
        assert "Features" not in client.get("/openapi.json").json()["components"]["schemas"]
        registry.add(regression_model())
        wait_until(lambda: client.get("/readyz").status_code == 200)
        schema = client.get("/openapi.json").json()
        for path in ("/predict", "/predict/batch", "/explain"):
            body = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]
            assert client.post(path, json=body["example"]).status_code == 200
    assert list(schema["components"]["schemas"]["Features"]["properties"]) == ["fixed acidity", "alcohol", "type"]
    assert schema["info"]["version"] == "wine-quality version 1"


def test_openapi_describes_every_model(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(regression_model())
    registry.add(classification_model(), name="tumours.2")
    with live(settings, default_model="wine-quality") as client:
        wait_until(lambda: client.get("/models/tumours.2/readyz").status_code == 200)
        schema, page = client.get("/openapi.json").json(), client.get("/docs").text
        for call in ("predict", "predict/batch", "explain"):
            path = f"/models/tumours.2/{call}"
            body = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]
            assert client.post(path, json=body["example"]).status_code == 200
    assert list(schema["components"]["schemas"]["Features_tumours.2"]["properties"]) == ["size"]
    names = [call["operationId"] for calls in schema["paths"].values() for call in calls.values()]
    assert len(names) == len(set(names))
    assert '<h2 id="Features">Features of wine-quality</h2>' in page
    assert "<code>size</code></th>" in page


def test_docs_need_nothing_from_elsewhere(shared: TestClient) -> None:
    page = shared.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "fixed acidity" in page.text
    assert "-H &#x27;Content-Type: text/csv&#x27; --data-binary &#x27;fixed acidity,alcohol,type\n" in page.text
    assert "curl -X POST http://testserver/predict -H" in page.text  # it can be pasted as it stands
    assert 'id="error-wrong-content"' in page.text
    assert "`" not in page.text
    assert re.findall(r"<script[^>]*>", page.text) == ['<script type="module" src="pages/reference.js">']
