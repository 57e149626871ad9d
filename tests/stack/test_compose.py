"""The calls to the container engine, against a stand-in for `docker` that answers as the real one does."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stack import compose, operate
from stack.compose import Compose
from stack.errors import EngineMissing, StepFailed
from stack.settings import read_settings

PS = '{"Service":"api","ID":"aaaaaaaaaaaa"}\n{"Service":"rag","ID":"bbbbbbbbbbbb"}'
STATS = '{"ID":"bbbbbbbbbbbb","MemUsage":"1.5GiB / 3GiB"}\n{"ID":"aaaaaaaaaaaa","MemUsage":"74MiB / 512MiB"}'
RUNS = "/api/v2/dags/train_model/dagRuns"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a `docker` on PATH; called with what it answers by the word that is in its arguments, gives its call log."""

    def install(answers: dict[str, str]) -> Path:
        calls = tmp_path / "docker-calls"
        cases = "\n".join(f"  *'{word}'*) cat <<'END'\n{text}\nEND\n;;" for word, text in answers.items())
        fake = tmp_path / "docker"
        fake.write_text(
            f'#!/bin/sh\necho "$@" >> {calls}\ncase "$*" in\n{cases}\n*) echo "no $1" >&2; exit 5;;\nesac\n'
        )
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return calls

    return install


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.yaml").write_text("name: wine-quality\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("a\n1\n")
    return tmp_path


def environment(root: Path, **variables: str) -> dict[str, str]:
    return {"PATH": f"{root}:/usr/bin:/bin"} | variables


@pytest.mark.parametrize(("text", "value"), [("1.5GiB", 1536), ("512MiB", 512), ("1024KiB ", 1), ("0B", 0)])
def test_reads_the_engines_units(text: str, value: float) -> None:
    assert compose.megabytes(text) == value


def test_no_engine_is_told_with_another_way(root: Path) -> None:
    with pytest.raises(EngineMissing, match="no command `docker`") as missing:
        compose.check_engine(root, {"PATH": "/nowhere"})
    assert "make demo" in missing.value.hint


def test_an_engine_that_does_not_answer_is_quoted(root: Path, docker) -> None:
    docker({})
    with pytest.raises(EngineMissing, match="no info"):
        compose.check_engine(root, environment(root))


def test_a_failed_command_shows_its_last_lines(root: Path, docker) -> None:
    docker({})
    with pytest.raises(StepFailed, match=r"docker compose --ansi never -p mine up ended with 5\nno compose"):
        Compose(root, environment(root), "mine").run("up")


def test_memory_is_given_by_service(root: Path, docker) -> None:
    docker({"never ps": PS, "stats": STATS})
    assert Compose(root, environment(root)).memory() == {"api": 74.0, "rag": 1536.0}


def test_a_command_that_hangs_is_ended(root: Path, tmp_path: Path) -> None:
    fake = tmp_path / "docker"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    path = str(tmp_path) + ":/usr/bin:/bin"
    with pytest.raises((StepFailed, EngineMissing), match="took longer than 0 s"):
        compose.docker(["info"], root, {"PATH": path}, seconds=0.2)


@pytest.fixture
def stack(root: Path, docker, json_server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, str]]]:
    """A running stack, as far as `make train` sees it: an engine, and Airflow whose run ends at once."""

    def install(**variables: str) -> list[tuple[str, str]]:
        asked: list[tuple[str, str]] = []
        tasks = [{"task_id": "check", "state": "success", "start_date": "2026-01-01T00:00:01Z", "duration": 6.5}]
        url = json_server(
            {
                "POST /auth/token": (201, {"access_token": "abc"}),
                f"POST {RUNS}": (200, {"dag_run_id": "one"}),
                f"GET {RUNS}/one": (200, {"state": "success"}),
                f"GET {RUNS}/one/taskInstances": (200, {"task_instances": tasks}),
            },
            asked,
        )
        docker({"info": "up", "cat pipeline.yaml": "name: wine-quality", "never exec": "the-password"})
        settings = read_settings(environment(root, AIRFLOW_PORT=url.rpartition(":")[2], **variables), root)
        monkeypatch.setattr("stack.operate.read_settings", lambda: settings)
        return asked

    return install


def test_trains_with_the_password_made_at_the_first_start(
    stack, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = stack(TRIALS="3", DATA=str(root / "data" / "mine.csv"))
    monkeypatch.setattr(sys, "argv", ["operate", "train"])
    assert operate.main() == 0
    assert '"password":"the-password"' in asked[0][1].replace(" ", "")
    assert '"conf":{"trials":3,"data":"data/mine.csv"}' in asked[1][1].replace(" ", "")
    assert "check      success       6.5 s" in capsys.readouterr().out


def test_a_table_that_the_container_cannot_see_is_refused(
    stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere.csv").write_text("a\n1\n")
    stack(DATA=str(tmp_path / "elsewhere.csv"))
    monkeypatch.setattr(sys, "argv", ["operate", "train"])
    assert operate.main() == 1
    assert "in the folder data/" in capsys.readouterr().err


def test_an_edited_pipeline_that_the_container_does_not_see_is_told(
    stack, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack()
    (root / "pipeline.yaml").write_text("name: wine-quality\nsearch: {trials: 3}\n")
    monkeypatch.setattr(sys, "argv", ["operate", "train"])
    assert operate.main() == 1
    assert "docker compose restart airflow" in capsys.readouterr().err


def test_prints_the_password(stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stack()
    monkeypatch.setattr(sys, "argv", ["operate", "password"])
    assert operate.main() == 0
    assert capsys.readouterr().out == "the-password\n"
