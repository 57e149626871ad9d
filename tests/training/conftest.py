"""What the tests of the training job share: one real Spark session, one MLflow database and one tracking server."""

import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pandas as pd
import pytest
from servers import held_port, server_running

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

from mlflow.entities.model_registry import ModelVersion
from pyspark.sql import SparkSession
from sources import bucket, database, postgres, s3_server, s3_writer, snapshots  # noqa: F401
from training.config import Config
from training.data import table as dataset
from training.data.files import find
from training.data.spark import session as spark_session
from training.data.table import Dataset
from training.fit import search
from versions import Model, clean_table

import mlflow
from mlflow import MlflowClient

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
def tracking_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the database of an MLflow that was not used yet."""
    folder = tmp_path_factory.mktemp("mlflow")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy is deprecated")  # MLflow's own
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
    return folder


@contextmanager
def pointed_at(uri: str) -> Iterator[str]:
    """Points MLflow's client and the code under test at this place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(uri)
        yield uri
        mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def tracking(tracking_folder: Path) -> Iterator[str]:
    """MLflow as its server has it, on a database, in this process: a call takes a quarter of the time."""
    with pytest.MonkeyPatch.context() as patch, pointed_at(f"sqlite:///{tracking_folder}/mlflow.db") as uri:
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(tracking_folder / "files"))  # as the server tells itself
        # A server sends the number of a version as text; the database has it as an integer.
        patch.setattr(ModelVersion, "version", property(lambda version: str(version._version)))
        yield uri


@pytest.fixture(scope="session")
def server_folder(tracking_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tracking server keeps its database and its files."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(tracking_folder / "mlflow.db", folder)
    return folder


@pytest.fixture(scope="session")
def server(server_folder: Path) -> Iterator[str]:
    folder = server_folder
    with held_port() as port:
        command = [sys.executable, ROOT / "mlflow" / "start.py", "--port", str(port), "--workers", "1"]
        command += ["--artifacts-destination", str(folder / "files")]
        variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        variables |= {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db"}
        uri = f"http://127.0.0.1:{port}"
        with server_running(command, folder, f"{uri}/health", variables):
            yield uri


@pytest.fixture(scope="module")
def tracking_server(server: str) -> Iterator[str]:
    """A tracking server as a process."""
    with pointed_at(server) as uri:
        yield uri


@pytest.fixture(scope="session", autouse=True)
def signing_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keys of the tests' own, away from the project's."""
    folder = tmp_path_factory.mktemp("signing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIGNING_KEY", str(folder / "private" / "key.pem"))
        patch.setenv("SIGNING_PUBLIC_KEYS", str(folder / "public"))
        yield folder


@pytest.fixture(scope="module")
def small_models() -> Iterator[None]:
    """The first trial of each candidate is the smallest model that the search may propose."""
    smallest = {"n_estimators": 100, "min_samples_leaf": 4, "n_estimators_xgboost": 100, "max_depth": 3}
    with pytest.MonkeyPatch.context() as patch:
        for point in search.STARTING_POINTS.values():
            for name in smallest.keys() & point.keys():
                patch.setitem(point, name, smallest[name])
        yield


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
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Model]:
    """A pipeline of the test's own, by the test's name, until it ends; on the MLflow that the module uses."""
    made = Model(tmp_path, re.sub("[^A-Za-z0-9]+", "-", request.node.name)[:80].strip("-"))
    yield made
    made.withdraw()
