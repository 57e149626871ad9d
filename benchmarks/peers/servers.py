"""Each server as its own documentation has it, set up for one row per request: one worker process, no access log.

The prediction service writes its prediction log and counts its metrics, as it does in production.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastapi
import sklearn
import uvicorn

import mlflow
from peers import model
from peers.model import signing
from peers.programs import ROOT, VENVS, environment, free_port, running

APPS = Path(__file__).parent / "apps"
LOG = "log"
SCIKIT_LEARN = f"scikit-learn=={sklearn.__version__}"
FASTAPI = [f"fastapi=={fastapi.__version__}", f"uvicorn[standard]=={uvicorn.__version__}", SCIKIT_LEARN]


@dataclass(frozen=True)
class Started:
    """How to start a server, where it says that it is ready, and the variables that it wants."""

    command: Sequence[object]
    port: int
    ready: str
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """`start` takes the folder with the forest; `body` gives a request for a row, `prediction` the number in an answer.

    `prediction` is None for the echo.
    """

    name: str
    how: str
    path: str
    start: Callable[[Path], Started]
    body: Callable[[Any], Any]
    prediction: Callable[[Any], float] | None


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """A tracking server on SQLite in `folder`; gives its address."""
    port = free_port()
    store = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "artifacts"]
    command = [VENVS / "training/bin/mlflow", "server", "--port", port, "--workers", 1, *store]
    uri = f"http://127.0.0.1:{port}"
    with running(command, f"{uri}/health", folder, {}):
        yield uri


def ours(uri: str) -> Server:
    """The prediction service on a registry, with its prediction log in LOG."""

    def start(folder: Path) -> Started:
        port = free_port()
        variables = {"MLFLOW_TRACKING_URI": uri, "DEFAULT_MODEL": model.NAME, "API_PORT": str(port)}
        variables |= {
            "MODELS_DIR": str(folder / "models"),
            "PREDICTION_LOG_DIR": str(folder / LOG),
            "SIGNING_PUBLIC_KEYS": str(signing.public_folder()),
            "PYTHONPATH": str(ROOT / "api"),
            "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # as in its image
        }
        return Started([VENVS / "api/bin/python", "-m", "prediction_api"], port, "/readyz", variables)

    how = "ONNX Runtime and compiled forest; prediction log and metrics on"
    return Server("this prediction service", how, "/predict", start, model.named, lambda answer: answer["prediction"])


def echo() -> Server:
    def start(_: Path) -> Started:
        return _uvicorn("echo", environment("fastapi", FASTAPI))

    return Server(f"FastAPI {fastapi.__version__}, echo only", "the limit", "/echo", start, model.named, None)


def plain() -> Server:
    def start(_: Path) -> Started:
        return _uvicorn("plain", environment("fastapi", FASTAPI))

    name, how = f"plain FastAPI {fastapi.__version__}", f"{SCIKIT_LEARN}, typed body"
    return Server(name, how, "/predict", start, model.named, lambda answer: answer["prediction"])


def _uvicorn(app: str, programs: Path) -> Started:
    port = free_port()
    quiet = ["--no-access-log", "--log-level", "warning"]
    command = [programs / "uvicorn", f"{app}:app", "--app-dir", APPS, "--host", "127.0.0.1", "--port", port, *quiet]
    return Started(command, port, "/ready")


def mlflow_serve() -> Server:
    def start(folder: Path) -> Started:
        port = free_port()
        programs = environment("mlflow", [f"mlflow=={mlflow.__version__}", SCIKIT_LEARN])
        serve = [programs / "mlflow", "models", "serve", "--model-uri", folder / "mlflow", "--env-manager", "local"]
        return Started([*serve, "--host", "127.0.0.1", "--port", port, "--workers", 1], port, "/ping")

    def body(row: Any) -> Any:
        return {"dataframe_split": {"columns": model.NAMES, "data": [model.short(row)]}}

    name = f"mlflow models serve {mlflow.__version__}"
    return Server(name, SCIKIT_LEARN, "/invocations", start, body, lambda answer: answer["predictions"][0])


def mlserver() -> Server:
    """In its own process: the pool of workers, for models that share the GIL, costs a single small model a quarter."""

    def start(folder: Path) -> Started:
        port = free_port()
        needs = ["mlserver==1.7.1", "mlserver-sklearn==1.7.1", SCIKIT_LEARN]
        ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
        settings = {"host": "127.0.0.1", "debug": False, "parallel_workers": 0, "gzip_enabled": False, **ports}
        forest = {
            "name": model.NAME,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": "forest.joblib", "version": "1"},
        }
        for name, content in (("settings.json", settings), ("model-settings.json", forest)):
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
        ready = f"/v2/models/{model.NAME}/ready"
        return Started([environment("mlserver", needs) / "mlserver", "start", folder], port, ready)

    def body(row: Any) -> Any:
        tensor = {"name": "rows", "shape": [1, len(model.NAMES)], "datatype": "FP32", "data": model.short(row)}
        return {"inputs": [tensor]}

    def prediction(answer: Any) -> float:
        return float(answer["outputs"][0]["data"][0])

    how = f"{SCIKIT_LEARN}, no pool of workers"
    return Server("MLServer 1.7.1", how, f"/v2/models/{model.NAME}/infer", start, body, prediction)


def bentoml(kind: str) -> Server:
    """`kind`: sklearn or onnx."""

    def start(folder: Path) -> Started:
        port = free_port()
        programs = environment("bentoml", ["bentoml==1.4.40", SCIKIT_LEARN, "onnxruntime==1.32.0"])
        serve = [programs / "bentoml", "serve", "bento:Forest", "--working-dir", APPS]
        command = [*serve, "--host", "127.0.0.1", "--port", port]
        return Started(command, port, "/readyz", {"FOREST": kind, "FOREST_FOLDER": str(folder)})

    def body(row: Any) -> Any:
        return {"rows": [model.short(row)]}

    how = SCIKIT_LEARN if kind == "sklearn" else "onnxruntime==1.32.0"
    return Server("BentoML 1.4.40", how, "/predict", start, body, lambda answer: answer[0])
