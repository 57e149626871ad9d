"""The supervisor of Airflow's container, with other programs in the place of Airflow's."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import entrypoint
import health
import pytest

ENTRYPOINT = Path(entrypoint.__file__)
RUN_SUPERVISOR = (
    "import sys, json; sys.path.insert(0, {folder!r}); import entrypoint; sys.exit(entrypoint.supervise({commands!r}))"
)
FOREVER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def supervisor(*commands: list[str]) -> subprocess.Popen[str]:
    source = RUN_SUPERVISOR.format(folder=str(ENTRYPOINT.parent), commands=list(commands))
    return subprocess.Popen(
        [sys.executable, "-u", "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_makes_secrets_once_and_for_its_owner_only(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords.json"
    entrypoint.make_secrets(tmp_path, passwords)
    first = (passwords.read_text(), (tmp_path / "airflow.cfg").read_text())
    entrypoint.make_secrets(tmp_path, passwords)
    assert (passwords.read_text(), (tmp_path / "airflow.cfg").read_text()) == first
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_secrets_are_long_and_never_the_same(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        entrypoint.make_secrets(tmp_path / name, tmp_path / name / "passwords.json")
        made.append(json.loads((tmp_path / name / "passwords.json").read_text())["admin"])
    assert made[0] != made[1]
    assert min(map(len, made)) >= 24
    config = (tmp_path / "one" / "airflow.cfg").read_text()
    keys = dict(line.split(" = ") for line in config.splitlines() if " = " in line)
    assert len(keys["jwt_secret"]) >= 64  # shorter is too short for HS512
    assert len(keys["fernet_key"]) == 44


def test_a_start_that_was_cut_short_leaves_no_half_secret(tmp_path: Path) -> None:
    (tmp_path / "passwords.json.draft").write_text("{")
    entrypoint.make_secrets(tmp_path, tmp_path / "passwords.json")
    assert json.loads((tmp_path / "passwords.json").read_text())["admin"]


def test_a_node_of_the_cluster_makes_the_secret_that_the_next_one_reads(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "spark-class"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    secret = tmp_path / "spark.conf"
    environment = {**os.environ, "SPARK_HOME": str(tmp_path), "SPARK_SECRET_FILE": str(secret)}
    said, kept = [], []
    for arguments in (["master", "--port", "7077"], ["worker", "spark://master:7077"]):
        command = [sys.executable, str(ENTRYPOINT.with_name("spark_node.py")), *arguments]
        said.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        kept.append(secret.read_text())
    assert said[0] == f"org.apache.spark.deploy.master.Master --properties-file {secret} --port 7077\n"
    assert said[1] == f"org.apache.spark.deploy.worker.Worker --properties-file {secret} spark://master:7077\n"
    assert kept[0] == kept[1]
    settings = dict(line.split(" ", 1) for line in kept[0].splitlines())
    assert settings["spark.authenticate"] == "true"
    assert len(settings["spark.authenticate.secret"]) == 64
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_ends_when_one_of_its_programs_ends() -> None:
    process = supervisor(FOREVER, [sys.executable, "-c", "raise SystemExit(7)"])
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "ended with code 7" in errors


def test_nothing_starts_before_the_api_server_answers(tmp_path: Path) -> None:
    """A task that the scheduler starts earlier cannot report, and has used up an attempt."""
    started = tmp_path / "started"
    second = [sys.executable, "-c", f"import pathlib; pathlib.Path({str(started)!r}).touch()"]
    looks: list[bool] = []

    def ready() -> bool:
        looks.append(started.exists())
        return len(looks) == 3

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert entrypoint.supervise([FOREVER, second], ready) == 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert looks == [False, False, False]
    assert started.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_well_when_it_is_told_to(number: signal.Signals) -> None:
    process = supervisor(FOREVER, [sys.executable, "-c", "import time; time.sleep(600)"])
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    os.kill(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode == 0


def run_entrypoint(home: Path, part: str | None = None, code: int = 0) -> tuple[int, list[str]]:
    """The exit code, and the programs that were called: Airflow's ends with `code`."""
    for name, ending in (("airflow", f"exit {code}"), ("bin/python", "")):
        program = home / "bin" / name.removeprefix("bin/")
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "$@" >> "$AIRFLOW_HOME/calls"\n{ending}\n')
        program.chmod(0o755)
    environment = {
        "PATH": f"{home / 'bin'}:/usr/bin:/bin",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "TRAINING_HOME": str(home),
        "PIPELINE_HOME": "/project",
    }
    command = [sys.executable, str(ENTRYPOINT), *([part] if part else [])]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, timeout=30)
    return done.returncode, (home / "calls").read_text().splitlines()


def test_stops_at_a_database_that_cannot_be_migrated(tmp_path: Path) -> None:
    code, calls = run_entrypoint(tmp_path, code=4)
    assert code != 0
    assert calls == ["/project/scripts/pipeline.py keys", "db migrate"]


@pytest.mark.parametrize(
    ("part", "calls"),
    [
        ("api-server", ["db migrate", "api-server"]),
        ("scheduler", ["scheduler --skip-serve-logs"]),
        ("dag-processor", ["dag-processor"]),
        ("worker", ["/project/scripts/pipeline.py keys", "celery worker --skip-serve-logs"]),
    ],
)
def test_a_part_alone_prepares_its_own_and_no_more(tmp_path: Path, part: str, calls: list[str]) -> None:
    assert run_entrypoint(tmp_path, part) == (0, calls)
    assert (tmp_path / "passwords.json").exists() == (part == "api-server")


def report(**statuses: str | None) -> dict[str, dict[str, str | None]]:
    parts = dict.fromkeys(health.PARTS, "healthy") | statuses
    return {part: {"status": status} for part, status in parts.items()} | {"triggerer": {"status": None}}


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ({}, []),
        ({"scheduler": "unhealthy"}, ["scheduler: unhealthy"]),
        ({"dag_processor": None}, ["dag_processor: None"]),
    ],
)
def test_health_reads_what_the_page_says(json_server, statuses: dict[str, str | None], said: list[str]) -> None:
    url = json_server({"GET /api/v2/monitor/health": (200, report(**statuses))})
    assert health.ailing(f"{url}/api/v2/monitor/health") == said


def test_health_of_a_part_is_its_own(json_server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = json_server({"GET /airflow/health": (200, report(scheduler=None))})
    monkeypatch.setenv("AIRFLOW_HEALTH_URL", f"{url}/airflow/health")
    codes = {}
    for part in health.PARTS:
        monkeypatch.setattr(sys, "argv", ["health.py", part])
        codes[part] = health.main()
    assert codes == {"metadatabase": 0, "scheduler": 1, "dag_processor": 0}


def test_health_is_bad_when_nothing_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__API__PORT", "1")
    monkeypatch.setattr(sys, "argv", ["health.py"])
    assert health.main() == 1
    assert capsys.readouterr().out.startswith("api-server: ")


WRITE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from entrypoint import write_private
input()
for number in range(100):
    write_private(Path(sys.argv[2]) / str(number), sys.argv[3] * 1000)
"""


def test_of_several_that_start_at_once_the_first_ones_secret_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE, str(ENTRYPOINT.parent), str(tmp_path)]
    nodes = [subprocess.Popen([*command, mark], stdin=subprocess.PIPE, text=True) for mark in "abc"]
    for node in nodes:
        assert node.stdin is not None
        node.stdin.write("\n")
        node.stdin.flush()
    assert [node.wait(timeout=60) for node in nodes] == [0, 0, 0]
    for node in nodes:
        node.stdin.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(map(str, range(100)))
    assert all(len(text) == 1000 and len(set(text)) == 1 for text in (p.read_text() for p in tmp_path.iterdir()))
