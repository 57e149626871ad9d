"""The tracking server's own start: an older database is migrated, a newer one is refused."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from alembic import command
from mlflow.store.db.utils import _get_latest_schema_revision, _verify_schema
from mlflow.store.tracking.dbmodels.initial_models import Base
from servers import program_at
from sqlalchemy import create_engine

START = Path(__file__).parents[2] / "mlflow" / "start.py"
OLDER = "cbc13b556ace"  # a schema of an earlier MLflow
# MLflow's own; raised when its tables are first looked at.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
NEWEST = _get_latest_schema_revision()


@pytest.fixture(scope="module")
def start() -> ModuleType:
    return program_at(START)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, start: ModuleType) -> Path:
    """A database of the older schema."""
    path = tmp_path_factory.mktemp("old") / "mlflow.db"
    engine, config = create_engine(f"sqlite:///{path}"), start._config()
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLDER)
    engine.dispose()
    return path


@pytest.fixture
def old(made: Path, tmp_path: Path) -> Iterator[Path]:
    """As a killed server left it: an experiment is in the write-ahead log alone."""
    path = tmp_path / "mlflow.db"
    copy = shutil.copy(made, tmp_path / "open.db")
    with closing(sqlite3.connect(copy)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (7, 'wine', 'active')")
        database.commit()
        for end in ("", "-wal"):
            shutil.copy(f"{copy}{end}", f"{path}{end}")
    return path


def version(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_an_older_database_is_migrated(old: Path, start: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    start.prepare(f"sqlite:///{old}")
    assert f"migrating the database from schema {OLDER} to {NEWEST}" in capsys.readouterr().err
    engine = create_engine(f"sqlite:///{old}")
    _verify_schema(engine)  # what the server asks before it starts
    engine.dispose()
    with closing(sqlite3.connect(old)) as database:
        assert ("wine",) in database.execute("SELECT name FROM experiments").fetchall()


def test_a_migration_that_is_killed_leaves_the_database_as_it_was(
    old: Path, start: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(url: str) -> None:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database, database:
            database.execute("DROP TABLE experiments")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(start, "_migrate", killed)
        with pytest.raises(KeyboardInterrupt):
            start.prepare(f"sqlite:///{old}")
    assert version(old) == OLDER
    start.prepare(f"sqlite:///{old}")
    assert version(old) == NEWEST
    assert [path.name for path in old.parent.glob("mlflow.db*")] == ["mlflow.db"]


def test_a_database_that_another_program_has_open_is_left_alone(old: Path, start: ModuleType) -> None:
    with closing(sqlite3.connect(old)) as other:
        other.execute("SELECT 1 FROM experiments")
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            start.prepare(f"sqlite:///{old}")
    assert version(old) == OLDER


def test_a_database_of_today_is_left_alone(old: Path, start: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    start.prepare(f"sqlite:///{old}")
    monkeypatch.setattr(start, "_migrate", lambda _url: pytest.fail("it was migrated again"))
    start.prepare(f"sqlite:///{old}")
    start.prepare(f"sqlite:///{old.with_name('new.db')}")
    assert not old.with_name("new.db").exists()  # the server makes it


def test_a_newer_database_is_refused_by_name(old: Path, start: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(old)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", f"sqlite:///{old}")
    with pytest.raises(SystemExit, match=f"{old} has schema ffffffffffff of a newer MLflow.* up to {NEWEST}: start"):
        start.main()


def test_half_a_restore_is_not_served(old: Path, start: ModuleType) -> None:
    (old.parent / start.MARK).touch()
    with pytest.raises(start.Refused, match="an interrupted restore is"):
        start.prepare(f"sqlite:///{old}")
