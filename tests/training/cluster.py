"""A real standalone cluster on loopback: a master and workers of one core each, started as their containers do."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark
from servers import held_port

HOME = Path(pyspark.__file__).parent
START_SECONDS = 120.0


@dataclass(frozen=True)
class Cluster:
    """`master` is what SPARK_MASTER takes, `secret` SPARK_SECRET_FILE; `workers` lead process groups of their own,
    executors included."""

    master: str
    secret: Path
    workers: list["subprocess.Popen[bytes]"]


@contextmanager
def started(folder: Path, memory: str = "1g", workers: int = 2) -> Iterator[Cluster]:
    """Starts the processes, waits until all workers are known to the master, and stops them at the end."""
    secret = folder / "spark.conf"
    start = [sys.executable, str(Path(__file__).parents[2] / "airflow" / "spark_node.py")]
    processes: list[subprocess.Popen[bytes]] = []

    def run(name: str, *arguments: str) -> None:
        environment = os.environ | {"SPARK_HOME": str(HOME), "SPARK_LOCAL_IP": "127.0.0.1"}
        environment["SPARK_SECRET_FILE"] = str(secret)
        with (folder / f"{name}.log").open("wb") as log:
            command = [*start, *arguments]
            processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))

    with held_port() as port, held_port() as page:
        master = f"spark://127.0.0.1:{port}"
        try:
            address = ["--host", "127.0.0.1", "--webui-port", str(page)]
            run("master", "master", *address, "--port", str(port))
            for index in range(workers):
                options = ["--host", "127.0.0.1", "--webui-port", "0", "-c", "1", "-m", memory]
                options += ["-d", str(folder / f"worker-{index}")]
                run(f"worker-{index}", "worker", *options, master)
            _wait_for_workers(f"http://127.0.0.1:{page}/json/", workers)
            yield Cluster(master, secret, processes[1:])
        finally:
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def _wait_for_workers(page: str, count: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(page, timeout=2) as answer:
                if json.load(answer)["aliveworkers"] == count:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{page}: no {count} workers after {START_SECONDS:.0f} s")
