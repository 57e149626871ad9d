"""Prometheus and Alertmanager themselves, with the project's configuration: what fires, what arrives, what is drawn."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from conftest import ROOT
from servers import held_port, json_servers, server_running

MONITORING = ROOT / "monitoring"
RULES = [rule for group in yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"] for rule in group["rules"]]
TESTS = [MONITORING / name for name in ("rules.test.yml", "rules.hours.test.yml")]
PYTHON = {name: ROOT / ".venvs" / name / "bin" / "python" for name in ("api", "rag")}
RECEIVERS = ("webhook", "slack")
SECONDS = 90.0


def program(*names: str) -> str:
    """The path of a program, which goes by these names. Without it the test is skipped, but not in CI."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"there is no {names[0]} on PATH (docs/how-to/alerts.md)"
        )
    return found


def test_each_alert_fires_when_it_should_and_not_otherwise() -> None:
    done = subprocess.run([program("promtool"), "test", "rules", *TESTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_its_tests_and_is_explained() -> None:
    tested = [
        one for path in TESTS for test in yaml.safe_load(path.read_text())["tests"] for one in test["promql_expr_test"]
    ]
    explained = (ROOT / "docs" / "how-to" / "alerts.md").read_text()
    for rule in RULES:
        name = rule["alert"]
        expected = [bool(one["exp_samples"]) for one in tested if name in one["expr"]]
        assert {True, False} <= set(expected), f"{name} is not seen both firing and quiet"
        assert rule["labels"]["severity"] in ("warning", "critical"), name
        assert set(rule["annotations"]) == {"summary", "action"}, name
        assert f"| `{name}` |" in explained, f"docs/how-to/alerts.md does not explain {name}"


def test_the_configurations_are_valid() -> None:
    checks = (
        [program("promtool"), "check", "config", "--syntax-only", str(MONITORING / "prometheus.yml")],
        [program("promtool"), "check", "rules", str(MONITORING / "rules.yml")],
        [program("amtool"), "check-config", str(MONITORING / "alertmanager.yml")],
    )
    for check in checks:
        subprocess.run(check, check=True, capture_output=True)


def test_alerts_are_delivered_nowhere_unless_asked_for() -> None:
    configuration = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())
    assert configuration["route"]["receiver"] == "nowhere"
    assert {"name": "nowhere"} in configuration["receivers"]


def test_prometheus_starts_with_the_first_key_of_each_service(tmp_path: Path) -> None:
    (tmp_path / "api_keys").write_text("# of the page\n\n  first-key  \nsecond-key\n")
    (tmp_path / "rag_keys").write_text("reading-key read\nother-key write default\n")
    (tmp_path / "prometheus").write_text('#!/bin/sh\necho "$@" "${API_KEY-none}"\n')
    (tmp_path / "prometheus").chmod(0o755)
    given = {"PATH": f"{tmp_path}:/usr/bin:/bin", "FOLDER": str(tmp_path), "PAGE": "https://a/prometheus/"}
    files = {"API_KEY_FILE": str(tmp_path / "api_keys"), "RAG_API_KEY_FILE": str(tmp_path / "rag_keys")}

    def keys(**variables: str) -> tuple[str, str]:
        command = ["sh", MONITORING / "start.sh"]
        said = subprocess.run(command, env=given | variables, check=True, capture_output=True, text=True).stdout
        assert "--web.external-url=https://a/prometheus/" in said
        assert said.endswith(" none\n")  # no key in the environment, which tools show
        return (tmp_path / "api").read_text().strip(), (tmp_path / "rag").read_text().strip()

    assert keys(**files) == ("first-key", "reading-key")
    assert (tmp_path / "api").stat().st_mode & 0o077 == 0
    assert keys(API_KEY="only-key") == ("only-key", "")
    assert keys() == ("", "")


@contextmanager
def watched_api(keys: Path) -> Iterator[Callable[[], str]]:
    """Starts the prediction service, which is then used; what it gives waits for it and returns its host and port."""
    command = [PYTHON["api"], Path(__file__).with_name("watched_api.py"), keys]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield lambda: process.stdout.readline().strip().removeprefix("http://")
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


@contextmanager
def watched_rag(folder: Path, port: int) -> Iterator[str]:
    """The question-answering service, asked again and again; gives its host and port."""
    folder.mkdir()
    place = {
        "PYTHONPATH": str(ROOT / "rag"),
        "RAG_DATA_DIR": str(folder / "data"),
        "RAG_MODELS_DIR": str(folder / "models"),
    }
    variables = place | {"RAG_PORT": str(port), "RAG_GENERATOR": "none"}
    address, ended = f"http://127.0.0.1:{port}", threading.Event()

    def use() -> None:
        with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
            client.post(
                "/documents",
                files={"files": ("wine.txt", b"Port is fortified with brandy.")},
                params={"background": "true"},
            )
            while not ended.wait(0.3):
                for question in ("What is port fortified with?", "Who won the race?"):
                    client.post("/ask", json={"question": question})

    with server_running([PYTHON["rag"], "-m", "rag_service", "serve"], folder, f"{address}/readyz", variables):
        asking = threading.Thread(target=use)
        asking.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            ended.set()
            asking.join()


# Airflow pushes these, by a protocol that Debian's Prometheus is built without. That they are Airflow's,
# tests/dags/test_metrics.py sees.
AIRFLOW = """
airflow_pool_running_slots{pool_name="default_pool"} 1
airflow_pool_queued_slots{pool_name="default_pool"} 0
airflow_pool_scheduled_slots{pool_name="default_pool"} 0
airflow_scheduler_heartbeat_total 12
"""


def configure(folder: Path, places: dict[str, str]) -> None:
    """Writes the project's configuration, but for its addresses and waiting times."""
    asked, rules, told = (
        yaml.safe_load((MONITORING / name).read_text()) for name in ("prometheus.yml", "rules.yml", "alertmanager.yml")
    )
    asked["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    asked["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [places["alertmanager"]]}]}]}
    asked["scrape_configs"].append({"job_name": "airflow"})
    for job in asked["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": [places[job["job_name"]]]}]
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(folder / "key")
    for group in rules["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            rule.pop("for", None)
    told["route"] |= {"group_wait": "0s", "routes": [{"receiver": name, "continue": True} for name in RECEIVERS]}
    receivers = {one["name"]: one for one in told["receivers"]}
    receivers["webhook"]["webhook_configs"][0]["url_file"] = str(folder / "webhook_url")
    receivers["slack"]["slack_configs"][0]["api_url_file"] = str(folder / "slack_url")
    for name, content in (("prometheus", asked), ("rules", rules), ("alertmanager", told)):
        (folder / f"{name}.yml").write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Prometheus over both services, and Alertmanager; gives Prometheus' address, and what was delivered."""
    folder, delivered = tmp_path_factory.mktemp("watching"), list[tuple[str, str]]()
    prometheus, alertmanager = program("prometheus"), program("alertmanager", "prometheus-alertmanager")
    key = folder / "key"
    key.write_text("c0ffee-1234-test-key-of-the-watching\n")
    with ExitStack() as running:
        answers = {f"POST /{name}": (200, "ok") for name in RECEIVERS} | {"GET /metrics": (200, AIRFLOW)}
        target = running.enter_context(json_servers())(answers, delivered)
        for name in RECEIVERS:
            (folder / f"{name}_url").write_text(f"{target}/{name}\n")
        ports = [running.enter_context(held_port()) for _ in range(3)]
        api = running.enter_context(watched_api(key))
        rag = running.enter_context(watched_rag(folder / "rag", ports[2]))

        alerting = f"127.0.0.1:{ports[1]}"
        places = {"api": api(), "rag": rag, "alertmanager": alerting, "airflow": target.removeprefix("http://")}
        configure(folder, places)
        address, place = f"http://127.0.0.1:{ports[0]}", folder / "alertmanager"
        place.mkdir()
        command = [alertmanager, f"--config.file={folder}/alertmanager.yml", f"--storage.path={place}/data"]
        command += [f"--web.listen-address={alerting}", "--cluster.listen-address="]
        running.enter_context(server_running(command, place, f"http://{alerting}/-/ready", {}))
        command = [prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{ports[0]}"]
        running.enter_context(server_running(command, folder, f"{address}/-/ready", {}))
        yield address, delivered


def wait_for(look: Callable[[], Any], enough: Callable[[Any], bool] = bool) -> Any:
    """What `look` returns once that is enough, or at the end of the time."""
    deadline = time.monotonic() + SECONDS
    while not enough(found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def test_what_the_monitor_found_is_delivered(watching: tuple[str, list[tuple[str, str]]]) -> None:
    _, delivered = watching

    def drift() -> dict[str, Any]:
        """Of each receiver, the first message about the drift."""
        posted = [(key.removeprefix("POST /"), json.loads(body)) for key, body in delivered if body]
        return {name: message for name, message in reversed(posted) if "Drift" in json.dumps(message)}

    found = wait_for(drift, lambda found: found.keys() == set(RECEIVERS))
    summary = "2 columns of the traffic of wine-quality differ from training."
    [alert] = found["webhook"]["alerts"]
    assert (alert["status"], alert["labels"]["severity"]) == ("firing", "warning")
    assert alert["annotations"]["summary"] == summary
    assert "wine-quality-monitor" in alert["annotations"]["action"]
    [shown] = found["slack"]["attachments"]
    assert shown["title"] == "FIRING: Drift"
    assert shown["text"].startswith(f"{summary}\nThe report of the newest run in MLflow")


def test_every_panel_shows_what_the_services_measure(watching: tuple[str, list[tuple[str, str]]]) -> None:
    address, _ = watching
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    wanted = [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", ())]
    assert len(wanted) > 15

    def empty() -> list[tuple[str, str]]:
        with httpx.Client(base_url=address, trust_env=False) as client:
            answers = [client.get("/api/v1/query", params={"query": query}).json() for _, query in wanted]
        results = [
            [value for one in answer["data"]["result"] if (value := one["value"][1]) != "NaN"] for answer in answers
        ]
        return [one for one, result in zip(wanted, results, strict=True) if not result]

    assert wait_for(empty, lambda found: not found) == []


def test_nothing_is_asked_of_the_services_that_they_do_not_measure(watching: tuple[str, list[tuple[str, str]]]) -> None:
    """A rule about a metric with a wrong name would never fire."""
    address, _ = watching
    texts = " ".join(rule["expr"] for rule in RULES)
    used = {name.removesuffix("_bucket") for name in re.findall(r"\b(?:api|rag|alertmanager)_\w+\b", texts)}
    with httpx.Client(base_url=address, trust_env=False) as client:

        def missing() -> set[str]:
            return used - set(client.get("/api/v1/metadata").json()["data"])

        assert wait_for(missing, lambda found: not found) == set()
