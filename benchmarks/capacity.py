"""Unit costs, measured as CPU time, and what they come to at 100,000 predictions and 1,000 questions a second, 100
million passages and 10 billion training rows.

    .venvs/training/bin/python benchmarks/capacity.py [--only api rag training] [--seconds 5] [--rows 65000 650000]
    .venvs/training/bin/python benchmarks/capacity.py --markdown

The first measures and keeps the figures in var/capacity.json, each part on its own. The second measures nothing: it
writes the tables into docs/capacity.md. `api` also compares the simulated queue with measured open loops of Poisson
arrivals.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import load as replicas
import numpy as np
import overload
import scale
from overhead import tracking_server, wait_until_up
from peers import growth, load, model
from peers.load import Target
from peers.processes import cpu_seconds, memory
from peers.programs import ROOT, VENVS
from peers.proxy import proxy
from peers.queueing import highest_utilization, poisson, simulate
from predict import processor

KEPT = ROOT / "var" / "capacity.json"
PAGE = ROOT / "docs" / "capacity.md"
MOST_SMALL = 128  # prediction_api/http/admission.py
MOST_WAITING = 16  # RAG_MAX_WAITING
BATCH = 1000
LOADS = (0.5, 0.8, 1.3)  # of the peak
TOGETHER = (1, 2, 4, 8, 16, 32, 64)  # requests under way
API_LIMIT, RAG_LIMIT = 0.05, 3.0  # seconds, for 99 % of the answers
Figures = dict[str, Any]


def api(folder: Path, options: argparse.Namespace) -> Figures:
    settings = argparse.Namespace(connections=16, api_rate=100.0)
    pool = ProcessPoolExecutor(1, get_context("spawn"))
    with pool, replicas.prediction(folder, settings) as service, httpx.Client(timeout=120, trust_env=False) as http:
        replica = service.replicas[0]
        process, address = replica.process.pid, f"http://127.0.0.1:{replica.started.port}"
        target = Target(replica.started.port, service.path, service.bodies)
        with proxy(folder / "proxy", {"api": [target.port], "rag": [1]}) as front:
            direct = replicas.measure(service, 1, None, pool, options.seconds)
            behind = replicas.measure(service, 1, front, pool, options.seconds)
        found: Figures = {"prediction": direct.cpu["service"], "proxy": behind.cpu["proxy"]}
        rows = [json.loads(body) for body in service.bodies] * (BATCH // len(service.bodies))
        found["in_batch"] = batch_cost(http, f"{address}/predict/batch", rows, process, options.seconds)
        found["queue"] = queue(target, process, pool, options.seconds)
        files = list((folder / replicas.servers.LOG).rglob("predictions-*.jsonl"))
        lines = sum(file.read_bytes().count(b"\n") for file in files)
        found["log_bytes"] = sum(file.stat().st_size for file in files) / lines
        found["bytes"] = {"1": memory([process]) * 2**20}
        forest = model.Forest(folder, None, None)
        for name in ("second", "third"):
            model.register(forest, str(replica.started.variables["MLFLOW_TRACKING_URI"]), name)
            wait_ready(http, f"{address}/models/{name}/readyz")
        found["bytes"]["3"] = memory([process]) * 2**20
    return found


def wait_ready(http: httpx.Client, url: str) -> None:
    """Returns once it answers 200. Raises RuntimeError after two minutes."""
    deadline = time.monotonic() + 120
    while not (answer := http.get(url)).is_success:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{url}: {answer.text[:300]}")
        time.sleep(0.2)


def batch_cost(http: httpx.Client, url: str, rows: list[Figures], process: int, seconds: float) -> float:
    """CPU seconds for each row."""
    done, before, started = 0, cpu_seconds(process), time.perf_counter()
    while time.perf_counter() - started < seconds:
        http.post(url, json={"rows": rows}).raise_for_status()
        done += len(rows)
    return (cpu_seconds(process) - before) / done


def queue(target: Target, process: int, pool: ProcessPoolExecutor, seconds: float) -> Figures:
    """What the simulation predicts for each of LOADS, and what was measured; milliseconds and shares.

    The simulation knows how long requests take one after the other, and the CPU seconds of a request by how many are
    under way, from closed loops of TOGETHER connections. Service and generator have a core each, where the system
    can do that: as neighbours on one core each would be the other's queue."""
    with on_cores({process: 0, pool.submit(os.getpid).result(): 1}):
        costs = [cost_together(target, process, pool, count, seconds) for count in TOGETHER]
        alone = np.array(pool.submit(load.times_alone, target, 2000).result())
        peak = pool.submit(load.closed_loop, target, 32, seconds).result().per_second
        services = alone / alone.mean() / peak
        passing = max(0.0, alone.mean() - costs[0])  # what a request takes of others than the replica
        together = cost_by_count(costs)
        compared = []
        for share in LOADS:
            random = np.random.default_rng(round(100 * share))
            arrivals = poisson(share * peak, int(share * peak * seconds), random)
            predicted = simulate(arrivals, random.choice(services, len(arrivals)), most=MOST_SMALL, together=together)
            measured = pool.submit(overload.drive, target, 500, seconds, arrivals.tolist(), 0.0).result()
            sent = measured.good + measured.refused
            one = {"load": share, "predicted_p99": 1000 * float(np.percentile(predicted.times, 99) + passing)}
            one |= {"measured_p99": measured.good_p99, "predicted_refused": predicted.refused}
            compared.append(one | {"measured_refused": measured.refused / sent, "generator": measured.busy})
    draw = drawn_from(services)
    limit = highest_utilization(draw, 1, MOST_SMALL, API_LIMIT - passing, together=together)
    return {"peak": peak, "cost_together": costs, "compared": compared, "utilization": limit}


def cost_together(target: Target, process: int, pool: ProcessPoolExecutor, connections: int, seconds: float) -> float:
    """CPU seconds of the service for a request while so many are under way."""
    before = cpu_seconds(process)
    found = pool.submit(load.closed_loop, target, connections, seconds).result()
    return (cpu_seconds(process) - before) / (found.per_second * seconds)


def cost_by_count(costs: list[float]) -> Callable[[int], float]:
    """How many times as long as at best a request takes, by how many are answered together."""
    known = np.interp(np.arange(MOST_SMALL + 1), TOGETHER, np.array(costs) / min(costs)).tolist()
    return lambda there: float(known[min(there, MOST_SMALL)])


@contextmanager
def on_cores(places: dict[int, int]) -> Iterator[None]:
    """Each process, with its threads, on the core of that number for as long as the block runs; nothing on a machine of
    one core or without `sched_setaffinity` (macOS)."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        yield
        return
    tasks = {
        int(task.name): core for process, core in places.items() for task in Path(f"/proc/{process}/task").iterdir()
    }
    before = {task: os.sched_getaffinity(task) for task in tasks}
    try:
        for task, core in tasks.items():
            os.sched_setaffinity(task, {core})
        yield
    finally:
        for task, cores in before.items():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(task, cores)


def drawn_from(services: Any) -> Callable[[int], Any]:
    return lambda count: np.random.default_rng(1).choice(services, count)


def rag(_: Path, __: argparse.Namespace) -> Figures:
    command = [VENVS / "rag" / "bin" / "python", "benchmarks/unit_costs.py"]
    environment = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run(command, cwd=ROOT / "rag", env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: Figures = json.loads(done.stdout)
    services = np.array(found.pop("generated_seconds"))
    found["utilization"] = highest_utilization(drawn_from(services), 2, MOST_WAITING, RAG_LIMIT)
    return found


def training(folder: Path, options: argparse.Namespace) -> Figures:
    """CPU seconds of `check` and `train` with the Spark engine, at two sizes, and the line through them."""
    os.environ["JAVA_HOME"] = (ROOT / "var" / "java_home").read_text(encoding="utf-8").strip()
    os.environ["PYSPARK_PYTHON"] = sys.executable  # of the cluster's processes, too
    environment = os.environ | {"SPARK_DRIVER_HOST": "127.0.0.1", "SPARK_LOCAL_DIRS": str(folder / "spark")}
    tables = [folder / str(rows) for rows in options.rows]
    for table in tables:
        grow = [sys.executable, scale.__file__, "--grow", table.name, str(table)]
        subprocess.run(grow, env=environment, check=True)
    with tracking_server(folder) as address:
        wait_until_up(address)
        cells = list(scale.run("spark", tables, folder, environment | {"MLFLOW_TRACKING_URI": address}, 900))
    if not all(cell.done for cell in cells):
        raise RuntimeError("; ".join(str(cell) for cell in cells if not cell.done))
    small, large = (sum(cell.peak.cpu for cell in cells if cell.rows == rows) for rows in options.rows)
    row = (large - small) / (options.rows[1] - options.rows[0])
    return {"rows": options.rows, "cpu": [small, large], "row": row, "fixed": small - row * options.rows[0]}


PARTS = {"api": api, "rag": rag, "training": training}


def unit_costs(kept: Figures) -> growth.UnitCosts:
    one, answers, rows = kept["api"], kept["rag"], kept["training"]
    seconds, index = answers["seconds"], answers["lists_index"]
    model_bytes = (one["bytes"]["3"] - one["bytes"]["1"]) / 2
    return growth.UnitCosts(
        one["prediction"], one["in_batch"], one["proxy"], one["log_bytes"], one["bytes"]["1"] - model_bytes,
        model_bytes, one["queue"]["utilization"], seconds["question_quoted"], seconds["question_generated"],
        answers["utilization"], 2, sum(value for name, value in seconds.items() if name.startswith("passage")),
        index["bytes"], answers["store_bytes"], index["search"], index["at"], rows["row"], rows["fixed"],
    )  # fmt: skip


def tables(kept: Figures) -> str:
    costs, one, answers = unit_costs(kept), kept["api"], kept["rag"]
    seconds, exact, lists = answers["seconds"], answers["exact_index"], answers["lists_index"]
    dimension, rows = answers["dimension"], kept["training"]
    compare = [
        f"| {found['load']:.0%} | {found['predicted_p99']:.1f} | {found['measured_p99']:.1f} |"
        f" {found['predicted_refused']:.1%} | {found['measured_refused']:.1%} |"
        for found in one["queue"]["compared"]
    ]
    lines = [
        f"Measured {kept['when']} on {kept['machine']}.",
        "",
        "| unit | CPU | memory or disk |",
        "| --- | ---: | ---: |",
        f"| a prediction, one a request | {1e6 * costs.prediction:,.0f} µs | log: {costs.log_bytes:,.0f} B |",
        f"| a prediction in a batch of {BATCH:,} rows of JSON | {1e6 * costs.prediction_in_batch:,.0f} µs | |",
        f"| a request through the proxy, TLS included | {1e6 * costs.proxy:,.0f} µs | |",
        f"| an `api` process without models | | {costs.service_bytes / 1e6:,.0f} MB |",
        f"| a model in it, a forest of 200 trees | | {costs.model_bytes / 1e6:,.1f} MB |",
        *(
            f"| {name.replace('_', ' ', 1).replace('_', ' ')} | {1000 * value:,.2f} ms | |"
            for name, value in seconds.items()
        ),
        f"| a passage in the store (SQLite) | | {costs.store_bytes:,.0f} bytes |",
        f"| a passage in the exact index, {dimension} numbers as half floats | | {exact['bytes']:,.0f} bytes |",
        f"| a search there, {exact['at']:,} passages | {1000 * exact['search']:.2f} ms | |",
        f"| a passage in the index of lists, {dimension} numbers as bytes | | {lists['bytes']:,.0f} bytes |",
        f"| a search there, {lists['at']:,} passages | {1000 * lists['search']:.2f} ms | |",
        f"| a training row; a training of no rows | {1e6 * costs.row:,.0f} µs; {rows['fixed']:,.0f} s | |",
        "",
        f"The simulated queue keeps 99 % of the predictions within {1000 * API_LIMIT:.0f} ms up to a utilization of"
        f" {costs.prediction_utilization:.0%}, and 99 % of the",
        f"generated answers within {RAG_LIMIT:.0f} s up to {costs.question_utilization:.0%} of two cores; the table"
        f" calculates with at most {growth.MOST_UTILIZATION:.0%}.",
        "",
        growth.table(costs),
        "",
        f"One replica without a proxy, Poisson arrivals, shares of its peak of {one['queue']['peak']:,.0f} requests/s:",
        "",
        "| load | p99 ms, simulated | measured | refused, simulated | measured |",
        "| ---: | ---: | ---: | ---: | ---: |",
        *compare,
    ]
    return "\n".join(lines)


def write(kept: Figures) -> None:
    """Raises SystemExit where a part is missing, or the machine was too busy for the queue."""
    if missing := set(PARTS) - set(kept):
        raise SystemExit(f"{KEPT} lacks {', '.join(sorted(missing))}: measure with --only")
    if not (kept["api"]["queue"]["utilization"] and kept["rag"]["utilization"]):
        raise SystemExit("even an idle replica missed its p99: other work keeps this machine busy; measure again")
    text = PAGE.read_text(encoding="utf-8")
    mark = "<!-- capacity.py -->"
    before, _, after = text.split(mark)
    PAGE.write_text(f"{before}{mark}\n{tables(kept)}\n{mark}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=5.0, help="of each loop")
    parser.add_argument("--rows", type=int, nargs=2, default=[65_000, 650_000], help="of the two tables")
    parser.add_argument("--markdown", action="store_true", help="write docs/capacity.md from what was measured")
    options = parser.parse_args()
    kept: Figures = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    if options.markdown:
        write(kept)
        return
    for name in options.only:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            kept[name] = PARTS[name](Path(folder), options)
        kept |= {"when": f"{datetime.now(UTC):%Y-%m-%d}", "machine": f"{os.cpu_count()} cores of {processor()}"}
        kept["machine"] += f", Python {platform.python_version()}"
        KEPT.write_text(json.dumps(kept, indent=2), encoding="utf-8")
    print(json.dumps(kept, indent=2))


if __name__ == "__main__":
    main()
