"""The last chapter of `make e2e`: the same DAG on a Spark cluster, by the engine whose rows never leave it."""

import json
from dataclasses import replace

from stack.airflow_client import Airflow
from stack.compose import Compose
from stack.errors import StepFailed
from stack.settings import Settings
from stack.steps import Report

VARIABLES = {
    "COMPOSE_PROFILES": "spark",
    "SPARK_MASTER": "spark://spark-master:7077",
    "MONITOR_SCHEDULE": "none",  # at the full hour it would wait for the cores, or hold them
}
TRAIN_SECONDS = 900.0
PIPELINE = """
name: {name}
data: {{source: /opt/pipeline/data/wine-sample.csv, target: quality}}
search: {{engine: spark, candidates: [xgboost], trials: 1, folds: 2}}
"""
PIPELINE_FILE = "/opt/airflow/spark.yaml"
WRITE_FILE = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
SHOW_CLUSTER = (
    "import urllib.request as r; print(r.urlopen('http://spark-master:8080/json/', timeout=10).read().decode())"
)


def train_on_spark(settings: Settings, compose: Compose, report: Report) -> None:
    """Adds a master and two workers to the running stack, and runs `train_model` on them.

    Raises StepFailed when it does not succeed, and when it was not trained on both workers.
    """
    compose = replace(compose, environment={**compose.environment, **VARIABLES})
    with report.step("up with Spark") as step:
        compose.run("up", "--detach", "--wait", "--wait-timeout", "300", "--no-build")
        step.result = ", ".join(sorted(name for name in compose.services() if name.startswith("spark")))
    text = PIPELINE.format(name=settings.model_name)
    compose.run("exec", "-T", "airflow", "python", "-c", WRITE_FILE, PIPELINE_FILE, text)
    airflow = Airflow(settings.url("airflow"), compose.password())
    with report.step("train_model on Spark") as step:
        run_id = airflow.trigger({"config": PIPELINE_FILE})
        airflow.follow(run_id, TRAIN_SECONDS, lambda task: report.add(f"  {task.name}", task.seconds, task.state))
        cluster = json.loads(compose.run("exec", "-T", "airflow", "python", "-c", SHOW_CLUSTER))
        trained = [app for app in cluster["completedapps"] if app["name"] == f"train {settings.model_name}"]
        if [(app["state"], app["cores"]) for app in trained] != [("FINISHED", 2)]:
            raise StepFailed(f"not trained on both workers: {cluster['completedapps']}", "see the log of train")
        step.result = f"{trained[0]['cores']} cores of {cluster['aliveworkers']} workers"
