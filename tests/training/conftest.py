"""What the tests of the training job share: one real Spark session and one real tracking server for all of them."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pandas as pd
import pytest
from servers import held_port, server_running

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

from pyspark.sql import SparkSession
from sources import bucket, database, postgres, s3_server, s3_writer, snapshots  # noqa: F401
from training.config import Config
from training.data import table as dataset
from training.data.files import find
from training.data.spark import session as spark_session
from training.data.table import Dataset
from versions import Model, clean_table

# How long an example takes, or its making, is not tested.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = spark_session("tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def tracking_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tracking server keeps its database and its files."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def tracking(tracking_files: Path) -> Iterator[str]:
    """A tracking server as a process, on SQLite, which the code under test is pointed at."""
    folder = tracking_files
    with held_port() as port, pytest.MonkeyPatch.context() as patch:
        command = [sys.executable, ROOT / "mlflow" / "start.py", "--port", str(port), "--workers", "1"]
        command += ["--artifacts-destination", str(folder / "files")]
        variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        variables |= {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db"}
        uri = f"http://127.0.0.1:{port}"
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        with server_running(command, folder, f"{uri}/health", variables):
            yield uri


@pytest.fixture(scope="session", autouse=True)
def signing_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keys of the tests' own, away from the project's."""
    folder = tmp_path_factory.mktemp("signing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNING_KEY", str(folder / "private" / "key.pem"))
        patch.setenv("SIGNING_PUBLIC_KEYS", str(folder / "public"))
        yield folder


@pytest.fixture(autouse=True)
def _no_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of an Airflow around the tests."""
    for name in ("AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_DAG_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def table() -> pd.DataFrame:
    return clean_table()


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Config]:
    """A configuration for a table, given as a frame, as a file's text or by its path, with two quick trials."""

    def configure(table: pd.DataFrame | Path | str | bytes, target: str = "y", **sections: object) -> Config:
        path = table if isinstance(table, Path) else tmp_path / "table.csv"
        if isinstance(table, pd.DataFrame):
            table.to_csv(path, index=False)
        elif not isinstance(table, Path):
            path.write_bytes(table if isinstance(table, bytes) else table.encode())
        data = {"source": str(path), "target": target, **dict(sections.pop("data", {}))}  # type: ignore[call-overload]
        search = {"trials": 2, "folds": 2, **dict(sections.pop("search", {}))}  # type: ignore[call-overload]
        return Config.model_validate({"name": "test-model", "data": data, "search": search, **sections})

    return configure


@pytest.fixture
def load(spark: SparkSession, configured: Callable[..., Config]) -> Callable[..., Dataset]:
    """Loads such a table."""

    def loading(table: pd.DataFrame | Path | str | bytes, target: str = "y", **sections: object) -> Dataset:
        config = configured(table, target, **sections)
        return dataset.load(spark, find(config.data), config)

    return loading


@pytest.fixture
def model(tracking: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Model]:
    """A pipeline of the test's own, by the test's name, until it ends."""
    made = Model(tmp_path, re.sub("[^A-Za-z0-9]+", "-", request.node.name)[:80].strip("-"))
    yield made
    made.withdraw()
