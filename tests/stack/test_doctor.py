"""`make doctor`: what is wrong is said with its remedy, and no secret is."""

import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copytree

import pytest

from stack import doctor
from stack.ports import PORTS
from stack.setup import ROOT

SECRET = "a-key-that-nobody-may-see-0123456789"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project in which nothing was started yet, with what says the versions of its formats."""
    for name in ("airflow/requirements.lock", "mlflow/requirements.lock", "docker-compose.production.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    copytree(ROOT / "rag/rag_service/store", tmp_path / "rag/rag_service/store")
    (tmp_path / "var").mkdir()
    return tmp_path


def told(root: Path, capsys: pytest.CaptureFixture[str], **settings: str) -> tuple[int, list[str]]:
    status = doctor.main(root, {"PATH": "/nowhere", "RAG_OFFLINE": "true", **settings})  # no docker
    return status, capsys.readouterr().out.splitlines()


def line(lines: list[str], word: str) -> str:
    [found] = [one for one in lines if word in one]
    return found


def test_a_fresh_clone_is_good_and_says_what_comes_next(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = told(root, capsys)
    assert status == 0
    assert "make setup" in line(lines, "environment api")
    assert line(lines, "no command `docker`").startswith("note")
    assert line(lines, "rag store").endswith("2")


def test_an_environment_of_a_lock_file_that_is_gone_is_to_be_made_again(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / ".venvs" / "api").mkdir(parents=True)
    (root / ".venvs" / "api" / ".installed").write_text("api/old.lock abc\n")
    assert line(told(root, capsys)[1], "environment api").endswith("-> make setup")


def test_keys_that_others_can_read_are_bad_and_never_printed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "var/airflow").mkdir()
    passwords = root / "var/airflow/passwords.json"
    passwords.write_text(f'{{"admin": "{SECRET}"}}')
    passwords.chmod(0o644)
    (root / ".env").write_text(f"RAG_LLM_KEY={SECRET}\n")
    status, lines = told(root, capsys, API_KEY=SECRET)
    assert status == 1
    assert line(lines, "passwords.json").endswith("-> chmod 600 var/airflow/passwords.json")
    assert SECRET not in "\n".join(lines)
    passwords.chmod(0o600)
    assert told(root, capsys)[0] == 0


def test_what_answers_at_a_port_is_named(root: Path, capsys: pytest.CaptureFixture[str], json_server) -> None:
    address = json_server({"GET /readyz": (503, {"detail": "no model is served yet"})})
    port = address.rpartition(":")[2]
    lines = told(root, capsys, API_PORT=port)[1]
    assert "api answers 503" in line(lines, f"port {port}")
    assert "no model is served yet" in line(lines, f"port {port}")
    assert f"port {PORTS['airflow']} " in "\n".join(lines)


def test_a_damaged_database_is_bad(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "mlruns").mkdir()
    path = root / "mlruns/mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('a1')"
        )
    assert line(told(root, capsys)[1], "mlflow.db").endswith("has schema a1")
    path.write_bytes(b"not a database at all" * 50)
    status, lines = told(root, capsys)
    assert status == 1
    assert "make restore" in line(lines, "mlflow.db")
