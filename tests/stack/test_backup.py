"""Backup and restore of what `make run` keeps, with databases that are written to meanwhile."""

import gzip
import io
import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from servers import postgres_running

from stack.compose import Compose
from stack.errors import StepFailed
from stack.settings import ROOT
from stack.state import archive, backup, folders
from stack.state.places import Containers, Processes

# Two rows in one transaction, and all of it in the write-ahead log alone.
WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("CREATE TABLE IF NOT EXISTS pairs (number INTEGER)")
while True:
    connection.execute("BEGIN")
    connection.execute("INSERT INTO pairs VALUES (1)")
    connection.execute("INSERT INTO pairs VALUES (2)")
    connection.execute("COMMIT")
    print("written", flush=True)
"""

RAG = """
import json, pathlib, sys
from rag_service.commands import client
from rag_service.settings import read_settings
with client(read_settings(), None) as service:
    for name in sys.argv[1:]:
        service.call("POST", "/documents", files={"files": (name, pathlib.Path(name).read_bytes())})
    print(json.dumps(service.call("POST", "/ask", json={"question": "What does a corked wine smell of?"})), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path, ports: dict[str, str]) -> Path:
    """A folder with the project's versions and settings, and something in each part."""
    home = tmp_path / "home"
    for path in ["pipeline.yaml", *(path for path, _ in archive._VERSIONS.values())]:
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, home / path)
    for path, text in {
        "mlruns/README.md": "ours",
        "mlruns/artifacts/1/model.onnx": "a model",
        "var/airflow/airflow.cfg": "[core]\nfernet_key = x",
        "var/airflow/logs/train.log": "trained",
        "var/rag/models/converted/weights.bin": "derived",
        "var/rag/index/1.faiss": "derived",
        "var/rag/questions.jsonl": "{}",
        "var/signing/private/key.pem": "private",
        "var/signing/public/a.pem": "public",
        "var/predictions/wine/predictions-2026-11-28-aa.jsonl": "{}\n",
    }.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    (home / "var/signing/private/key.pem").chmod(0o600)
    with closing(sqlite3.connect(home / "mlruns/mlflow.db")) as database, database:
        database.execute("CREATE TABLE runs (id)")
        database.execute("INSERT INTO runs VALUES ('a')")
    return home


@pytest.fixture
def compose(home: Path, ports: dict[str, str]) -> Compose:
    return Compose(home, {"PATH": "/nowhere", **ports})


@contextmanager
def writing(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes to a database without pause, once the first row is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def taken(compose: Compose, folder: Path) -> Path:
    return backup.backup(Processes(compose.root, compose.environment), compose.root, folder)


def emptied(home: Path) -> None:
    """As a new checkout is."""
    shutil.rmtree(home / "var")
    shutil.rmtree(home / "mlruns")


def files(home: Path) -> dict[str, bytes]:
    paths = [path for part in ("var", "mlruns") for path in (home / part).rglob("*")]
    return {str(path.relative_to(home)): path.read_bytes() for path in paths if path.is_file()}


def test_what_was_saved_comes_back(compose: Compose, home: Path, tmp_path: Path, capsys) -> None:
    before = files(home)
    file = taken(compose, tmp_path / "backups")
    assert file.stat().st_mode & 0o077 == 0
    assert files(home).keys() - before.keys() == {"var/predictions/last-backup"}  # which an alert watches
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    emptied(home)
    backup.restore(compose, file)
    after = files(home)
    assert after.pop("var/restored/pipeline.yaml") == (home / "pipeline.yaml").read_bytes()
    for derived in ("var/rag/models/converted/weights.bin", "var/rag/index/1.faiss", "mlruns/README.md"):
        del before[derived]
    with closing(sqlite3.connect(home / "mlruns/mlflow.db")) as database:
        assert database.execute("SELECT * FROM runs").fetchall() == [("a",)]
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {"mlruns/mlflow.db"}
    assert (home / "var/signing/private/key.pem").stat().st_mode & 0o777 == 0o600
    assert "state/mlflow/mlflow.db" in capsys.readouterr().out


def test_rows_that_only_the_write_ahead_log_has_are_saved_and_no_half_transaction(
    compose: Compose, home: Path, tmp_path: Path
) -> None:
    store = home / "var/rag/store.db"
    with writing(store) as process:
        assert process.stdout
        file = taken(compose, tmp_path / "backups")
        assert process.poll() is None
    plain = store.read_bytes()  # what a copy of the file would have been
    emptied(home)
    backup.restore(compose, file)
    assert b"pairs" not in plain
    assert not list(store.parent.glob("store.db-*"))
    with closing(sqlite3.connect(store)) as database:
        [(first, ones), (second, twos)] = database.execute("SELECT number, count(*) FROM pairs GROUP BY 1").fetchall()
    assert (first, second) == (1, 2)
    assert ones == twos > 0


def test_the_documents_are_answered_from_as_before(compose: Compose, home: Path, tmp_path: Path) -> None:
    @contextmanager
    def rag(*documents: str) -> Iterator[dict[str, object]]:
        """The real application with these documents, as long as the block lasts; what it answers."""
        folders = {"RAG_DATA_DIR": str(home / "var/rag"), "RAG_MODELS_DIR": str(tmp_path / "models")}
        with subprocess.Popen(
            [ROOT / ".venvs/rag/bin/python", "-c", RAG, *documents], cwd=ROOT / "rag", text=True,
            env={**os.environ, **folders}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdin
            assert process.stdout
            answer = json.loads(process.stdout.readline())
            yield {key: answer[key] for key in ("answer", "confidence", "citations")}
            process.stdin.close()

    shutil.rmtree(home / "var/rag")
    with rag("documents/faults.md", "documents/tasting.md") as before:
        file = taken(compose, tmp_path / "backups")
    emptied(home)
    backup.restore(compose, file)
    with rag() as after:
        assert after == before
    assert "wet cardboard" in str(before["answer"])


def test_a_restore_needs_an_empty_place_where_nothing_runs(
    compose: Compose, home: Path, tmp_path: Path, json_server
) -> None:
    file = taken(compose, tmp_path / "backups")
    before = files(home)
    with pytest.raises(StepFailed, match=f"not empty: {home}/var/airflow, {home}/mlruns, {home}/var/rag"):
        backup.restore(compose, file)
    running = Compose(home, {**compose.environment, "API_PORT": json_server({}).rpartition(":")[2]})
    emptied(home)
    with pytest.raises(StepFailed, match="still running: api"):
        backup.restore(running, file)
    assert not (home / "mlruns").exists()
    backup.restore(compose, file)
    assert files(home).keys() >= {name for name in before if "airflow" in name}


def test_a_restore_that_was_cut_short_is_seen_and_can_be_repeated(
    compose: Compose, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = taken(compose, tmp_path / "backups")
    emptied(home)
    real, calls = folders.put, []

    def killed(*arguments) -> None:
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(folders, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            backup.restore(compose, file)
    (home / "var/airflow/half").write_text("")
    assert (home / "mlruns" / folders.MARK).exists()
    with pytest.raises(StepFailed, match="an interrupted restore is"):
        taken(compose, tmp_path / "backups")
    backup.restore(compose, file)
    assert not (home / "var/airflow/half").exists()
    assert not list(home.rglob(folders.MARK))


def test_a_full_disk_and_a_kill_leave_no_file_that_looks_whole(compose: Compose, home: Path, tmp_path: Path) -> None:
    target = tmp_path / "backups"
    (home / "mlruns/artifacts/large.onnx").write_bytes(random.randbytes(200_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StepFailed, match=f"the backup failed at {target}: File too large"):
            taken(compose, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(target.iterdir()) == []
    (target / ".backup.part").mkdir()
    (target / ".backup.part" / "left by a kill").write_text("")
    file = taken(compose, target)
    assert list(target.iterdir()) == [file]


def test_one_backup_at_a_time_and_none_of_nothing(compose: Compose, home: Path, tmp_path: Path) -> None:
    with archive.workplace(tmp_path / "backups"), pytest.raises(StepFailed, match="another backup is being written"):
        taken(compose, tmp_path / "backups")
    shutil.rmtree(home / "var")
    with pytest.raises(StepFailed, match="no containers run") as refused:
        taken(compose, tmp_path / "backups")
    assert "STACK=containers" in refused.value.hint


def rewritten(file: Path, change) -> Path:
    """The backup with its manifest changed."""
    other = file.with_name("changed.tar.gz")
    with gzip.open(other, "wb") as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        for info, content in archive.members(file):
            data = content.read() if content else b""
            if info.name == archive.MANIFEST:
                manifest = json.loads(data)
                change(manifest)
                data = json.dumps(manifest).encode()
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if content else None)
    return other


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.update(format=2), "has format 2; this version of the project reads up to 1"),
        (lambda one: one["versions"].update(mlflow="99.1"), r"made with mlflow 99\.1; this version .* has \d"),
        (lambda one: one["versions"].update({"rag store": "99"}), "made with rag store 99"),
        (
            lambda one: one["members"].update({"state/mlflow/mlflow.db": [1, "00"]}),
            "mlflow.db does not match its manifest",
        ),
        (lambda one: one["members"].update({"state/gone": [1, "00"]}), "state/gone does not match its manifest"),
        (lambda one: one.pop("versions"), "not a complete backup"),
    ],
)
def test_a_newer_or_damaged_backup_is_refused_before_anything_is_written(
    change, said: str, compose: Compose, home: Path, tmp_path: Path
) -> None:
    file = rewritten(taken(compose, tmp_path / "backups"), change)
    emptied(home)
    with pytest.raises(StepFailed, match=said):
        backup.restore(compose, file)
    assert not (home / "var").exists()


def test_half_a_backup_is_refused(compose: Compose, home: Path, tmp_path: Path) -> None:
    file = taken(compose, tmp_path / "backups")
    file.write_bytes(file.read_bytes()[:-200])
    emptied(home)
    with pytest.raises(StepFailed, match="not a complete backup"):
        backup.restore(compose, file)


def test_a_damaged_database_is_named(compose: Compose, home: Path, tmp_path: Path) -> None:
    path = home / "mlruns/mlflow.db"
    path.write_bytes(path.read_bytes()[:5000] + b"x" * 4000)
    with pytest.raises(StepFailed, match=f"{path}: expected an intact SQLite database, found: "):
        taken(compose, tmp_path / "backups")
    assert list((tmp_path / "backups").iterdir()) == []


def test_the_tracking_server_knows_the_mark_of_a_restore() -> None:
    assert f'MARK = "{folders.MARK}"' in (ROOT / "mlflow" / "start.py").read_text()


def test_nothing_is_written_outside_the_folders(tmp_path: Path) -> None:
    for name in ("mlflow/../../x", "other/x", "/x"):
        with pytest.raises(folders.Unusable, match="expected a file of mlflow, found"):
            folders.put({"mlflow": tmp_path / "mlflow"}, tarfile.TarInfo(name), io.BytesIO())


def test_volumes_are_read_and_written_by_the_service_state(engine, home: Path, tmp_path: Path) -> None:
    compose = engine(home)
    model = tmp_path / "volumes/mlflow/artifacts" / ("a name with more than a hundred characters " * 4) / "model.onnx"
    model.parent.mkdir(parents=True)
    model.write_bytes(random.randbytes(300_000))
    kept = model.read_bytes()
    store = tmp_path / "volumes/rag/data/store.db"
    with writing(store):
        file = backup.backup(backup.place_of(compose), compose.root, tmp_path / "backups")
    with pytest.raises(StepFailed, match=r"not empty: .*volumes/mlflow, .*volumes/rag"):
        backup.restore(compose, file)
    shutil.rmtree(tmp_path / "volumes/mlflow")
    shutil.rmtree(tmp_path / "volumes/rag")
    (tmp_path / "volumes/mlflow").mkdir()
    (tmp_path / "volumes/rag").mkdir()
    backup.restore(compose, file)
    assert model.read_bytes() == kept
    with closing(sqlite3.connect(store)) as database:
        assert database.execute("SELECT count(*) FROM pairs").fetchone() > (0,)
    assert not list((tmp_path / "volumes").rglob(folders.MARK))


def test_volumes_without_the_end_of_the_backup_stay_marked(tmp_path: Path) -> None:
    whole, half = io.BytesIO(), io.BytesIO()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("kept")
    folders.save({"mlflow": tmp_path / "old"}, whole)
    whole.seek(0)
    with tarfile.open(fileobj=whole, mode="r|") as tar, tarfile.open(fileobj=half, mode="w|") as cut:
        for info in tar:
            if info.name != folders.DONE:
                cut.addfile(info, tar.extractfile(info))
    half.seek(0)
    new = {"mlflow": tmp_path / "new"}
    folders.begin(new)
    with pytest.raises(folders.Unusable, match="the end of the backup is missing"):
        folders.load(new, half)
    assert (tmp_path / "new" / folders.MARK).exists()
    whole.seek(0)
    folders.begin(new)
    folders.load(new, whole)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_the_databases_of_production_are_dumped_and_put_back(engine, home: Path, tmp_path: Path) -> None:
    secret = home / "var/secrets/airflow_fernet_key"
    secret.parent.mkdir()
    secret.write_text("of then\n")
    with postgres_running(tmp_path / "postgres") as url:
        compose = engine(home, url)
        place = Containers(compose)
        for name in ("airflow", "mlflow"):
            place._sql(f"CREATE DATABASE {name}")
            place._sql("CREATE TABLE runs (id text); INSERT INTO runs VALUES ('a')", name)
        file = backup.backup(place, home, tmp_path / "backups")
        with pytest.raises(StepFailed, match=r"not empty: .*the database airflow, the database mlflow") as refused:
            backup.restore(compose, file)
        assert "docker compose down --volumes" in refused.value.hint
        for name in ("airflow", "mlflow"):
            place._sql("DROP TABLE runs", name)
        secret.write_text("another\n")
        with pytest.raises(StepFailed, match="airflow_fernet_key differs from the one"):
            backup.restore(compose, file)
        secret.unlink()
        backup.restore(compose, file)
        assert place._sql("SELECT id FROM runs", "mlflow") == place._sql("SELECT id FROM runs", "airflow") == "a\n"
    assert secret.read_text() == "of then\n"
    order = [info.name for info, _ in archive.members(file)]
    assert order.index("postgresql/airflow") < order.index("postgresql/mlflow") < order.index("state/mlflow")
    assert (tmp_path / "calls").read_text().splitlines()[-3] == "stop postgres"


def test_a_backup_goes_back_to_where_it_was_taken(engine, compose: Compose, home: Path, tmp_path: Path) -> None:
    file = taken(compose, tmp_path / "backups")
    with pytest.raises(StepFailed, match="it is a backup of the profile production, but this is containers"):
        backup.restore(engine(home), rewritten(file, lambda one: one.update(profile="production")))


@pytest.mark.parametrize("blocks", range(20))
def test_a_stream_is_read_to_its_end_wherever_its_blocks_fall(tmp_path: Path, blocks: int) -> None:
    """A tar's end is two empty blocks, of which a reader needs one; the other may be the first of 20 that are written
    at once, to a pipe that must not be closed by then."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_bytes(b"x" * 512 * blocks)
    stream = io.BytesIO()
    folders.save({"mlflow": tmp_path / "old"}, stream)
    stream.seek(0)
    new = {"mlflow": tmp_path / "new"}
    folders.begin(new)
    folders.load(new, stream)
    assert stream.read() == b""
