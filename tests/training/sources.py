"""A PostgreSQL and an S3 store, real ones, from which tests read tables."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from servers import held_port, postgres_running, server_running

READER = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "reader-secret"}
WRITER = {"AWS_ACCESS_KEY_ID": "writer", "AWS_SECRET_ACCESS_KEY": "writer-secret"}


@dataclass(frozen=True)
class Database:
    """The database `shop`: the owner's connection, and the address at which the user `reader` asks with a password."""

    owner: "psycopg.Connection[Any]"
    server: str
    password: Path

    def table(self, name: str, columns: str, user: str = "reader") -> str:
        """Makes a table, lets the reader read it, and returns its address."""
        self.owner.execute(
            f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} {columns}; GRANT SELECT ON {name} TO reader"
        )
        return self.address(f"table=public.{name}", user)

    def address(self, what: str, user: str = "reader") -> str:
        return f"postgresql://{user}@/shop?host={self.server}&{what}"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("postgres")
    with postgres_running(folder) as server:
        with psycopg.connect(server.format("postgres"), autocommit=True) as owner:
            owner.execute("CREATE DATABASE shop")
            owner.execute("CREATE ROLE reader LOGIN PASSWORD 'a-good-password'")
            rules, socket = (
                owner.execute(f"SHOW {name}").fetchall()[0][0] for name in ("hba_file", "unix_socket_directories")
            )
            Path(rules).write_text("local all postgres trust\nlocal all all scram-sha-256\n")
            owner.execute("SELECT pg_reload_conf()")
        password = folder / "password"
        password.write_text("a-good-password\n")
        with psycopg.connect(server.format("shop"), autocommit=True) as owner:
            yield Database(owner, socket, password)


@pytest.fixture
def database(postgres: Database, snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("DATA_PASSWORD_FILE", str(postgres.password))
    return postgres


@pytest.fixture
def snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test's snapshots are."""
    monkeypatch.setenv("SNAPSHOTS_DIR", str(tmp_path / "snapshots"))
    return tmp_path / "snapshots"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a store with the bucket `tables`, which alone `reader` may read, and the bucket `others`."""
    folder = tmp_path_factory.mktemp("s3")
    rights = {"reader": ["Read:tables", "List:tables"], "writer": ["Admin", "Read", "Write", "List"]}
    known = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": f"{name}-secret"}], "actions": actions}
        for name, actions in rights.items()
    ]
    (folder / "users.json").write_text(json.dumps({"identities": known}))
    command = [Path(sys.executable).parent / "weed", "server", "-ip=127.0.0.1", f"-dir={folder}", "-volume.max=20"]
    command += ["-master.volumeSizeLimitMB=64", "-master.telemetry=false"]
    command += ["-s3", f"-s3.config={folder / 'users.json'}", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    with ExitStack() as stack:
        ports = {}
        for name in ("master", "volume", "filer", "s3"):
            ports[name] = stack.enter_context(held_port())
            command += [f"-{name}.port={ports[name]}", f"-{name}.port.grpc={stack.enter_context(held_port())}"]
        endpoint = f"http://127.0.0.1:{ports['s3']}"
        stack.enter_context(server_running(command, folder, f"{endpoint}/healthz", {}, patience=0))
        yield endpoint


@pytest.fixture(scope="session")
def s3_writer(s3_server: str) -> Any:
    """A client that may write."""
    keys = {name.lower(): value for name, value in WRITER.items()}
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1", **keys)
    for bucket in ("tables", "others"):
        client.create_bucket(Bucket=bucket)
    return client


@pytest.fixture
def bucket(s3_server: str, s3_writer: Any, snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client that writes; the environment is that of `reader`."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    nowhere = str(snapshots / "none")
    files = {"AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_CONFIG_FILE": nowhere, "AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in {"AWS_ENDPOINT_URL": s3_server, **files, **READER}.items():
        monkeypatch.setenv(name, value)
    return s3_writer
