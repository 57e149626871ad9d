"""Two pipelines at once, on one Celery worker and on two: the running production stack.

    .venvs/dev/bin/python -m stack.workers [--trials 5]

The stack is up (`make up PROFILE=production`), and idle. Its workers are replaced by ones that do one task at a time
with one core for Spark, so that a second worker is a second core; at the end they are as before. Each pair of pipelines
is new to the stack, a copy of pipeline.yaml under other names, because what was trained is not trained again. Prints
the seconds from triggering both to the end of the later one.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import yaml

from stack.airflow_client import Airflow
from stack.clients import sign_in
from stack.compose import Compose
from stack.containers import running
from stack.errors import guarded
from stack.settings import ROOT, read_settings
from stack.train import print_task

PRODUCTION = "docker-compose.yml:docker-compose.production.yml"
ONE_TASK = {"AIRFLOW_WORKER_TASKS": "1", "SPARK_MASTER": "local[1]"}
SEEN_SECONDS = 600.0  # until Airflow has parsed a new pipeline's DAGs
RUN_SECONDS = 3600.0


@contextmanager
def pipelines(names: Sequence[str]) -> Iterator[None]:
    """Files in pipelines/ for as long as the block runs, over the table that every image has."""
    config = yaml.safe_load((ROOT / "pipeline.yaml").read_text(encoding="utf-8"))
    config["data"]["source"] = "../data/wine-sample.csv"
    files = [ROOT / "pipelines" / f"{name}.yaml" for name in names]
    try:
        for name, file in zip(names, files, strict=True):
            file.write_text(yaml.safe_dump(config | {"name": name}, sort_keys=False), encoding="utf-8")
        yield
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def trained(airflow: Airflow, names: Sequence[str], trials: int) -> float:
    """Seconds in which all were trained, triggered together. Raises StepFailed."""
    runs = {f"train_{name}": airflow.trigger({"trials": trials}, f"train_{name}", SEEN_SECONDS) for name in names}
    for dag, run_id in runs.items():
        airflow.follow(run_id, RUN_SECONDS, print_task, dag)
    return max(airflow.waited(run_id, dag) for dag, run_id in runs.items())


def start_workers(compose: Compose, count: int | None) -> None:
    scale = [] if count is None else ["--scale", f"airflow-worker={count}"]
    compose.run("up", "--detach", "--wait", "--no-deps", *scale, "airflow-worker")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5)
    options = parser.parse_args()
    return guarded(lambda: measure(options.trials), "workers", "interrupted", 130)


def measure(trials: int) -> int:
    """Prints the table; 0."""
    settings = read_settings()
    usual = {"COMPOSE_FILE": PRODUCTION, **os.environ}
    before, alone = Compose(ROOT, usual), Compose(ROOT, usual | ONE_TASK)
    if not (running(before) and before.has_proxy()):
        print("not measured: the production stack does not run; start it with `make up PROFILE=production`")
        return 0
    seconds: dict[int, float] = {}
    try:
        for count in (1, 2):
            start_workers(alone, count)
            names = [f"workers-{int(time.time())}-{count}-{which}" for which in "ab"]
            with pipelines(names):
                seconds[count] = trained(sign_in(settings, before), names, trials)
    finally:
        start_workers(before, None)
    print("\n| Celery workers | two pipelines, s | ratio |\n| ---: | ---: | ---: |")
    for count, took in seconds.items():
        print(f"| {count} | {took:.0f} | {took / seconds[1]:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
