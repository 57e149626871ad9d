"""What the demo reads out of Airflow's log, what it refuses before it starts anything, and that it cleans up."""

import socket
import sys
from pathlib import Path

import pytest

from stack import demo, operate, programs, run
from stack.errors import PortTaken, ProgramFailed
from stack.report import Report
from stack.settings import read_settings

HOOK = "[airflow.task.hooks.airflow.providers.standard.hooks.subprocess.SubprocessHook] loc=subprocess.py:106"
LOG = f"""\
2026-01-01T09:00:00.000000Z [info     ] [DAG TEST] starting task_id=check map_index=-1 [airflow] loc=1
2026-01-01T09:00:01.000000Z [info     ] Command exited with return code 0 {HOOK}
2026-01-01T09:00:06.500000Z [info     ] [DAG TEST] end task task_id=check map_index=-1 [airflow] loc=2
2026-01-01T09:00:07.000000Z [info     ] [DAG TEST] starting task_id=train map_index=-1 [airflow] loc=1
2026-01-01T09:00:08.000000Z [info     ] error: data.csv, row 7: not a number {HOOK}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.yaml").write_text("name: wine-quality\n")
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "java_home").write_text("/opt/java\n")
    return tmp_path


def test_each_trial_and_each_task_that_ended_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    trial = "2026-01-01T09:00:05.000000Z [info     ] 09:00:05 trial 2 of 10: xgboost, mae 0.5358 [airflow.task] loc=1\n"
    demo.follow((LOG + trial).splitlines(), report)
    assert [(step.name, step.seconds) for step in report.steps] == [("  check", 6.5)]
    assert "trial 2 of 10: xgboost, mae 0.5358\n" in capsys.readouterr().out


def test_a_failure_shows_what_the_commands_said_and_not_what_airflow_says(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(LOG)
    assert demo.task_output(log) == "error: data.csv, row 7: not a number"


def test_how_to_go_on_names_the_same_file_and_pipeline() -> None:
    assert demo.run_command({"HOME": "/root", "DATA": ""}) == "make run"
    given = {"DATA": "my wines.csv", "CONFIG": "w.yaml"}
    assert demo.run_command(given) == "make run CONFIG=w.yaml DATA='my wines.csv'"


@pytest.mark.parametrize("driver", [demo.run_demo, lambda settings, _: run.run_stack(settings)])
def test_a_taken_port_is_told_before_anything_starts(root: Path, ports: dict[str, str], driver) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        settings = read_settings(ports | {"RAG_PORT": port}, root)
        with pytest.raises(PortTaken, match=f"port {port}, where rag should listen"):
            driver(settings, Report())
    assert not (root / "var" / "log").exists()


@pytest.mark.parametrize(("driver", "name"), [(demo.main, "demo"), (run.main, "run"), (operate.main, "")])
def test_a_wrong_setting_is_one_line_and_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], driver, name: str
) -> None:
    monkeypatch.setenv("API_PORT", "http")
    monkeypatch.setattr(f"stack.{name or 'operate'}.read_settings", lambda: read_settings({"API_PORT": "http"}))
    monkeypatch.setattr(sys, "argv", ["driver"])
    assert driver() == 1
    said = capsys.readouterr().err
    assert "API_PORT is 'http'" in said
    assert "hint: give a number" in said


def test_a_program_that_cannot_start_stops_the_demo(root: Path, ports: dict[str, str]) -> None:
    """The interpreters of this root are stand-ins that end at once, as a broken environment would."""
    for name in ("training", "api", "rag", "airflow"):
        folder = root / ".venvs" / name / "bin"
        folder.mkdir(parents=True)
        (folder / "python").write_text(f"#!/bin/sh\necho broken {name}\nexit 9\n")
        (folder / "python").chmod(0o755)
    report = Report()
    with pytest.raises(ProgramFailed, match="ended with code 9") as failure:
        demo.run_demo(read_settings(ports, root), report)
    assert failure.value.tail.startswith("broken")
    assert [step.result for step in report.steps] == ["failed"]


def test_every_program_listens_on_this_machine_only_and_uses_the_chosen_ports(root: Path) -> None:
    settings = read_settings(
        {"API_PORT": "9000", "MLFLOW_PORT": "9001", "RAG_PORT": "9002", "AIRFLOW_PORT": "9003"}, root
    )
    api, rag, airflow = programs.api(settings), programs.rag(settings), programs.airflow_server(settings)
    assert (api.environment["API_HOST"], api.environment["API_PORT"]) == ("127.0.0.1", "9000")
    pages = "Overview=:9000/ Predict=:9000/predict-form Ask=:9002/ Airflow=:9003/ MLflow=:9001/"
    assert (api.environment["API_PAGES"], rag.environment["RAG_PAGES"]) == (pages, pages)
    assert (api.environment["RAG_URL"], api.environment["AIRFLOW_URL"]) == tuple(map(settings.url, ("rag", "airflow")))
    assert (rag.environment["RAG_HOST"], rag.environment["RAG_PORT"]) == ("127.0.0.1", "9002")
    assert airflow.environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert airflow.environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:9003/execution/"
    assert airflow.environment["API_URL"] == "http://127.0.0.1:9000"
    assert airflow.environment["JAVA_HOME"] == "/opt/java"
    command = list(programs.mlflow(settings).command)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == "9001"


def test_no_program_gets_the_keys_of_another(root: Path) -> None:
    secrets = {"API_KEY": "a", "RAG_API_KEY_FILE": "r", "SIGNING_KEY": "s", "AIRFLOW__CORE__FERNET_KEY": "f"}
    secrets |= {"ALERT_WEBHOOK": "https://hooks.example.org/a"}
    secrets |= {"AWS_SECRET_ACCESS_KEY": "w", "DATA_PASSWORD_FILE": "d"}
    settings = read_settings({**secrets, "TZ": "UTC"}, root)
    started = {
        "mlflow": programs.mlflow(settings),
        "api": programs.api(settings),
        "rag": programs.rag(settings),
        "airflow": programs.airflow_server(settings),
    }
    known = {name: {key for key in secrets if key in program.environment} for name, program in started.items()}
    assert known == {
        "mlflow": {"AWS_SECRET_ACCESS_KEY"},
        "api": {"API_KEY"},
        "rag": {"RAG_API_KEY_FILE"},
        "airflow": {*secrets} - {"API_KEY"},  # it asks the service for documents, too
    }
    assert {program.environment["TZ"] for program in started.values()} == {"UTC"}
    assert started["airflow"].environment["SIGNING_KEY"] == str(root / "var" / "signing" / "private" / "key.pem")


def test_the_run_gets_the_users_own_table(root: Path) -> None:
    (root / "mine.csv").write_text("a\n1\n")
    settings = read_settings({"DATA": str(root / "mine.csv")}, root)
    assert programs.api(settings).environment["DEFAULT_MODEL"] == "mine"
    assert demo.configuration(settings) == {
        "config": str(root / "pipeline.yaml"), "name": "mine", "trials": demo.TRIALS, "data": str(root / "mine.csv")
    }  # fmt: skip
