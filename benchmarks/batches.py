"""Batches of the prediction service, and what other requests notice of them.

    .venvs/training/bin/python benchmarks/batches.py [--url URL] [--json-rows 10000] [--csv-rows 100000]

The service is started with the forest of benchmarks/predict.py (200 trees, the bundled wines), unless `--url` names one
that runs. Of the one that it starts, JSON and CSV hold the sample's rows, again and again; of another, the live model's
own example from its OpenAPI schema. While a batch is worked on, one connection asks `/predict` every 2 ms. Each batch
is sent three times: the median. Prints one table.
"""

import argparse
import csv
import http.client
import io
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from peers import model, servers
from peers.programs import VENVS, free_port, running

JSON, CSV = {"Content-Type": "application/json"}, {"Content-Type": "text/csv"}


def post(address: str, path: str, body: bytes, headers: dict[str, str]) -> float:
    """Seconds until the whole answer is there; raises RuntimeError unless it is a 200."""
    connection = http.client.HTTPConnection(address, timeout=300)
    started = time.perf_counter()
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path} answered {answer.status}: {content[:300].decode(errors='replace')}")
    return time.perf_counter() - started


def probe(address: str, row: bytes, until: threading.Event, times: list[float]) -> None:
    """Milliseconds of one `/predict` after another, 2 ms apart, on one connection."""
    connection = http.client.HTTPConnection(address, timeout=60)
    while not until.is_set():
        started = time.perf_counter()
        connection.request("POST", "/predict", row, JSON)
        connection.getresponse().read()
        times.append((time.perf_counter() - started) * 1000)
        time.sleep(0.002)
    connection.close()


Row = dict[str, object]


@contextmanager
def own_service() -> Iterator[tuple[str, list[Row]]]:
    """A service with the forest, in its own folder; gives its address and rows for it."""
    with tempfile.TemporaryDirectory() as name:
        forest, port = model.make(Path(name)), free_port()
        uri = f"http://127.0.0.1:{port}"
        store = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "artifacts"]
        registry = [VENVS / "training/bin/mlflow", "server", "--port", port, "--workers", 1, *store]
        with running(registry, f"{uri}/health", forest.folder, {}):
            model.register(forest, uri)
            started = servers.ours(uri).start(forest.folder)
            address = f"127.0.0.1:{started.port}"
            with running(started.command, f"http://{address}{started.ready}", forest.folder, started.variables):
                yield address, [model.named(row) for row in forest.rows]


@contextmanager
def other_service(url: str) -> Iterator[tuple[str, list[Row]]]:
    """One that runs; raises OSError where none answers."""
    address = urlsplit(url).netloc
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", "/openapi.json")
    schema = json.loads(connection.getresponse().read())
    connection.close()
    yield address, [schema["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="measure this service instead of starting one")
    parser.add_argument("--json-rows", type=int, default=10_000)
    parser.add_argument("--csv-rows", type=int, default=100_000)
    options = parser.parse_args()
    with other_service(options.url) if options.url else own_service() as (address, rows):
        table = io.StringIO()
        lines = [rows[index % len(rows)].values() for index in range(options.csv_rows)]
        csv.writer(table, lineterminator="\n").writerows([rows[0].keys(), *lines])
        listed = [rows[index % len(rows)] for index in range(options.json_rows)]
        batches = [
            ("nothing else", b"", JSON),
            (f"JSON, {options.json_rows:,} rows", json.dumps({"rows": listed}).encode(), JSON),
            (f"CSV, {options.csv_rows:,} rows", table.getvalue().encode(), CSV),
        ]
        print(
            f"{os.cpu_count()} cores, {'the service at ' + options.url if options.url else 'a forest of 200 trees'}\n"
        )
        print(
            "| meanwhile | seconds | /predict: median ms | p99 ms | largest ms |\n| --- | ---: | ---: | ---: | ---: |"
        )
        for name, body, headers in batches:
            print(measured(address, json.dumps(rows[0]).encode(), name, body, headers), flush=True)


def measured(address: str, row: bytes, name: str, body: bytes, headers: dict[str, str]) -> str:
    """A line of the table."""
    times: list[float] = []
    done = threading.Event()
    thread = threading.Thread(target=probe, args=(address, row, done, times))
    thread.start()
    try:
        if body:
            seconds = statistics.median(post(address, "/predict/batch", body, headers) for _ in range(3))
        else:
            time.sleep(seconds := 3.0)
    finally:
        done.set()
        thread.join()
    times.sort()
    figures = f"{statistics.median(times):.2f} | {times[int(len(times) * 0.99)]:.2f} | {times[-1]:.2f}"
    return f"| {name} | {seconds:.2f} | {figures} |"


if __name__ == "__main__":
    main()
