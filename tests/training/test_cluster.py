"""Training on a real standalone cluster goes on when a worker is lost in the middle of it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from cluster import started
from training.config import Config

Configured = Callable[..., Config]

# What scripts/train.py does, but a worker is killed while both of them work on trials, and waited for a second only.
TRAIN = """
import json, logging, os, signal, sys, threading, time
from pyspark import SparkContext
from training import executors, local_engine, steps
from training.config import Config

logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
logging.getLogger("training").setLevel(logging.INFO)
config, worker = Config.model_validate_json(sys.argv[1]), int(sys.argv[2])
executors.GRACE_SECONDS = 1.0


def kill_once_both_work():
    tracker, busy = SparkContext._active_spark_context.statusTracker(), 0
    while busy < 2:  # a stage that ended just now has no information any more
        stages = map(tracker.getStageInfo, tracker.getActiveStageIds())
        busy = max((stage.numActiveTasks for stage in stages if stage), default=0)
        time.sleep(0.01)
    os.killpg(worker, signal.SIGKILL)
    print("killed", file=sys.stderr)


def watched(function, call):
    calls = []

    def counted(*arguments):
        calls.append(1)
        if len(calls) == call:
            threading.Thread(target=kill_once_both_work, daemon=True).start()
        return function(*arguments)

    return counted


# The second fit: the rows lie ready, so that the stage at work is the one that trains.
executors.surviving = watched(executors.surviving, 2)
local_engine.LocalEngine.search = watched(local_engine.LocalEngine.search, 1)
print(json.dumps(steps.train(config)))
"""


@pytest.mark.timeout(900)  # it starts three JVMs before the job, which starts five more
@pytest.mark.parametrize(
    "search",
    [{"engine": "spark", "candidates": ["xgboost"]}, {"engine": "local", "candidates": ["extra_trees"], "trials": 4}],
    ids=["spark", "local"],
)
def test_a_worker_killed_during_training_does_not_fail_it(
    tmp_path: Path, tracking: str, table: pd.DataFrame, configured: Configured, search: dict[str, object]
) -> None:
    config = configured(table, name=f"cluster-{search['engine']}", search=search)
    with started(tmp_path) as cluster:
        environment = os.environ | {
            "SPARK_MASTER": cluster.master,
            "SPARK_SECRET_FILE": str(cluster.secret),
            "SPARK_DRIVER_HOST": "127.0.0.1",
            "PYTHONPATH": str(Path(__file__).parents[2] / "scripts"),
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "-c", TRAIN, config.model_dump_json(), str(cluster.workers[0].pid)]
        job = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert job.returncode == 0, job.stderr[-3000:]
    assert "killed" in job.stderr
    assert json.loads(job.stdout)["status"] == "trained"
    assert ("1 of 2 slots are left: fitting again" in job.stderr) == (search["engine"] == "spark")
