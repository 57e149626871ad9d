"""Batches of a running prediction service, and what other requests notice of them.

    python benchmarks/batches.py [--url http://127.0.0.1:8000] [--json-rows 10000] [--csv-rows 100000]

The rows are the live model's own example from the service's OpenAPI schema, again and again. While each batch is
worked on, one connection asks `/predict` every 2 ms. Prints one table. Without a service at the address it says so and
measures nothing.
"""

import argparse
import csv
import http.client
import io
import json
import statistics
import sys
import threading
import time
from urllib.parse import urlsplit

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--json-rows", type=int, default=10_000)
    parser.add_argument("--csv-rows", type=int, default=100_000)
    options = parser.parse_args()
    address = urlsplit(options.url).netloc
    try:
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("GET", "/openapi.json")
        schema = json.loads(connection.getresponse().read())
    except OSError:
        print(f"No service answers at {options.url}: start one (make run), then measure again.", file=sys.stderr)
        return 0
    row = schema["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([row.keys(), *[row.values()] * options.csv_rows])
    batches = [
        ("nothing else", b"", JSON),
        (f"JSON, {options.json_rows:,} rows", json.dumps({"rows": [row] * options.json_rows}).encode(), JSON),
        (f"CSV, {options.csv_rows:,} rows", table.getvalue().encode(), CSV),
    ]
    print("| meanwhile | seconds | /predict: median ms | p99 ms | largest ms |\n| --- | ---: | ---: | ---: | ---: |")
    for name, body, headers in batches:
        times: list[float] = []
        done = threading.Event()
        thread = threading.Thread(target=probe, args=(address, json.dumps(row).encode(), done, times))
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
        print(f"| {name} | {seconds:.2f} | {figures} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
