"""Time and memory of check, split and training as the rows grow, with both engines.

    .venvs/training/bin/python benchmarks/scale.py [--rows 6500 65000 650000 6500000] [--engines local spark]

The table is the sample, resampled with noise by Spark into Parquet files. `check` reads, checks, cleans and splits.
`train` does that again, then searches (1 trial: XGBoost with 100 trees, 2 folds), fits, calibrates, exports, measures
and registers. Each is a process of its own, as the DAG starts it. The local engine runs with local[2]; the Spark
engine on a standalone master and two workers of one core each on loopback, so that driver and executors are processes
of their own, each JVM with Spark's default heap of 1 GiB.

Memory is the proportional set size (PSS, /proc/*/smaps_rollup) of process trees, sampled twice a second: the peak of
the sum. CPU seconds are those of the same processes, as they were last seen. Driver: the script, its JVM and, with
local[2], Python's workers. Executors: their JVMs and Python's workers, both executors together. The tracking server,
the master and the workers' daemons are not counted.
"""

import argparse
import json
import os
import platform
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from overhead import ROOT, SAMPLE, tracking_server, wait_until_up
from peers.processes import Peak, children, tree, watch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

sys.path[:0] = [str(ROOT / "tests" / "training"), str(ROOT / "tests")]

from cluster import Cluster, started

ROWS = [6_500, 65_000, 650_000, 6_500_000]
TREES, FOLDS = 100, 2
ROWS_A_FILE = 500_000
REFUSED = 1  # exit code


def grow(rows: int, folder: Path) -> None:
    """Writes about `rows` rows as Parquet: the sample again and again, its numbers off by about 1 %."""
    spark = SparkSession.Builder().master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    sample = spark.read.csv(str(SAMPLE), header=True, inferSchema=True)
    times = max(1, round(rows / sample.count()))
    copies = spark.range(0, times, 1, max(1, rows // ROWS_A_FILE)).withColumnRenamed("id", "copy")
    measures = [name for name, kind in sample.dtypes if kind == "double"]
    noise = {name: F.round(F.col(f"`{name}`") * (1 + 0.01 * F.randn(seed)), 4) for seed, name in enumerate(measures)}
    copies.crossJoin(F.broadcast(sample)).withColumns(noise).drop("copy").write.parquet(str(folder))


@dataclass(frozen=True)
class Cell:
    """One step with one engine on one table; `note` says what came of it."""

    engine: str
    rows: int
    step: str
    seconds: float
    peak: Peak
    note: str
    done: bool

    def __str__(self) -> str:
        executors = f"{self.peak.executors:,.0f}" if self.peak.executors else ""
        figures = f"{self.seconds:.1f} | {self.peak.cpu:.1f} | {self.peak.driver:,.0f} | {executors} | {self.note}"
        return f"| {self.engine} | {self.rows:,} | {self.step} | {figures} |"


def measured(command: list[str], environment: dict[str, str], workers: list[int], limit: float) -> tuple[Any, ...]:
    """Exit code (None: not done within `limit` seconds), seconds, peak memory, what the command printed."""
    peak, ended = Peak(), threading.Event()
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    watcher = threading.Thread(target=watch, args=(process.pid, workers, peak, ended))
    watcher.start()
    try:
        said, code = process.communicate(timeout=limit)[0], process.returncode
    except subprocess.TimeoutExpired:
        for one in list(tree(process.pid, children())):
            os.kill(one, signal.SIGKILL)
        said, code = "", None
        process.wait()
    seconds = time.perf_counter() - start
    ended.set()
    watcher.join()
    return code, seconds, peak, said


def outcome(code: int | None, said: str) -> str:
    if code is None:
        return "NOT DONE within the time limit"
    result: dict[str, Any] = json.loads(said or "{}")
    if code == REFUSED:
        return f"refused: {result['detail'].split(': ', 1)[1]}"
    if code:
        return f"FAILED ({code}): {result.get('detail', '')}"
    return f"MAE {result['metrics']['mae']:.3f}" if "metrics" in result else f"{result['rows_used']:,} usable"


def configuration(engine: str, source: Path, folder: Path) -> Path:
    """The project's own configuration with this engine and table."""
    config = yaml.safe_load((ROOT / "pipeline.yaml").read_text(encoding="utf-8"))
    config["name"] = f"scale-{engine}-{source.name}"
    config["data"] |= {"source": f"{source}/*.parquet", "sample": None}
    config["search"] |= {"engine": engine, "candidates": ["xgboost"], "trials": 1, "folds": FOLDS, "timeout_s": 7200}
    path = folder / f"{config['name']}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def run_step(step: str, options: list[str]) -> None:
    """`pipeline.py check` or `train`; the search begins, and ends, with TREES trees."""
    sys.path.insert(0, str(ROOT / "scripts"))
    if step == "train":
        from training.fit import search  # noqa: PLC0415  # which takes seconds, and `check` does without

        search.STARTING_POINTS["xgboost"]["n_estimators_xgboost"] = TREES
    sys.argv = ["pipeline.py", step, *options]
    runpy.run_path(str(ROOT / "scripts" / "pipeline.py"), run_name="__main__")


def run(engine: str, tables: list[Path], folder: Path, environment: dict[str, str], limit: float) -> Iterator[Cell]:
    """Every step for every table, with one engine; no more steps for a table whose first one came to nothing."""
    with ExitStack() as stack:
        cluster: Cluster | None = None
        if engine == "spark":
            place = folder / "cluster"
            place.mkdir()
            cluster = stack.enter_context(started(place, "2g"))
            environment = environment | {"SPARK_MASTER": cluster.master, "SPARK_SECRET_FILE": str(cluster.secret)}
        workers = [worker.pid for worker in cluster.workers] if cluster else []
        for table in tables:
            options = ["--config", str(configuration(engine, table, folder))]
            for step in ("check", "train"):
                command = [sys.executable, __file__, "--step", step, *options]
                code, seconds, peak, said = measured(command, environment, workers, limit)
                yield Cell(engine, int(table.name), step, seconds, peak, outcome(code, said), code == 0)
                if code != 0:
                    break


def growth(cells: list[Cell]) -> Iterator[str]:
    """How much longer each step took for how many more rows."""
    for before in cells:
        later = [cell for cell in cells if (cell.engine, cell.step) == (before.engine, before.step)]
        after = next((cell for cell in later if cell.rows > before.rows), None)
        if before.done and after and after.done:
            rows, seconds = after.rows / before.rows, after.seconds / before.seconds
            times = f"{rows:.1f} times as many rows took {seconds:.1f} times as long"
            yield f"{before.engine}, {before.step}, from {before.rows:,}: {times}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--engines", nargs="+", choices=["local", "spark"], default=["local", "spark"])
    parser.add_argument(
        "--limit", type=float, default=900, metavar="SECONDS", help="for one step, default: %(default)s"
    )
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="keep the tables there, and take those it has")
    parser.add_argument("--grow", nargs=2, metavar=("ROWS", "FOLDER"), help="write a table and stop")
    parser.add_argument("--step", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        run_step(options.step[0], options.step[1:])
        return
    os.environ["JAVA_HOME"] = (ROOT / "var" / "java_home").read_text(encoding="utf-8").strip()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    if options.grow:
        grow(int(options.grow[0]), Path(options.grow[1]))
        return
    cells: list[Cell] = []
    with tempfile.TemporaryDirectory() as name, tracking_server(Path(name)) as address:
        folder = Path(name)
        tables = [(options.tables or folder) / str(count) for count in sorted(options.rows)]
        for table in tables:
            if not (table / "_SUCCESS").exists():
                print(f"growing {table}", file=sys.stderr, flush=True)
                subprocess.run([sys.executable, __file__, "--grow", table.name, str(table)], check=True)
        wait_until_up(address)
        environment = os.environ | {
            "MLFLOW_TRACKING_URI": address,
            "SPARK_MASTER": "local[2]",
            "SPARK_DRIVER_HOST": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(folder / "spark"),
        }
        for engine in options.engines:
            for cell in run(engine, tables, folder, environment, options.limit):
                cells.append(cell)
                print(cell, file=sys.stderr, flush=True)
    print(f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {TREES} trees, {FOLDS} folds\n")
    print("| engine | rows | step | seconds | CPU s | driver MB | executors MB | |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | --- |")
    print("\n".join(map(str, cells)), end="\n\n")
    print("\n".join(growth(cells)))


if __name__ == "__main__":
    main()
