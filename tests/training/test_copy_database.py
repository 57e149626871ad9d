"""MLflow's database as `make move` copies it: a real one in SQLite, and a real PostgreSQL."""

import gzip
import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from mlflow.store.db.utils import _initialize_tables
from servers import postgres_running, program_at
from sqlalchemy import create_engine, text

from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
USED = ("runs", "registered_models")
# MLflow's own; raised when its tables are first looked at.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture(scope="module")
def program() -> ModuleType:
    return program_at(ROOT / "stack" / "state" / "copy_database.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL with MLflow's tables in the database template1, and so in each new one."""
    with postgres_running(tmp_path_factory.mktemp("postgres")) as address:
        url = address.replace("postgresql:", "postgresql+psycopg2:")
        engine = create_engine(url.format("template1"))
        _initialize_tables(engine)
        engine.dispose()
        yield url


@pytest.fixture
def target(server: str, request: pytest.FixtureRequest) -> str:
    name = request.node.name[5:50]
    engine = create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.format(name)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "mlflow.db"
    path.write_bytes(gzip.decompress((ROOT / "tests" / "fixtures" / "2026-11" / "mlflow.db.gz").read_bytes()))
    return path


@pytest.fixture
def compare(source: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    monkeypatch.setattr("sys.argv", ["", str(source)])
    monkeypatch.setenv("TARGET_URL", target)
    main: Callable[[], None] = program_at(ROOT / "stack" / "state" / "compare_mlflow.py").main
    return main


def test_clients_see_the_same_and_go_on(
    program: ModuleType, source: Path, target: str, compare: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    counts = program.copy(str(source), target, USED)
    compare()
    assert counts["runs"] >= 2
    assert f"{counts['runs']} runs, 1 models, 1 versions, 1 aliases" in capsys.readouterr().out
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
    client = MlflowClient(target)
    client.create_run(client.create_experiment("later"))  # its number is after those that were copied


def test_a_server_that_was_never_used_is_copied_too(program: ModuleType, tmp_path: Path, target: str) -> None:
    MlflowClient(f"sqlite:///{tmp_path}/unused.db").search_experiments()
    assert program.copy(f"{tmp_path}/unused.db", target, USED)["experiments"] == 1
    assert MlflowClient(target).create_experiment("first") == "1"


def test_what_clients_see_otherwise_is_named(
    program: ModuleType, source: Path, target: str, compare: Callable[[], None]
) -> None:
    program.copy(str(source), target, USED)
    client = MlflowClient(target)
    [model] = client.search_registered_models()
    client.set_model_version_tag(model.name, "1", "seen", "no")
    with pytest.raises(SystemExit, match=f"models are not the same in PostgreSQL: .*{model.name}"):
        compare()
    client.create_run("0")
    with pytest.raises(SystemExit, match="runs are not the same in PostgreSQL"):
        compare()


def test_what_was_copied_is_not_copied_again_and_other_rows_are_refused(
    program: ModuleType, source: Path, target: str
) -> None:
    program.copy(str(source), target, USED)
    assert program.copy(str(source), target, USED) == {}
    MlflowClient(target).create_run("0")
    with pytest.raises(program.Refused, match="PostgreSQL is not empty: it has rows in runs, registered_models"):
        program.copy(str(source), target, USED)


def test_a_copy_that_is_killed_leaves_the_target_empty(
    program: ModuleType, source: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(program, "_set_sequences", killed)
        with pytest.raises(KeyboardInterrupt):
            program.copy(str(source), target, USED)
    assert program.copy(str(source), target, USED)["runs"] >= 2


def test_another_schema_is_refused(program: ModuleType, source: Path, target: str) -> None:
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'older'")
    with pytest.raises(program.Refused, match=r"alembic_version is \['older'\] in the file but \['.*'\] in PostgreSQL"):
        program.copy(str(source), target, USED)
