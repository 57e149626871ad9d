"""The overview at /: what each source says, and what is said where one is away."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from chromium import hindrances, tab_to
from conftest import live, started, wait_until
from fastapi.testclient import TestClient
from model_files import regression_contract, regression_model
from playwright.sync_api import Page, expect
from prediction_api.settings import Settings
from prediction_api.web import overview
from pydantic import SecretStr
from registry_server import FakeRegistry
from servers import json_servers
from service_thread import serving

Json = dict[str, Any]
AT = datetime(2026, 11, 23, 10, tzinfo=UTC)
READY = {"status": "ready", "generator": "google/flan-t5-small", "sent_to": None, "without_generator": None}
COUNTS = """# TYPE rag_answers counter
rag_answers_total{answered_by="extractive"} 6.0
rag_answers_total{answered_by="none"} 2.0
# TYPE rag_files counter
rag_files_total{verdict="indexed"} 111.0
rag_files_total{verdict="failed"} 3.0
"""
JOBS = [
    {
        "kind": "evaluate",
        "state": "done",
        "result": {"figures": {"bad_repeated": None, "answer_containment": {"value": 0.91}}, "missed": []},
    },
    {"kind": "ingest", "state": "failed", "error": "the disk is full"},
]
ALERT = {
    "labels": {"alertname": "DagFailed"},
    "annotations": {"summary": "train_model failed.", "action": "See its log."},
}
SOURCES: Json = {
    "GET /readyz": (200, READY),
    "GET /collections": (200, {"collections": [{"name": "default", "documents": 19}]}),
    "GET /jobs": (200, {"jobs": JOBS}),
    "GET /metrics": (200, COUNTS),
    "GET /api/v2/monitor/health": (
        200, {name: {"status": "healthy"} for name in ("metadatabase", "scheduler", "dag_processor")}
    ),
    "GET /api/v1/alerts": (200, {"data": {"alerts": [ALERT | {"state": "firing"}, ALERT | {"state": "pending"}]}}),
}  # fmt: skip


def window(number: int, **found: object) -> Json:
    """The monitor's run for one window: the `number`th hour, with this verdict."""
    end = AT + timedelta(hours=number)
    verdict = {"id": "a", "version": "1", "start": str(AT), "end": end.isoformat(), "rows": 250} | found
    worst = 0.4 if found.get("drifted") else 0.05
    figures = {"drift/worst": worst, "drift/limit": 0.2, "labelled_rows": 40, "live/error": 0.55}
    figures |= {"live/promised": 0.5, "live/limit": 0.55}
    text = json.dumps(verdict)  # in two tags, as a long one is
    tags = [{"key": "monitor.window", "value": text[:20]}, {"key": "monitor.window.1", "value": text[20:]}]
    data = {"tags": tags, "metrics": [{"key": key, "value": value} for key, value in figures.items()]}
    return {"info": {"run_id": f"w{number}", "experiment_id": "7"}, "data": data}


def fill(registry: FakeRegistry) -> None:
    """What training, promotion and the monitor leave in MLflow."""
    contract = regression_contract() | {"metrics": {"r2": 0.3, "baseline_mae": 0.7, "mae": 0.5}}
    registry.add(regression_model(contract=contract))
    began = int(AT.timestamp() * 1000)
    info = {"run_id": "t", "experiment_id": "3", "status": "FINISHED", "start_time": began, "end_time": began + 58_000}
    registry.runs["wine-quality"] = [{"info": info, "data": {}}]
    registry.runs["wine-quality-monitor"] = [window(2, drifted=["pH", "alcohol"]), window(1), window(0)]
    entry = {
        "version": "1",
        "previous": None,
        "by": "airflow",
        "at": AT.isoformat(),
        "reasons": [{"text": "within"}, {"code": "gain", "text": "a gain"}],
    }
    no = [{"text": "within", "passed": True}, {"text": "the gain is not certain", "passed": False}]
    registry.ledger = [entry | {"action": "refused", "version": "2", "reasons": no}, entry | {"action": "promoted"}]
    check = {"at": AT.isoformat(), "text": "waiting for rows: 12 of 200", "schedule": "@hourly"}
    registry.models["wine-quality"].tags["monitor.check"] = json.dumps(check)


@pytest.fixture
def sources() -> Iterator[str]:
    """Question answering, Airflow and Prometheus behind one address."""
    with json_servers() as start:
        yield start(SOURCES)


@pytest.fixture
def whole(settings: Settings, sources: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A service that knows all its sources, and keeps no answer."""
    monkeypatch.setattr(overview, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr("prediction_api.models.registry.KEPT_SECONDS", 0.0)
    pages = "Overview=./ Predict=predict-form Ask=:8001/ Airflow=/airflow/ MLflow=/mlflow/"
    return settings.model_copy(
        update={"rag_url": sources, "airflow_url": sources, "prometheus_url": sources, "api_pages": pages}
    )


def tiles(client: TestClient) -> dict[str, Json]:
    """Each tile by its title, its facts by their names."""
    found = client.get("/overview").json()["tiles"]
    return {tile["title"]: tile | {"facts": {fact["name"]: fact for fact in tile["facts"]}} for tile in found}


def texts(tile: Json) -> dict[str, str]:
    return {name: fact["text"] for name, fact in tile["facts"].items()}


def test_a_column_that_gives_the_target_away_needs_attention(registry: FakeRegistry, whole: Settings) -> None:
    fill(registry)
    promoted = registry.ledger[-1]
    leak = {"code": "leak", "passed": True, "text": "column 'b' alone gives 'a' away"}
    judged = promoted | {"reasons": [*promoted["reasons"], leak]}
    registry.ledger = [promoted | {"action": "rolled_back", "reasons": []}, judged | {"version": "2"}, judged]
    with live(whole) as client:
        found = tiles(client)["wine-quality"]["facts"]["A leak?"]
        assert client.get("/overview").json()["attention"]
    assert found == {
        "name": "A leak?",
        "text": "column 'b' alone gives 'a' away. If it is not known before the target is: data.ignore",
        "bad": True,
    }


def test_a_gate_that_was_off_is_why_a_worse_version_serves(registry: FakeRegistry, whole: Settings) -> None:
    fill(registry)
    reasons = [{"code": "gain", "passed": False, "text": "no gain"}]
    reasons.append({"code": "gate_off", "passed": True, "text": "gate.mode is off"})
    registry.ledger = [registry.ledger[-1] | {"reasons": reasons}]
    with live(whole) as client:
        text = tiles(client)["wine-quality"]["facts"]["Gate's last verdict"]["text"]
    assert text.endswith("UTC: gate.mode is off; no gain")


def test_each_fact_comes_from_its_source(registry: FakeRegistry, whole: Settings) -> None:
    fill(registry)
    with live(whole) as client:
        client.post("/predict", json={"fixed acidity": 7, "alcohol": 9, "type": "red"})
        client.post("/predict", json={})
        client.post("/feedback", json={"id": f"{'0' * 16}-{'0' * 16}", "actual": 6})
        found = tiles(client)
        attention = client.get("/overview").json()["attention"]
    model = texts(found["wine-quality"])
    assert model.pop("In production").startswith("version 1, here since ")
    assert model == {
        "On test rows": "MAE 0.5; without a model 0.7",
        "Trained on": "7 rows of data/sample.csv, synthetic",
        "Last training": "23 Nov 2026, 10:00 UTC, done in 58 s",
        "Last change": "version 1 promoted, 23 Nov 2026, 10:00 UTC: a gain",
        "Gate's last verdict": "version 2 refused, 23 Nov 2026, 10:00 UTC: the gain is not certain",
    }
    traffic = texts(found["wine-quality: live traffic"])
    assert traffic.pop("Next check").endswith(":00 UTC, every hour")
    assert traffic == {
        "Drift": "2 columns: pH, alcohol; 250 rows until 23 Nov 2026, 12:00 UTC",
        "Live error": "0.55, where 0.5 was promised",
        "With feedback": "40 rows",
        "Last check": "23 Nov 2026, 10:00 UTC: waiting for rows: 12 of 200",
    }
    drift, error = found["wine-quality: live traffic"]["trends"]
    assert (drift["limit"], [(one["value"], one["bad"]) for one in drift["points"]]) == (
        0.2, [(0.05, False), (0.05, False), (0.4, True)],
    )  # fmt: skip
    assert (error["limit"], len(error["points"])) == (0.55, 3)
    assert texts(found["Documents and answers"]) == {
        "Answers by": "google/flan-t5-small, on this machine",
        "Documents": "19 in default",
        "Failures": "3 files could not be read since its start, 1 job failed: the disk is full",
        "Last evaluation": "answer containment 0.91",
        "Questions": "8 since its start, 25% without an answer",
    }
    assert texts(found["Airflow"])["Scheduler"] == "healthy"
    assert texts(found["Alerts"]) == {"DagFailed": "train_model failed. See its log."}
    requests = texts(found["Requests to this service"])
    assert (requests["Predictions"], requests["Feedback received"]) == ("1 row", "1 report")
    assert requests["Refused requests"] == "1 × 422"
    assert attention == ["wine-quality: live traffic", "Documents and answers", "Alerts"]


@pytest.mark.parametrize(
    ("variable", "title", "said"),
    [
        ("rag_url", "Documents and answers", "Question answering does not answer (ConnectError): start it"),
        ("airflow_url", "Airflow", "Airflow does not answer (ConnectError): start it"),
        ("prometheus_url", "Alerts", "start it with COMPOSE_PROFILES=monitoring"),
    ],
)
def test_a_source_that_is_away_costs_its_own_tile(
    registry: FakeRegistry, whole: Settings, variable: str, title: str, said: str
) -> None:
    fill(registry)
    for value, expected in (("http://127.0.0.1:9", said), (None, f"Not asked: set {variable.upper()}")):
        with live(whole, **{variable: value}) as client:
            found = tiles(client)
        assert expected in found[title]["away"]
        assert [name for name, tile in found.items() if tile["away"]] == [title]
        assert all(tile["facts"] for name, tile in found.items() if name != title)


def test_without_mlflow_the_model_goes_on_and_the_rest_stays(registry: FakeRegistry, whole: Settings) -> None:
    fill(registry)
    with live(whole) as client:
        registry.stop()
        found = tiles(client)
    away = "MLflow does not answer (ConnectError"
    assert away in found["wine-quality"]["away"]
    assert away in found["wine-quality: live traffic"]["away"]
    assert "In production" in found["wine-quality"]["facts"]
    assert not found["Airflow"]["away"]


def test_a_source_that_hangs_is_given_up(
    registry: FakeRegistry, whole: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(registry)
    monkeypatch.setattr(overview, "SECONDS", 0.0)
    with live(whole) as client:
        assert "No answer within" in tiles(client)["Airflow"]["away"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [((401, {}), "API_RAG_KEY_FILE"), ((500, {}), "answered 500"), ((200, "<html>"), "another protocol")],
)
def test_what_a_source_answers_instead_is_said(
    registry: FakeRegistry, whole: Settings, answer: tuple[int, object], said: str
) -> None:
    with json_servers() as start, started(whole, rag_url=start(SOURCES | {"GET /collections": answer})) as client:
        found = tiles(client)["Documents and answers"]
    assert said in found["away"]
    assert texts(found) == {"Answers by": "google/flan-t5-small, on this machine"}


def test_counts_that_are_none_cost_only_their_own_line(registry: FakeRegistry, whole: Settings) -> None:
    with json_servers() as start:
        broken = SOURCES | {"GET /metrics": (200, '{"rag_answers_total": many}')}
        with started(whole, rag_url=start(broken)) as client:
            found = tiles(client)["Documents and answers"]
    assert "another protocol" in found["away"]
    assert "Documents" in found["facts"]


def test_the_key_for_documents_is_the_files_first(registry: FakeRegistry, whole: Settings, tmp_path: Path) -> None:
    key, file = "0f9a6c1e5d7b48e2a3c0", tmp_path / "rag_keys"
    fill(registry)
    asking = whole.model_copy(update={"api_key": SecretStr(key)})
    # What asks for keys here is another prediction service, which has no documents.
    with serving(asking) as url, started(whole, rag_url=url, api_rag_key_file=file) as client:
        wait_until(lambda: httpx.get(f"{url}/readyz", trust_env=False, timeout=60).is_success)
        assert "cannot be read" in tiles(client)["Documents and answers"]["away"]
        file.write_text("# none yet")
        assert "asks for a key" in tiles(client)["Documents and answers"]["away"]
        file.write_text(f"# of the overview\n\n{key} read default\nother\n")
        assert "answered 404" in tiles(client)["Documents and answers"]["away"]


def test_question_answering_that_is_not_ready_says_why(registry: FakeRegistry, whole: Settings) -> None:
    problem = {"status": 503, "title": "Not ready", "detail": "The models are being loaded.", "hint": "Wait."}
    with json_servers() as start, started(whole, rag_url=start({"GET /readyz": (503, problem)})) as client:
        found = tiles(client)["Documents and answers"]
        assert "Documents and answers" in client.get("/overview").json()["attention"]
    assert texts(found) == {"Not ready": "The models are being loaded. Wait."}


def test_before_the_first_model_it_says_how_to_make_one(registry: FakeRegistry, whole: Settings) -> None:
    with started(whole) as client:
        wait_until(lambda: client.get("/readyz").json()["registry"]["reachable"])
        found = tiles(client)
    assert "make train" in found["Model"]["away"]
    assert found["Model"]["links"] == [{"text": "Start train_model", "page": "Airflow", "path": "dags/train_model"}]


def test_what_cannot_be_read_in_mlflow_is_left_out(registry: FakeRegistry, whole: Settings) -> None:
    fill(registry)
    registry.ledger = [{"action": "rolled_back", "version": "1", "at": "yesterday"}]
    registry.models["wine-quality"].tags["monitor.check"] = "soon"
    registry.runs["wine-quality-monitor"][0]["data"] = {}  # its run is still being written
    with live(whole) as client:
        found = tiles(client)
    assert texts(found["wine-quality"])["Last change"] == "version 1 rolled back, yesterday"
    traffic = texts(found["wine-quality: live traffic"])
    assert traffic["Last check"] == "none yet; the DAG that monitors this model makes it"
    assert traffic["Drift"] == "none; 250 rows until 23 Nov 2026, 11:00 UTC"


def test_what_the_sources_say_is_kept_for_a_moment(registry: FakeRegistry, settings: Settings) -> None:
    fill(registry)
    with live(settings) as client:
        before = client.get("/overview").json()
        looks = registry.ledger_looks
        assert client.get("/overview").json() == before
        assert registry.ledger_looks == looks


@pytest.fixture
def open_page(registry: FakeRegistry, whole: Settings, page: Page) -> Iterator[Callable[[], Page]]:
    """The page in a browser, as soon as its model is live."""
    fill(registry)
    with serving(whole) as url:

        def opened() -> Page:
            page.goto(f"{url}/predict-form")
            expect(page.get_by_role("heading", name="Predict quality")).to_be_visible()
            page.get_by_role("link", name="Overview").click()
            expect(page.get_by_role("region", name="Airflow")).to_be_visible()
            return page

        yield opened


def test_the_page_shows_the_facts_the_trend_and_the_ways_on(
    open_page: Callable[[], Page], registry: FakeRegistry
) -> None:
    page = open_page()
    expect(page.locator("#summary")).to_contain_text("Needs attention: wine-quality: live traffic")
    expect(page.get_by_role("link", name="Overview")).to_have_attribute("aria-current", "page")
    model = page.get_by_role("region", name="wine-quality", exact=True)
    expect(model).to_contain_text("MAE 0.5; without a model 0.7")
    host = page.url.rstrip("/")
    expect(model.get_by_role("link", name="Versions")).to_have_attribute("href", f"{host}/mlflow/#/models/wine-quality")
    drift = page.get_by_role("img", name="Drift")
    expect(drift).to_have_accessible_name(
        "Drift: the largest PSI of a column: last 0.4, limit 0.2; 1 of 3 windows alarming"
    )
    heights = drift.locator(".bar").evaluate_all(
        "bars => bars.map((bar) => bar.clientHeight / bar.parentElement.clientHeight)"
    )
    assert heights == pytest.approx([0.05 / 0.44, 0.05 / 0.44, 0.4 / 0.44], abs=0.03)
    page.get_by_text("3 windows, since").first.click()
    expect(page.get_by_role("row").nth(3)).to_contain_text("0.4alarming")
    model.get_by_role("link", name="Predict").click()
    expect(page.get_by_role("heading", name="Predict quality")).to_be_visible()
    page.go_back()
    registry.stop()
    page.reload()
    expect(model.locator(".notice")).to_contain_text("MLflow does not answer")
    expect(page.get_by_role("region", name="Airflow")).to_contain_text("healthy")


def test_everybody_can_use_it(open_page: Callable[[], Page]) -> None:
    page = open_page()
    assert hindrances(page) == []
    page.get_by_role("navigation", name="Services").get_by_role("link", name="Predict").click()
    expect(page.get_by_role("heading", name="Predict quality")).to_be_visible()
    assert hindrances(page) == []


def test_the_keyboard_reaches_the_way_on(open_page: Callable[[], Page]) -> None:
    page = open_page()
    for name in ("Skip to the content", "MLflow", "Predict", "3 windows, since 23 Nov 2026, 10:00 UTC"):
        tab_to(page, name)
    page.keyboard.press("Enter")
    expect(page.get_by_role("table").first).to_be_visible()


def test_the_overview_asks_for_the_key_of_the_service(registry: FakeRegistry, whole: Settings, page: Page) -> None:
    fill(registry)
    right = "0f9a6c1e5d7b48e2a3c0"
    with serving(whole.model_copy(update={"api_key": SecretStr(right)})) as url:
        page.goto(url)
        key = page.get_by_label("API key")
        expect(key).to_be_focused()
        key.fill("another key, not the right one")
        key.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The service did not take this key.")
        key.fill(right)
        key.press("Enter")
        expect(page.get_by_role("region", name="Airflow")).to_be_visible()
        expect(key).to_be_hidden()
