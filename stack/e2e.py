"""`make e2e`: the Compose stack from nothing, driven over HTTP as a user would, restarted, run on a Spark cluster, and
taken down again.

It runs under a project name, ports and volumes of its own, so it never touches a stack that is in use.
"""

import json
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stack import readme
from stack.chapters import Story
from stack.compose import Compose, docker
from stack.containers import Containers, own_project
from stack.errors import StepFailed, guarded
from stack.http_client import content
from stack.ports import HOST, PORTS
from stack.report import Report
from stack.settings import Settings, read_settings

PROJECT = "pipeline-e2e"
BASE_IMAGE = "python:3.11-slim-bookworm"
SIZE_LIMITS = {"api": 400, "rag": 1500}  # megabytes beyond the base image
MEMORY_LIMIT = 3072  # megabytes, the whole stack at rest
TRIALS = 10
DOCUMENT = "The cellar book of Haldenberg says: racking takes place on the third Monday of February, never later.\n"
QUESTION = "When does racking take place at Haldenberg?"
SPARK = {
    "COMPOSE_PROFILES": "spark",
    "SPARK_MASTER": "spark://spark-master:7077",
    "MONITOR_SCHEDULE": "none",  # at the full hour it would wait for the cores, or hold them
}
SPARK_PIPELINE = """
name: {name}
data: {{source: /opt/pipeline/data/wine-sample.csv, target: quality}}
search: {{engine: spark, candidates: [xgboost], trials: 1, folds: 2}}
"""
SPARK_FILE = "/opt/airflow/spark.yaml"
WRITE_FILE = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
SHOW_CLUSTER = (
    "import urllib.request as r; print(r.urlopen('http://spark-master:8080/json/', timeout=10).read().decode())"
)


class EndToEnd(Story):
    """The chapters of containers."""

    stack: Containers

    @property
    def compose(self) -> Compose:
        return self.stack.compose

    def build(self) -> None:
        """All images, with their sizes beyond the base image."""
        with self.report.step("build"):
            self.compose.run("build", quiet=False)
        base = self.image_megabytes(BASE_IMAGE)
        too_large = []
        for line in sorted(self.compose.run("config", "--images").split()):
            beyond = self.image_megabytes(line) - base
            self.report.add(f"  {line}", 0, f"{beyond:.0f} MB beyond the base image")
            service = next((name for name in SIZE_LIMITS if f"-{name}" in line), None)
            if service and beyond > SIZE_LIMITS[service]:
                too_large.append(f"{line} takes {beyond:.0f} MB, {SIZE_LIMITS[service]} are allowed")
        if too_large:
            raise StepFailed("; ".join(too_large), "see what was added: docker history IMAGE")

    def image_megabytes(self, image: str) -> float:
        """The size of an image in millions of bytes, as `docker images` shows it."""
        size = docker(
            ["image", "inspect", "--format", "{{.Size}}", image], self.settings.root, self.settings.environment
        )
        return int(size) / 1e6

    def up(self, name: str) -> None:
        """Starts what is not running, and waits until all is healthy."""
        with self.report.step(name) as step:
            self.compose.run("up", "--detach", "--wait", "--no-build")
            step.result = f"healthy: {', '.join(sorted(self.compose.services()))}"

    def give_document(self) -> None:
        """Uploads one file that says what no other document does."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cellar-book.txt"
            path.write_text(DOCUMENT, encoding="utf-8")
            self.give_documents([path])

    def ask_it(self, name: str = "POST /ask") -> None:
        """Asks what that file says."""
        self.ask(name, QUESTION, "third Monday")

    def readme(self) -> None:
        """Every `curl` of the README, as it is written; each answer has the keys that the README shows."""
        for command, shown in readme.calls(self.settings.root / "README.md"):
            with self.report.step(f"README: {command.split()[2]}") as step:
                step.result = readme.run(command, shown, self.settings)

    def memory(self, limit: int = MEMORY_LIMIT) -> None:
        """What each service holds at rest. Raises StepFailed above `limit` megabytes for the whole."""
        used = self.compose.memory()
        for name, megabytes in sorted(used.items()):
            self.report.add(f"  memory, {name}", 0, f"{megabytes:.0f} MB")
        total = sum(used.values())
        self.report.add("memory at rest", 0, f"{total:.0f} MB")
        if total > limit:
            raise StepFailed(f"the stack holds {total:.0f} MB at rest, {limit} are allowed", "docker stats")

    def restart(self, run_id: str, model: dict[str, Any]) -> None:
        """Restarts every container; model, runs and documents must still be there."""
        runs, tasks = self.tracked_runs(model["name"]), self.airflow.tasks(run_id)
        with self.report.step("restart all"):
            self.compose.run("restart")
        self.up("healthy again")
        again = self.predict("model after restart")
        if again["version"] != model["version"]:
            raise StepFailed(f"version {again['version']} is served, before the restart it was {model['version']}", "")
        with self.report.step("runs after restart") as step:
            after = self.tracked_runs(model["name"]), self.airflow.tasks(run_id)
            if after != (runs, tasks):
                raise StepFailed(f"runs were lost: {runs}, {tasks} before, {after} after", "")
            step.result = f"{runs} in MLflow, {len(tasks)} tasks in Airflow"
        self.ask_it("document after restart")

    def tracked_runs(self, experiment: str) -> int:
        """How many runs MLflow holds for `experiment`."""
        with self.client("mlflow") as mlflow:
            found = mlflow.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": experiment})
            body = {"experiment_ids": [content(found)["experiment"]["experiment_id"]], "max_results": 1000}
            return len(content(mlflow.post("/api/2.0/mlflow/runs/search", json=body)).get("runs", []))

    def train_on_spark(self) -> None:
        """Adds a master and two workers, and runs `train_model` on them by the engine whose rows never leave them.

        Raises StepFailed when it does not succeed, and when it was not trained on both workers.
        """
        compose = replace(self.compose, environment={**self.compose.environment, **SPARK})
        with self.report.step("up with Spark") as step:
            compose.run("up", "--detach", "--wait", "--wait-timeout", "300", "--no-build")
            step.result = ", ".join(sorted(name for name in compose.services() if name.startswith("spark")))
        text = SPARK_PIPELINE.format(name=self.settings.model_name)
        compose.run("exec", "-T", "airflow", "python", "-c", WRITE_FILE, SPARK_FILE, text)
        self.train("train_model on Spark", {"config": SPARK_FILE})
        cluster = json.loads(compose.run("exec", "-T", "airflow", "python", "-c", SHOW_CLUSTER))
        trained = [app for app in cluster["completedapps"] if app["name"] == f"train {self.settings.model_name}"]
        if [(app["state"], app["cores"]) for app in trained] != [("FINISHED", 2)]:
            raise StepFailed(f"not trained on both workers: {cluster['completedapps']}", "see the log of train")


def free_ports() -> dict[str, int]:
    """A free port for each program; all are held until all are found, so that no two are the same."""
    probes = [socket.socket() for _ in PORTS]
    for probe in probes:
        probe.bind((HOST, 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return dict(zip(PORTS, ports, strict=True))


@contextmanager
def default_stack(settings: Settings, report: Report) -> Iterator[EndToEnd]:
    """A project of its own, from nothing."""
    with own_project(replace(settings, ports=free_ports()), PROJECT) as stack:
        yield EndToEnd(stack, report)


def main() -> int:
    """0 when every chapter ended well, otherwise 1."""

    def work() -> int:
        report = Report()
        with default_stack(read_settings(), report) as story:
            story.build()
            story.up("up --wait")
            story.memory()
            run_id = story.train("trigger to served", {"trials": TRIALS})
            model = story.predict()
            story.give_document()
            story.ask_it()
            story.readme()
            story.restart(run_id, model)
            story.train_on_spark()
        report.print_table("The Compose stack, end to end")
        return 0

    return guarded(work, "e2e")


if __name__ == "__main__":
    sys.exit(main())
