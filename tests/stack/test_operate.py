"""Operating the stack that runs, as containers (against a stand-in for `docker`) or beside `make run`."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stack import clients, operate, train
from stack.airflow_client import Airflow
from stack.compose import Compose
from stack.containers import OVERVIEW
from stack.errors import NoAnswer
from stack.settings import ROOT, Settings, read_settings

PS = '{"Service":"airflow","ID":"aaaaaaaaaaaa"}'
RUNS = "/api/v2/dags/train_model/dagRuns"
TASKS = [{"task_id": "check", "state": "success", "start_date": "2026-01-01T00:00:01Z", "duration": 6.5}]
ANSWERS = {
    ("POST", "/auth/token"): (201, {"access_token": "abc"}),
    ("POST", RUNS): (200, {"dag_run_id": "one"}),
    ("GET", f"{RUNS}/one"): (200, {"state": "success"}),
    ("GET", f"{RUNS}/one/taskInstances"): (200, {"task_instances": TASKS}),
}
Do = Callable[..., int]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose training environment is a program that says with what it was called."""
    (tmp_path / "pipeline.yaml").write_text("name: wine-quality\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("a\n1\n")
    python = tmp_path / ".venvs" / "training" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho \'{"an": "object"}\'; echo "$MLFLOW_TRACKING_URI $*" >&2; exit 3\n')
    python.chmod(0o755)
    return tmp_path


@pytest.fixture
def do(root: Path, monkeypatch: pytest.MonkeyPatch) -> Do:
    """Does a task as `make` would, with the variables given."""

    def run(*arguments: str, **variables: str) -> int:
        def settings() -> Settings:
            return read_settings({"PATH": f"{root}:/usr/bin:/bin"} | variables, root)

        monkeypatch.setattr("stack.operate.read_settings", settings)
        monkeypatch.setattr(sys, "argv", ["operate", *arguments])
        return operate.main()

    return run


@pytest.fixture
def airflow(json_server) -> tuple[str, list[tuple[str, str]]]:
    """The port of an Airflow whose run ends at once, and what it was asked."""
    asked: list[tuple[str, str]] = []
    url = json_server({" ".join(call): answer for call, answer in ANSWERS.items()}, asked)
    return url.rpartition(":")[2], asked


@pytest.fixture
def containers(docker) -> Path:
    """The stack as containers, as far as `make` sees it; the log of the calls to the engine."""
    calls: Path = docker(
        {"never ps": PS, "cat pipeline.yaml": "name: wine-quality", "stack.train": "{}", "never exec": "the-password"}
    )
    return calls


@pytest.fixture
def beside(root: Path, docker) -> None:
    """No container runs, but `make run` made Airflow's password."""
    docker({"never ps": ""})
    (root / "var" / "airflow").mkdir(parents=True)
    (root / "var" / "airflow" / "passwords.json").write_text('{"admin": "one-of-here"}')


def test_trains_inside_the_container(containers: Path, root: Path, do: Do, capfd: pytest.CaptureFixture[str]) -> None:
    assert do("train", AIRFLOW_PORT="9000", TRIALS="3", DATA=str(root / "data" / "mine.csv")) == 0
    training, _, status = containers.read_text().splitlines()[-3:]
    conf = '{"trials": 3, "data": "data/mine.csv"}'
    assert (
        training
        == f"compose --ansi never exec -T airflow python -m stack.train train_model {conf} http://127.0.0.1:9000"
    )
    assert status.endswith("scripts/pipeline.py status --config pipeline.yaml")  # the gate may have refused
    assert capfd.readouterr().out == "{}\n"


def test_a_training_of_containers_that_fails_is_an_error(docker, do: Do, capsys: pytest.CaptureFixture[str]) -> None:
    docker({"never ps": PS, "cat pipeline.yaml": "name: wine-quality"})
    assert do("train") == 1
    assert "did not succeed" in capsys.readouterr().err


def test_production_trains_on_a_worker_and_shows_the_proxys_page(docker, root: Path, do: Do) -> None:
    ps = "\n".join(f'{{"Service":"{name}","ID":"a"}}' for name in ("airflow", "airflow-worker", "proxy"))
    calls = docker({"never ps": ps, "cat pipeline.yaml": "name: wine-quality", "never exec": "{}"})
    assert do("train", SITE_NAME="wines.example.org", HTTPS_PORT="9443") == 0
    asked = calls.read_text()
    assert "exec -T airflow-worker cat pipeline.yaml" in asked
    assert "stack.train train_model {} https://wines.example.org:9443/airflow\n" in asked
    assert "exec -T airflow-worker /opt/training/bin/python scripts/pipeline.py status" in asked


def test_drivers_sign_in_through_the_proxy_of_the_production_stack(
    json_server, docker, root: Path, tmp_path: Path
) -> None:
    made, certificate = tmp_path / "made.pem", tmp_path / "authority.pem"
    options = ["-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]
    options += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(made), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *options], check=True, capture_output=True)
    made.write_text(made.read_text() + certificate.read_text())
    asked: list[tuple[str, str]] = []
    answers = {f"{method} /airflow{path}": answer for (method, path), answer in ANSWERS.items()}
    port = json_server(answers, asked, made).rpartition(":")[2]
    said = {"never ps": '{"Service":"proxy","ID":"a"}', "root.crt": certificate.read_text(), "never exec": "a-password"}
    docker(said)
    settings = read_settings({"PATH": f"{tmp_path}:/usr/bin:/bin", "HTTPS_PORT": port}, root)
    airflow = clients.sign_in(settings, Compose(root, settings.environment))
    airflow.follow(airflow.trigger({}), 10, lambda _: None)
    assert [call for call, _ in asked] == list(answers)


@pytest.mark.parametrize("below", ["", "/airflow"])
def test_inside_the_container_the_run_is_started_and_followed(
    json_server, tmp_path: Path, capsys: pytest.CaptureFixture[str], below: str
) -> None:
    asked: list[tuple[str, str]] = []
    url = json_server({f"{call[0]} {below}{call[1]}": answer for call, answer in ANSWERS.items()}, asked)
    (tmp_path / "passwords.json").write_text('{"admin": "made-at-first-start"}')
    environment = {
        "AIRFLOW__API__PORT": url.rpartition(":")[2],
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(tmp_path / "passwords.json"),
        "AIRFLOW__API__BASE_URL": f"https://wines.example.org{below}",
    }
    assert train.main(["train_model", '{"trials": 3}', "https://wines.example.org/airflow"], environment) == 0
    assert "made-at-first-start" in asked[0][1]
    assert '"conf":{"trials":3}' in asked[1][1].replace(" ", "")
    said = capsys.readouterr().out
    assert said == "one: https://wines.example.org/airflow/dags/train_model/runs\ncheck      success       6.5 s\n"


def test_the_airflow_image_has_what_a_training_imports(tmp_path: Path) -> None:
    """Its own interpreter imports the copied files, and nothing else of this folder."""
    recipe = (ROOT / "airflow" / "Dockerfile").read_text()
    copied = next(line for line in recipe.splitlines() if line.startswith("COPY stack/")).split()[1:-1]
    (tmp_path / "stack").mkdir()
    for file in copied:
        shutil.copy(ROOT / file, tmp_path / "stack")
    python = ROOT / ".venvs" / "airflow" / "bin" / "python"
    subprocess.run([python, "-B", "-c", "import stack.train"], cwd=tmp_path, env={}, check=True)


def test_containers_are_operated_with_nothing_but_the_standard_library() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from stack import operate, up"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, timeout=30)


def test_trains_beside_make_run_what_is_served_there(
    beside: None, airflow, tmp_path: Path, do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    port, asked = airflow
    (tmp_path / "Else where.csv").write_text("a\n1\n")
    assert do("train", AIRFLOW_PORT=port, DATA=str(tmp_path / "Else where.csv")) == 0
    assert '"password":"one-of-here"' in asked[0][1].replace(" ", "")
    assert f'"config": "{tmp_path}/pipeline.yaml", "name": "else-where"' in asked[1][1].replace('":"', '": "').replace(
        '","', '", "'
    )
    assert f"{tmp_path}/Else where.csv" in asked[1][1]
    said = capfd.readouterr()
    assert "check      success       6.5 s" in said.out
    assert "scripts/pipeline.py status" in said.err


@pytest.mark.usefixtures("containers")
def test_a_table_that_the_container_cannot_see_is_refused(
    do: Do, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere.csv").write_text("a\n1\n")
    assert do("train", DATA=str(tmp_path / "elsewhere.csv")) == 1
    assert "elsewhere.csv: expected a file in the folder data/" in capsys.readouterr().err


@pytest.mark.parametrize("trials", ["abc", "0", "-3", "2.5"])
def test_trials_that_are_no_number_are_refused(beside: None, do: Do, trials: str, capsys) -> None:
    assert do("train", TRIALS=trials) == 1
    assert capsys.readouterr().err.startswith(f"TRIALS={trials}: expected a number of trials")


def test_airflow_that_stops_answering_is_reported(
    beside: None, airflow, do: Do, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(*_: object) -> None:
        raise NoAnswer("GET http://127.0.0.1/api", "ReadTimeout")

    monkeypatch.setattr(Airflow, "follow", silent)
    assert do("train", AIRFLOW_PORT=airflow[0]) == 1
    assert "GET http://127.0.0.1/api did not answer (ReadTimeout)" in capsys.readouterr().err


@pytest.mark.parametrize("stops_at", ["last_runs", "__init__"])
def test_airflow_that_stops_answering_costs_status_its_own_lines(
    beside: None, json_server, do: Do, monkeypatch: pytest.MonkeyPatch, capsys, stops_at: str
) -> None:
    def silent(*_: object) -> None:
        raise NoAnswer("GET http://127.0.0.1/api", "ReadTimeout")

    port = json_server(
        {" ".join(call): answer for call, answer in ANSWERS.items()}
        | {"GET /overview": (200, {"attention": [], "tiles": []})}
    ).rpartition(":")[2]
    monkeypatch.setattr(Airflow, stops_at, silent)
    assert do("status", API_PORT=port, AIRFLOW_PORT=port) == 0
    assert "Airflow does not answer: GET http://127.0.0.1/api did not answer (ReadTimeout)" in capsys.readouterr().out


def test_inside_a_container_airflow_that_does_not_answer_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "passwords.json").write_text('{"admin": "one"}')
    environment = {
        "AIRFLOW__API__PORT": "9",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(tmp_path / "passwords.json"),
    }
    assert train.main(["last-runs"], environment) == 1
    assert capsys.readouterr().err.startswith("POST http://127.0.0.1:9/auth/token did not answer (ConnectError)")


@pytest.mark.usefixtures("containers")
def test_an_edited_pipeline_that_the_container_does_not_see_is_told(
    do: Do, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "pipeline.yaml").write_text("name: wine-quality\nsearch: {trials: 3}\n")
    assert do("train") == 1
    assert "docker compose restart airflow" in capsys.readouterr().err


def test_nothing_runs_and_nothing_answers(do: Do, root: Path, docker, capsys: pytest.CaptureFixture[str]) -> None:
    docker({})
    assert do("password") == 1
    assert "`make run` in another terminal" in capsys.readouterr().err
    (root / "var" / "airflow").mkdir(parents=True)
    (root / "var" / "airflow" / "passwords.json").write_text('{"admin": "one-of-here"}')
    assert do("train", AIRFLOW_PORT="9") == 1
    said = capsys.readouterr().err
    assert "http://127.0.0.1:9/auth/token did not answer (ConnectError)" in said
    assert "`make run` in another terminal" in said


def test_prints_the_password(containers: Path, do: Do, capsys: pytest.CaptureFixture[str]) -> None:
    assert do("password") == 0
    assert capsys.readouterr().out == "the-password\n"


def test_prints_the_password_of_make_run(beside: None, do: Do, capsys: pytest.CaptureFixture[str]) -> None:
    assert do("password") == 0
    assert capsys.readouterr().out == "one-of-here\n"


def test_scripts_run_in_the_container(containers: Path, do: Do, capfd: pytest.CaptureFixture[str]) -> None:
    assert do("rollback", "--to", "3") == 0
    wanted = "exec -T airflow /opt/training/bin/python scripts/pipeline.py rollback --config pipeline.yaml --to 3"
    assert containers.read_text().splitlines()[-1] == f"compose --ansi never {wanted}"
    assert capfd.readouterr().out == ""


def test_scripts_run_beside_make_run_on_its_tracking_server(
    beside: None, root: Path, do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    assert do("history", "--at", "2026-01-01", MLFLOW_PORT="7777", DATA=str(root / "data" / "mine.csv")) == 3
    given = f"scripts/pipeline.py history --config {root}/pipeline.yaml --name mine --at 2026-01-01"
    assert capfd.readouterr() == ("", f"http://127.0.0.1:7777 {given}\n")


TILES = [
    {
        "title": "wine: live traffic",
        "facts": [{"name": "Drift", "text": "1 column: pH", "bad": True}],
        "trends": [{"name": "Drift: PSI", "limit": 0.2, "points": [{"value": 0.05}, {"value": 0.4}]}],
        "away": None,
    },
    {"title": "Alerts", "facts": [], "trends": [], "away": "Not asked: set PROMETHEUS_URL."},
]
SHOWN = """Needs attention: wine: live traffic.

wine: live traffic
! Drift                    1 column: pH
  Drift                    of the last windows 0.05 0.4; limit 0.2

Alerts
  Not asked: set PROMETHEUS_URL.

Last run of each DAG
"""


def test_status_prints_the_overview_and_each_dags_last_run(
    beside: None, json_server, do: Do, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [{"dag_id": dag, "state": state, "dag_run_id": run} for dag, state, run in (
        ("train_model", "failed", "second"), ("monitor_model", "success", "only"), ("train_model", "success", "first"),
    )]  # fmt: skip
    overview = {"attention": ["wine: live traffic"], "tiles": TILES}
    answers = {
        "GET /overview": (200, overview),
        "POST /auth/token": (201, {"access_token": "abc"}),
        "GET /api/v2/dags/~/dagRuns": (200, {"dag_runs": runs}),
    }
    port = json_server(answers).rpartition(":")[2]
    assert do("status", API_PORT=port, AIRFLOW_PORT=port) == 0
    dags = "  monitor_model            success, only\n  train_model              failed, second\n"
    assert capsys.readouterr() == (SHOWN + dags, "")
    assert do("status", API_PORT=port, AIRFLOW_PORT="9") == 0
    assert capsys.readouterr().out.startswith(f"{SHOWN}  Airflow does not answer: ")
    assert do("status", API_PORT=port, AIRFLOW_PORT=port, FORMAT="json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["attention"], said["dag_runs"][0]["dag_id"]) == (["wine: live traffic"], "monitor_model")


def test_a_reader_that_goes_away_is_no_failure() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from stack.errors import guarded; "
    code += "sys.exit(guarded(lambda: print('x' * 99, flush=True) or 0))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=30)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_status_of_containers_is_asked_inside(docker, do: Do, capsys: pytest.CaptureFixture[str]) -> None:
    overview = json.dumps({"attention": [], "tiles": TILES[1:]})
    runs = json.dumps([{"dag_id": "train_model", "state": "running", "dag_run_id": "one"}])
    docker({"never ps": PS, "exec -T api python": overview, "stack.train last-runs": runs})
    assert do("status") == 0
    said = capsys.readouterr().out
    assert said.startswith("Nothing needs attention.\n\nAlerts")
    assert said.endswith("  train_model              running, one\n")


def test_containers_whose_service_does_not_answer_show_what_the_registry_knows(
    docker, do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    calls = docker({"never ps": PS, "pipeline.py status": "{}"})
    assert do("status") == 0
    assert calls.read_text().endswith("scripts/pipeline.py status --config pipeline.yaml --all\n")
    assert capfd.readouterr().err.splitlines()[0] == "the prediction service does not answer (no compose)"


def test_what_is_asked_inside_the_container_sends_the_services_key(json_server, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("the-first-key read\nanother\n")
    asked: list[tuple[str, str]] = []
    port = json_server({"GET /overview": (200, {"tiles": []})}, asked).rpartition(":")[2]
    environment = {"API_PORT": port, "API_KEY_FILE": str(tmp_path / "keys")}
    done = subprocess.run([sys.executable, "-c", OVERVIEW], env=environment, capture_output=True, check=True)
    assert json.loads(done.stdout) == {"tiles": []}


def test_status_of_one_pipeline_and_without_the_service_comes_from_the_tracking_server(
    beside: None, root: Path, do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    assert do("status", API_PORT="9") == 3
    said = capfd.readouterr().err
    assert "http://127.0.0.1:9/overview did not answer (ConnectError)" in said
    assert f"scripts/pipeline.py status --config {root}/pipeline.yaml --name wine-quality --all" in said
    assert do("status", API_PORT="9", CONFIG=str(root / "pipeline.yaml")) == 3
    assert "--all" not in capfd.readouterr().err


def test_documents_are_embedded_by_the_services_environment(
    root: Path, do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    python = root / ".venvs" / "rag" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$RAG_DATA_DIR $JAVA_HOME $AWS_PROFILE $PYTHONPATH $*"; exit 1\n')
    python.chmod(0o755)
    (root / "var").mkdir(exist_ok=True)
    (root / "var" / "java_home").write_text("/java\n")

    given = {"AWS_PROFILE": "me", "FROM": "s3://docs", "COLLECTION": "towns", "MASTER": "local[2]"}
    assert do("embed", **given) == 1
    asked = "rag -m rag_service embed s3://docs --collection towns --master local[2]\n"
    assert capfd.readouterr().out == f"{root}/var/rag /java me {asked}"
    assert do("embed") == 1
    assert "make embed FROM=folder" in capfd.readouterr().err
    assert do("ask", QUESTION="Why?", COLLECTION="towns", RAG_PORT="9") == 1
    asked = "rag -m rag_service ask Why? --collection towns --url http://127.0.0.1:9\n"
    assert capfd.readouterr().out == f"{root}/var/rag   {asked}"


def test_containers_are_asked_inside_and_see_a_folder_for_as_long_as_it_is_read(
    docker, root: Path, do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    calls = docker({"never ps": PS, "rag_service": "answered"})
    assert do("ask", QUESTION="Why?") == 0
    assert capfd.readouterr().out == "answered\n"
    assert calls.read_text().endswith("exec -T rag python -m rag_service ask Why? --url http://127.0.0.1:8001\n")
    assert do("ingest", FROM=str(root / "data"), COLLECTION="towns") == 0
    once = f"run --rm --no-deps -T --volume {root}/data:/documents/data:ro rag"
    asked = "python -m rag_service ingest /documents/data --collection towns --url http://rag:8001"
    assert calls.read_text().endswith(f"{once} {asked}\n")
    assert do("ingest", FROM=str(root / "nowhere")) == 1
    assert "nowhere: there is no such file or folder" in capfd.readouterr().err
    assert do("ask", QUESTION=" ") == 1
    assert "make ask QUESTION=" in capfd.readouterr().err
    assert do("embed", FROM="s3://docs") == 1
    assert "docker compose run --rm rag-embed" in capfd.readouterr().err
