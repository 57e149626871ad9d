"""`make move` against a stand-in for `docker`; the copying itself is tested where MLflow is (tests/training)."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from stack.compose import Compose
from stack.errors import StepFailed
from stack.secret_files import MAKERS, OPTIONAL, fernet_key, problems
from stack.settings import ROOT
from stack.state import archive
from stack.state.move import DATABASES, move

KEY = fernet_key()


@pytest.fixture
def default(tmp_path: Path, engine: Callable[..., Compose]) -> Compose:
    """A default stack that is stopped: its volumes are below the test's folder."""
    for path, _ in archive._VERSIONS.values():
        (tmp_path / "home" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "home" / path).write_bytes((ROOT / path).read_bytes())
    compose = engine(tmp_path / "home")
    for path, _ in DATABASES.values():
        with closing(sqlite3.connect(tmp_path / "volumes" / path)) as database, database:
            database.execute("CREATE TABLE runs (id)")
    (tmp_path / "volumes/airflow/airflow.cfg").write_text(f"[core]\nfernet_key = {KEY}\n")
    return compose


def test_moves_in_this_order_with_airflows_own_key(default: Compose, tmp_path: Path) -> None:
    move(default)
    calls = (tmp_path / "calls").read_text().splitlines()
    begun = calls.index("build mlflow airflow rag")
    assert [re.sub(" -v .*(--entrypoint .*) -c .*", r" \1", call) for call in calls[begun:]] == [
        "build mlflow airflow rag",
        "up --detach --wait postgres mlflow airflow",
        "stop mlflow airflow redis",
        "run --entrypoint sh mlflow",
        "run --entrypoint sh airflow",
        "run --entrypoint sh mlflow",
        "run rag python -m rag_service move",
        "down",
    ]
    assert f"{default.root}/stack/state/copy_database.py:/copy/program.py:ro" in calls[begun + 3]
    assert "$(cat /run/secrets/postgres_mlflow_password)@postgres/mlflow" in calls[begun + 3]
    assert calls[begun + 3].endswith("/copy/source.db runs registered_models")
    assert f"{default.root}/stack/state/compare_mlflow.py:/copy/program.py:ro" in calls[begun + 5]
    secrets = default.root / "var" / "secrets"
    assert (secrets / "airflow_fernet_key").read_text().strip() == KEY
    assert {path.name for path in secrets.iterdir()} == {*MAKERS, *OPTIONAL}
    assert list(problems(secrets)) == []
    assert len(list((default.root / "var/backups").glob("backup-*.tar.gz"))) == 1
    assert list((default.root / "var/move").iterdir()) == []


def test_another_key_is_refused_before_anything_starts(default: Compose, tmp_path: Path) -> None:
    path = default.root / "var/secrets/airflow_fernet_key"
    path.parent.mkdir(parents=True)
    path.write_text(fernet_key())
    with pytest.raises(StepFailed, match="is not the default stack's key"):
        move(default)
    assert "up " not in (tmp_path / "calls").read_text()


def test_a_stack_that_never_ran_has_nothing_to_move(default: Compose, tmp_path: Path) -> None:
    (tmp_path / "volumes/airflow/airflow.db").unlink()
    with pytest.raises(StepFailed, match=r"the default stack has no state/airflow/airflow\.db"):
        move(default)


def test_what_a_killed_move_left_running_is_used(default: Compose, tmp_path: Path) -> None:
    move(running(default, "postgres redis mlflow airflow"))
    assert (tmp_path / "calls").read_text().endswith("\ndown\n")


@pytest.mark.parametrize(
    ("services", "named"),
    [("mlflow airflow api rag", "airflow, api, mlflow, rag"), ("postgres redis mlflow airflow proxy", "proxy")],
)
def test_a_stack_in_use_is_not_moved(default: Compose, services: str, named: str) -> None:
    with pytest.raises(StepFailed, match=f"still running: {named}$"):
        move(running(default, services))


def running(compose: Compose, services: str) -> Compose:
    return replace(compose, environment={**compose.environment, "RUNNING": services})
