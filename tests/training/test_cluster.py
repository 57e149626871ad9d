"""Training on a real standalone cluster when a worker is lost in the middle of it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from cluster import Cluster, started
from training.config import Config

Configured = Callable[..., Config]

# What the training job does, but a worker is killed while both of them work on trials, and waited for a second only.
TRAIN = """
import json, logging, os, signal, sys, threading, time
from pyspark import SparkContext
from training import train
from training.config import Config
from training.errors import PipelineError
from training.fit import cluster, local, search

logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
logging.getLogger("training").setLevel(logging.INFO)
config, worker = Config.model_validate_json(sys.argv[1]), int(sys.argv[2])
cluster.GRACE_SECONDS = 1.0


def kill_once_both_work():
    tracker, busy = SparkContext._active_spark_context.statusTracker(), 0
    while busy < 2:  # a stage that ended just now has no information any more
        tasks = [info.numActiveTasks for stage in tracker.getActiveStageIds() if (info := tracker.getStageInfo(stage))]
        busy = sum(tasks)
        time.sleep(0.01)
    os.killpg(worker, signal.SIGKILL)
    print("killed", file=sys.stderr)


def watched(function):
    calls = []

    def counted(*arguments, **options):
        calls.append(1)
        if len(calls) == 2 and worker:  # the first has prepared the rows, so that the stage at work is one that trains
            threading.Thread(target=kill_once_both_work, daemon=True).start()
        return function(*arguments, **options)

    return counted


cluster.SparkEngine._fit = watched(cluster.SparkEngine._fit)
local.LocalEngine.cross_validate = watched(local.LocalEngine.cross_validate)
try:
    print(json.dumps(train.train(config)))
except PipelineError as error:
    print(error.message, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def job(config: Config, cluster: Cluster, worker: int) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {
        "SPARK_MASTER": cluster.master,
        "SPARK_SECRET_FILE": str(cluster.secret),
        "SPARK_DRIVER_HOST": "127.0.0.1",
        "PYTHONPATH": str(Path(__file__).parents[2] / "scripts"),
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-c", TRAIN, config.model_dump_json(), str(worker)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.timeout(900)  # it starts three JVMs before the job, which starts five more
def test_a_worker_killed_during_trials_side_by_side_does_not_fail_them(
    tmp_path: Path, tracking: str, table: pd.DataFrame, configured: Configured
) -> None:
    config = configured(table, name="cluster-local", search={"candidates": ["extra_trees"], "trials": 4})
    with started(tmp_path) as cluster:
        done = job(config, cluster, cluster.workers[0].pid)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "killed" in done.stderr
    assert json.loads(done.stdout)["status"] == "trained"


@pytest.mark.timeout(900)
def test_a_worker_killed_during_a_trial_on_all_executors_is_an_accident_after_which_the_search_goes_on(
    tmp_path: Path, tracking: str, table: pd.DataFrame, configured: Configured
) -> None:
    config = configured(table, name="cluster-spark", search={"engine": "spark", "candidates": ["xgboost"]})
    with started(tmp_path) as cluster:
        killed = job(config, cluster, cluster.workers[0].pid)
        assert killed.returncode == 3, killed.stderr[-3000:]
        assert "one was lost during the training" in killed.stderr
        again = job(config, cluster, 0)
    assert again.returncode == 0, again.stderr[-3000:]
    assert json.loads(again.stdout)["status"] == "trained"
