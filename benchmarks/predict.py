"""This service beside `mlflow models serve`: the same forest, the same machine, one run.

    .venvs/training/bin/python benchmarks/predict.py [--seconds 10] [--connections 8]

A scikit-learn forest of 200 trees is logged to a tracking server of its own, once as scikit-learn model for
`mlflow models serve` and once as ONNX with its contract for the api. Each server gets one row per request from a closed
loop of keep-alive connections, sent by a separate process of raw sockets. Prints one table.
"""

import argparse
import hashlib
import json
import os
import platform
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestRegressor

import mlflow

ROOT = Path(__file__).resolve().parent.parent
TRAINING, API = ROOT / ".venvs/training/bin", ROOT / ".venvs/api/bin"
NAMES = [f"feature_{number}" for number in range(11)]
MODEL = "benchmark"


@dataclass(frozen=True)
class Load:
    """What one closed loop measured; times in milliseconds."""

    per_second: float
    median: float
    p99: float


@dataclass
class Connection:
    """One keep-alive connection with one request under way."""

    stream: socket.socket
    sent_at: float = 0.0
    received: bytes = b""

    def send(self, request: bytes) -> None:
        self.received = b""
        self.sent_at = time.perf_counter()
        self.stream.sendall(request)

    def is_answered(self) -> bool:
        """Reads what is there. True when the whole answer is; raises unless it is a 200."""
        self.received += self.stream.recv(65536)
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return False
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(self.received.decode(errors="replace")[:500])
        return len(body) >= length


def closed_loop(port: int, path: str, content: str, connections: int, seconds: float) -> Load:
    """Each connection sends its next request when the last one is answered, for so many seconds."""
    body = content.encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    request = head.encode() + b"\r\n\r\n" + body
    times: list[float] = []
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            stream = socket.create_connection(("127.0.0.1", port))
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(stream)
            selector.register(stream, selectors.EVENT_READ, connection)
            connection.send(request)
        started = now = time.perf_counter()
        while now - started < seconds:
            for key, _ in selector.select():
                if key.data.is_answered():
                    now = time.perf_counter()
                    times.append(now - key.data.sent_at)
                    key.data.send(request)
        for key in list(selector.get_map().values()):
            key.data.stream.close()
    times.sort()
    p99 = times[int(len(times) * 0.99)]
    return Load(len(times) / (now - started), statistics.median(times) * 1000, p99 * 1000)


def log_models(uri: str) -> tuple[str, dict[str, float]]:
    """Fits the forest, logs it both ways; gives the scikit-learn model's address and one row."""
    random = np.random.default_rng(7)
    rows = random.normal(size=(6497, len(NAMES))).astype(np.float32)
    target = rows[:, 0] * 2 + rows[:, 1] * rows[:, 2] + random.normal(size=len(rows))
    forest = RandomForestRegressor(n_estimators=200, random_state=7, n_jobs=-1).fit(rows, target)
    forest.n_jobs = 1  # one row: threads only cost

    whole = convert_sklearn(forest, "forest", [("joined", FloatTensorType([None, len(NAMES)]))], target_opset=17)
    graph = whole.graph
    del graph.input[:]
    graph.input.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in NAMES)
    graph.initializer.append(onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [len(NAMES), -1]))
    nodes = [
        onnx.helper.make_node("Concat", NAMES, ["stacked"], axis=0),
        onnx.helper.make_node("Reshape", ["stacked", "shape"], ["lines"]),
        onnx.helper.make_node("Transpose", ["lines"], ["joined"], perm=[1, 0]),
        *graph.node,
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    row = {name: float(value) for name, value in zip(NAMES, rows[0], strict=True)}
    contract = {
        "version": 1,
        "name": MODEL,
        "task": "regression",
        "target": "target",
        "features": [{"name": name, "input": name, "type": "number", "example": row[name]} for name in NAMES],
        "golden": {"rows": [row], "predictions": [float(forest.predict(rows[:1])[0])], "tolerance": 1e-4},
    }
    whole.metadata_props.add(key="contract", value=json.dumps(contract))

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(MODEL)
    with mlflow.start_run(), tempfile.TemporaryDirectory() as folder:
        needs = ["scikit-learn"]
        logged = mlflow.sklearn.log_model(
            forest, name="forest", pip_requirements=needs, input_example=rows[:1], serialization_format="cloudpickle"
        )
        kept = mlflow.onnx.log_model(whole, name="onnx", pip_requirements=["onnx"], save_as_external_data=False)
        files = Path(mlflow.artifacts.download_artifacts(kept.model_uri, dst_path=folder))
        digest = hashlib.sha256((files / "model.onnx").read_bytes()).hexdigest()
    version = mlflow.register_model(kept.model_uri, MODEL)
    client = mlflow.MlflowClient()
    client.set_model_version_tag(MODEL, version.version, "model_sha256", digest)
    client.set_registered_model_alias(MODEL, "production", version.version)
    return logged.model_uri, row


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(command: list[Any], address: str, folder: Path, **environment: str) -> Iterator[None]:
    """The command as a process, from when `address` answers 200 until the end of the block."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    path = f"{TRAINING}{os.pathsep}{os.environ['PATH']}"  # mlflow starts uvicorn by its bare name
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        env=os.environ | quiet | environment | {"PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not come up at {address}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    command, registry, peer, ours = TRAINING / "mlflow", free_port(), free_port(), free_port()
    uri = f"http://127.0.0.1:{registry}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pool = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))

        def measure(port: int, path: str, body: object) -> Load:
            pool.submit(closed_loop, port, path, json.dumps(body), options.connections, 2.0).result()  # warm up
            arguments = (port, path, json.dumps(body), options.connections, options.seconds)
            return pool.submit(closed_loop, *arguments).result()

        store = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "artifacts"]
        stack.enter_context(
            running([command, "server", "--port", registry, "--workers", 1, *store], f"{uri}/health", folder)
        )
        print("fitting and logging the forest", file=sys.stderr)
        model, row = log_models(uri)
        split = {"dataframe_split": {"columns": NAMES, "data": [list(row.values())]}}
        serve = [command, "models", "serve", "-m", model, "--port", peer, "--env-manager", "local"]
        with running(serve, f"http://127.0.0.1:{peer}/ping", folder, MLFLOW_TRACKING_URI=uri):
            theirs = measure(peer, "/invocations", split)
        names = {"MLFLOW_TRACKING_URI": uri, "MODEL_NAME": MODEL, "API_PORT": str(ours), "MODELS_DIR": str(folder)}
        api = [API / "python", "-m", "prediction_api"]
        with running(api, f"http://127.0.0.1:{ours}/readyz", folder, PYTHONPATH=str(ROOT / "api"), **names):
            mine = measure(ours, "/predict", row)

    print(f"\nOne row per request, {options.connections} connections, one process each, {options.seconds:g} s.")
    print(f"Machine: {processor()}, {os.cpu_count()} cores, Python {platform.python_version()}.\n")
    print("| server | requests/s | median ms | p99 ms | ratio |\n| --- | ---: | ---: | ---: | ---: |")
    for name, load in (("mlflow models serve", theirs), ("prediction_api", mine)):
        ratio = load.per_second / theirs.per_second
        print(f"| {name} | {load.per_second:,.0f} | {load.median:.2f} | {load.p99:.2f} | {ratio:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
