"""`make demo` and `make run` from their start to their end, with stand-ins for the programs that they start."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from stack.processes import answers
from stack.settings import ROOT

STAND_IN = Path(__file__).with_name("stand_in.py")
DRIVER = (
    "import sys; sys.path.insert(0, {root!r}); from pathlib import Path; import stack.{name} as driver; "
    "from stack.settings import read_settings; driver.read_settings = lambda: read_settings(root=Path({home!r})); "
    "sys.exit(driver.main())"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("training", "api", "rag", "airflow"):
        python = tmp_path / ".venvs" / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
        python.chmod(0o755)
    (tmp_path / "pipeline.yaml").write_text("name: wine-quality\n")
    (tmp_path / "rag" / "documents").mkdir(parents=True)
    (tmp_path / "rag" / "documents" / "volatile-acidity.md").write_text("It tastes of vinegar.\n")
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "java_home").write_text("/opt/java\n")
    return tmp_path


@pytest.fixture
def drive(home: Path, ports: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(name: str, terminal: int | None = None, **variables: str) -> subprocess.Popen[str]:
        code = DRIVER.format(root=str(ROOT), name=name, home=str(home))
        counting = {name: value for name, value in os.environ.items() if name.startswith("COV")}
        environment = {"PATH": os.environ["PATH"], "COLUMNS": "160"} | counting | ports | variables
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", code],
            cwd=home, env=environment, text=True,
            stdin=terminal, stdout=terminal or subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:  # where a test failed, it runs still
        process.terminate()
        process.communicate()


def still_running(home: Path) -> list[int]:
    """The stand-ins that are alive, of all that have started."""
    pids = [int(path.read_text()) for path in home.glob("pid-*")]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_the_demo_does_every_step_and_leaves_nothing_running(drive, home: Path) -> None:
    process = drive("demo")
    said, errors = process.communicate(timeout=200)
    assert (process.returncode, errors) == (0, "")
    for expected in ("  check", "wine-quality version 1", "5.4", "1 indexed", "of vinegar [volatile-acidity.md]"):
        assert expected in said
    assert len(list(home.glob("pid-*"))) == 3
    assert still_running(home) == []


def test_in_a_terminal_the_demo_stays_until_it_is_interrupted(drive, home: Path) -> None:
    outside, terminal = pty.openpty()
    process = drive("demo", terminal)
    os.close(terminal)
    said = ""
    with os.fdopen(outside) as screen:
        while "Ctrl-C" not in said:
            said += screen.readline()
        assert said.count("wine-quality version 1") == 1
        address = re.search(r"overview +(\S+)", said)[1]
        assert httpx.get(f"{address}/livez", trust_env=False).status_code == 200
        assert len(still_running(home)) == 4
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=200) == 0
        assert still_running(home) == []


def test_a_demo_whose_training_fails_says_so_and_leaves_nothing_running(drive, home: Path) -> None:
    process = drive("demo", STAND_IN_DAG="1")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "train_model ended with code 1" in errors
    assert "var/log/train_model.log" in errors
    assert still_running(home) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_stack_runs_until_it_is_told_to_end(drive, home: Path, number: signal.Signals) -> None:
    process = drive("run")
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(5)]
    assert [line.split()[0] for line in said[:4]] == ["Airflow", "MLflow", "overview", "documents"]
    assert httpx.get(f"{said[0].split()[1]}/api/v2/version", trust_env=False).status_code == 200
    assert len(still_running(home)) == 4
    process.send_signal(number)
    process.communicate(timeout=200)
    assert process.returncode == 0
    assert still_running(home) == []


def test_a_program_that_ends_is_started_again(drive, home: Path) -> None:
    process = drive("run")
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(5)]
    before = still_running(home)
    os.kill(before[0], signal.SIGKILL)
    again = process.stdout.readline()
    assert "ended with code -9 and was started again" in again
    assert f"{home}/var/log/{again.split()[0]}.log" in again
    address = said[2].split()[1]
    deadline = time.monotonic() + 60
    while len(still_running(home)) < 4 or not answers(f"{address}/livez"):
        assert time.monotonic() < deadline, "it was not started again"
        time.sleep(0.02)
    process.terminate()
    process.communicate(timeout=200)
    assert process.returncode == 0
    assert still_running(home) == []


def test_a_program_that_ends_again_and_again_ends_the_stack(drive, home: Path, ports: dict[str, str]) -> None:
    process = drive("run")
    assert process.stdout is not None
    process.stdout.readline()
    python = home / ".venvs" / "api" / "bin" / "python"
    python.unlink()
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    os.kill(int((home / f"pid-{ports['API_PORT']}").read_text()), signal.SIGKILL)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "api ended 6 times within 5 minutes, now with code 3" in errors
    assert still_running(home) == []
