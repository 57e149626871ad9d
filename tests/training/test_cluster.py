"""Training on a real standalone cluster when workers are lost in the middle of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import started
from training.config import Config
from training.data.spark import CLASS_ARCHIVE
from versions import clean_table

# What the training job does, for one configuration after the other; while a worker that is named beside it is killed
# when two of them work on trials, and waited for a second only.
TRAIN = """
import json, logging, os, signal, sys, threading, time
from pyspark import SparkContext
from training import train
from training.config import Config
from training.errors import PipelineError
from training.fit import cluster, local

logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
logging.getLogger("training").setLevel(logging.INFO)
cluster.GRACE_SECONDS = 1.0
calls, worker = 0, 0


def kill_once_two_work():
    tracker, busy = SparkContext._active_spark_context.statusTracker(), 0
    while busy < 2:  # a stage that ended just now has no information any more
        tasks = [info.numActiveTasks for stage in tracker.getActiveStageIds() if (info := tracker.getStageInfo(stage))]
        busy = sum(tasks)
        time.sleep(0.01)
    os.killpg(worker, signal.SIGKILL)
    print("killed", file=sys.stderr)


def watched(function, longer={}):
    def counted(engine, parameters, *others):
        global calls
        calls += 1
        if calls == 2 and worker:  # the first has prepared the rows, so that the stage at work is one that trains
            threading.Thread(target=kill_once_two_work, daemon=True).start()
            parameters = parameters | longer  # it is at work when the kill arrives, however quick the machine
        return function(engine, parameters, *others)

    return counted


def trained(config):
    try:
        return train.train(config)["status"]
    except PipelineError as error:
        return f"{error.exit_code}: {error.message}"


cluster.SparkEngine._fit = watched(cluster.SparkEngine._fit, {"n_estimators": 100_000})
local.LocalEngine.cross_validate = watched(local.LocalEngine.cross_validate)
outcomes = []
for config, worker in json.loads(sys.argv[1]):
    calls = 0
    outcomes.append(trained(Config.model_validate(config)))
print(json.dumps(outcomes))
"""
pytestmark = pytest.mark.timeout(900)  # four JVMs start before the job, which starts four more


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a training whose trials are side by side, which loses one of three workers; of one on all executors, which
    loses another; and of its repetition."""
    folder = tmp_path_factory.mktemp("cluster")
    clean_table().to_csv(folder / "table.csv", index=False)
    data = {"source": str(folder / "table.csv"), "target": "y"}
    side_by_side = {"trials": 4, "folds": 2, "candidates": ["extra_trees"]}
    on_all = {"trials": 1, "folds": 2, "candidates": ["xgboost"], "engine": "spark"}
    local, spark = (
        Config.model_validate({"name": name, "data": data, "search": search}).model_dump(mode="json")
        for name, search in (("side-by-side", side_by_side), ("on-all", on_all))
    )
    with pytest.MonkeyPatch.context() as patch:
        options = f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:SharedArchiveFile={CLASS_ARCHIVE} -Xlog:cds*=off"
        patch.setenv("JDK_JAVA_OPTIONS", options)  # so many of them start quicker
        with started(folder, workers=3) as cluster:
            environment = os.environ | {
                "SPARK_MASTER": cluster.master,
                "SPARK_SECRET_FILE": str(cluster.secret),
                "SPARK_DRIVER_HOST": "127.0.0.1",
                "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
                "PYTHONPATH": str(Path(__file__).parents[2] / "scripts"),
                "PYTHONUNBUFFERED": "1",
            }
            first, second, _ = (worker.pid for worker in cluster.workers)
            plan = [(local, first), (spark, second), (spark, 0)]
            command = [sys.executable, "-c", TRAIN, json.dumps(plan)]
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=800, check=False
            )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("killed\n") == 2, done.stderr[-3000:]
    return list(json.loads(done.stdout))


def test_a_worker_killed_during_trials_side_by_side_does_not_fail_them(outcomes: list[str]) -> None:
    assert outcomes[0] == "trained"


def test_a_worker_killed_during_a_trial_on_all_executors_is_an_accident_after_which_the_search_goes_on(
    outcomes: list[str],
) -> None:
    assert outcomes[1].startswith("3: ")
    assert "one was lost during the training" in outcomes[1]
    assert outcomes[2] == "trained"
