"""Time and memory of check, split and training as the rows grow, with both engines.

    .venvs/training/bin/python benchmarks/scale.py [--rows 6500 65000 650000 6500000] [--engines local spark]

The table is the sample, resampled with noise by Spark into Parquet files of a temporary folder. `check` reads, checks,
cleans and splits. `train` does that again, then searches (2 trials of XGBoost, 3 folds), fits, exports and registers.
The local engine runs with local[2]; the Spark engine on a standalone master and two workers of one core each on
loopback, so that driver and executors are processes of their own.

Memory is the proportional set size (PSS, /proc/*/smaps_rollup) of process trees, sampled twice a second: the peak of
the sum. Driver: the script, its JVM and, with local[2], Python's workers. Executors: their JVMs and Python's workers,
both executors together.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from overhead import ROOT, SAMPLE, tracking_server, wait_until_up
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

sys.path.insert(0, str(ROOT / "tests" / "training"))

from cluster import Cluster, started

ROWS = [6_500, 65_000, 650_000]
TRIALS = 2
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


@dataclass
class Peak:
    """The largest memory seen so far, in megabytes."""

    driver: float = 0.0
    executors: float = 0.0


def children() -> dict[int, list[int]]:
    """The children of every process."""
    found: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        found.setdefault(int(fields[1]), []).append(int(status.parent.name))
    return found


def tree(root: int, known: dict[int, list[int]]) -> Iterator[int]:
    """`root` and all that descend from it."""
    yield root
    for child in known.get(root, []):
        yield from tree(child, known)


def memory(processes: Iterator[int]) -> float:
    """Proportional set size of these processes, in megabytes."""
    total = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def watch(driver: int, workers: list[int], peak: Peak, ended: threading.Event) -> None:
    while not ended.wait(0.5):
        known = children()
        peak.driver = max(peak.driver, memory(tree(driver, known)))
        executors = (child for worker in workers for child in known.get(worker, []))  # the daemon itself is not counted
        peak.executors = max(peak.executors, sum(memory(tree(child, known)) for child in executors))


def measured(command: list[str], environment: dict[str, str], workers: list[int]) -> tuple[int, float, Peak, str]:
    """Exit code, seconds, peak memory and what a command printed."""
    peak, ended = Peak(), threading.Event()
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    watcher = threading.Thread(target=watch, args=(process.pid, workers, peak, ended))
    watcher.start()
    said = process.communicate()[0]
    seconds = time.perf_counter() - start
    ended.set()
    watcher.join()
    return process.returncode, seconds, peak, said


def describe(engine: str, rows: int, step: str, found: tuple[int, float, Peak, str]) -> str:
    code, seconds, peak, said = found
    result: dict[str, Any] = json.loads(said or "{}")
    executors = f"{peak.executors:,.0f}" if peak.executors else ""
    if code == REFUSED:
        note = f"refused: {result['detail'].split(': ', 1)[1]}"
    elif code:
        note = f"FAILED ({code})"
    else:
        note = f"MAE {result['metrics']['mae']:.3f}" if "metrics" in result else ""
    return f"| {engine} | {rows:,} | {step} | {seconds:.1f} | {peak.driver:,.0f} | {executors} | {note} |"


def configuration(engine: str, source: Path, folder: Path) -> Path:
    """The project's own configuration with this engine and table."""
    config = yaml.safe_load((ROOT / "pipeline.yaml").read_text(encoding="utf-8"))
    config["name"] = f"scale-{engine}-{source.name}"
    config["data"] |= {"source": f"{source}/*.parquet", "sample": None}
    config["search"] |= {"engine": engine, "candidates": ["xgboost"], "trials": TRIALS, "timeout_s": 7200}
    path = folder / f"{config['name']}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def run(engine: str, rows: list[int], folder: Path, address: str, tell: Callable[[str], None]) -> None:
    """Every step for every number of rows, with one engine."""
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": address,
        "SPARK_MASTER": "local[2]",
        "SPARK_DRIVER_HOST": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "spark"),
    }
    with ExitStack() as stack:
        cluster: Cluster | None = None
        if engine == "spark":
            place = folder / "cluster"
            place.mkdir()
            cluster = stack.enter_context(started(place, "2g"))
            environment["SPARK_MASTER"] = cluster.master
            environment["SPARK_SECRET_FILE"] = str(cluster.secret)
        workers = [worker.pid for worker in cluster.workers] if cluster else []
        for count in rows:
            options = ["--config", str(configuration(engine, folder / str(count), folder))]
            for step in ("check_data", "train"):
                command = [sys.executable, f"scripts/{step}.py", *options]
                found = measured(command, environment, workers)
                tell(describe(engine, count, step.removesuffix("_data"), found))
                if found[0]:
                    break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--engines", nargs="+", choices=["local", "spark"], default=["local", "spark"])
    parser.add_argument("--grow", nargs=2, metavar=("ROWS", "FOLDER"), help="write a table and stop")
    options = parser.parse_args()
    os.environ["SPARK_CONF_DIR"] = str(ROOT / "scripts" / "conf")
    os.environ["JAVA_HOME"] = (ROOT / "var" / "java_home").read_text(encoding="utf-8").strip()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    if options.grow:
        grow(int(options.grow[0]), Path(options.grow[1]))
        return
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        print(line, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as name, tracking_server(Path(name)) as address:
        folder = Path(name)
        for count in options.rows:
            subprocess.run([sys.executable, __file__, "--grow", str(count), str(folder / str(count))], check=True)
        wait_until_up(address)
        for engine in options.engines:
            run(engine, options.rows, folder, address, tell)
    print(
        f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {TRIALS} trials of XGBoost, 3 folds\n"
    )
    print("| engine | rows | step | seconds | driver MB | executors MB | |")
    print("| --- | ---: | --- | ---: | ---: | ---: | --- |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
