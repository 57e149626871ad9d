"""`make e2e`: the Compose stack from nothing, driven over HTTP as a user would, restarted, run on a Spark cluster, and
taken down again.

It runs under a project name, ports and volumes of its own, so it never touches a stack that is in use.
"""

import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx

from stack import clients, readme, steps
from stack.clients import sign_in
from stack.compose import Compose, check_engine, docker
from stack.errors import StackError, StepFailed
from stack.ports import HOST, PORTS
from stack.settings import Settings, read_settings
from stack.spark import train_on_spark

PROJECT = "pipeline-e2e"
BASE_IMAGE = "python:3.11-slim-bookworm"
SIZE_LIMITS = {"api": 400, "rag": 1500}  # megabytes beyond the base image
MEMORY_LIMIT = 3072  # megabytes, the whole stack at rest
TRIALS = 10
RUN_SECONDS = 3600.0
DOCUMENT = "The cellar book of Haldenberg says: racking takes place on the third Monday of February, never later.\n"
QUESTION = "When does racking take place at Haldenberg?"


Story = TypeVar("Story", bound="EndToEnd")
Stack = Callable[[Settings, steps.Report], AbstractContextManager[Story]]


def free_ports() -> dict[str, int]:
    """A free port for each program; all are held until all are found, so that no two are the same."""
    probes = [socket.socket() for _ in PORTS]
    for probe in probes:
        probe.bind((HOST, 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return dict(zip(PORTS, ports, strict=True))


class EndToEnd:
    """One pass over the stack. Every method is one chapter, and raises StackError when it does not end well."""

    def __init__(self, settings: Settings, compose: Compose, report: steps.Report) -> None:
        self.settings = settings
        self.compose = compose
        self.report = report

    def client(self, service: str) -> httpx.Client:
        """A client of api, rag or mlflow, as users have it."""
        return clients.service(self.settings, self.compose, service)

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

    def train(self) -> str:
        """Triggers the DAG as the page's button does, and follows it. Gives the run's id."""
        airflow = sign_in(self.settings, self.compose)
        with self.report.step("trigger to served") as step:
            run_id = airflow.trigger({"trials": TRIALS})
            airflow.follow(
                run_id, RUN_SECONDS, lambda task: self.report.add(f"  {task.name}", task.seconds, task.state)
            )
            step.result = f"{run_id}; {airflow.waited(run_id):.0f} s from queued to end"
        return run_id

    def predict(self, name: str = "POST /predict") -> dict[str, Any]:
        """One prediction by the promoted model; gives what `/model` says."""
        with self.client("api") as api, self.report.step(name) as step:
            model = wait_for_model(api)
            step.result = f"{steps.describe_prediction(steps.predict(api, model))}, {steps.describe_model(model)}"
            self.report.add("  GET /history", 0, steps.last_decision(api, model))
        return model

    def give_document(self) -> None:
        """Uploads one file that says what no other document does."""
        with tempfile.TemporaryDirectory() as folder, self.client("rag") as rag:
            path = Path(folder) / "cellar-book.txt"
            path.write_text(DOCUMENT, encoding="utf-8")
            with self.report.step("POST /documents") as step:
                step.result = steps.give_documents(rag, [path])

    def ask(self, name: str = "POST /ask") -> None:
        """Asks what that file says."""
        with self.client("rag") as rag, self.report.step(name) as step:
            answer = steps.ask(rag, QUESTION)
            quote = answer["citations"][0]["quote"]
            if "third Monday" not in quote:
                raise StepFailed(f"the quote is not from the document: {quote!r}", "see the log of rag")
            step.result = steps.describe_answer(answer)

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
        runs = self.tracked_runs(model["name"])
        with self.report.step("restart all"):
            self.compose.run("restart")
        self.up("healthy again")
        again = self.predict("model after restart")
        if again["version"] != model["version"]:
            raise StepFailed(f"version {again['version']} is served, before the restart it was {model['version']}", "")
        with self.report.step("runs after restart") as step:
            after = self.tracked_runs(model["name"])
            airflow = sign_in(self.settings, self.compose)
            states = {task.name: task.state for task in airflow.tasks(run_id)}
            if after != runs or set(states.values()) != {"success"}:
                raise StepFailed(f"runs were lost: {runs} before, {after} after; tasks {states}", "")
            step.result = f"{after} in MLflow, {len(states)} tasks in Airflow"
        self.ask("document after restart")

    def tracked_runs(self, experiment: str) -> int:
        """How many runs MLflow holds for `experiment`."""
        with self.client("mlflow") as mlflow:
            found = mlflow.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": experiment})
            body = {"experiment_ids": [steps.content(found)["experiment"]["experiment_id"]], "max_results": 1000}
            return len(steps.content(mlflow.post("/api/2.0/mlflow/runs/search", json=body)).get("runs", []))


def wait_for_model(api: Any, seconds: float = 300.0) -> dict[str, Any]:
    """What `/model` says once a model is served. Raises StepFailed when none is after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        model = steps.served_model(api)
        if model is not None:
            return model
        if time.monotonic() > deadline:
            raise StepFailed("no model is served", "see the logs of api and mlflow")
        time.sleep(0.5)


def recent_logs(compose: Compose) -> str:
    """The end of every service's log, without the lines in which Airflow tells of each request."""
    lines = compose.run("logs", "--tail", "300").splitlines()
    said = [line for line in lines if "[http.access]" not in line]
    return "\n".join(line for service in PORTS for line in [x for x in said if x.startswith(f"{service}-")][-25:])


def run_chapters(pass_: EndToEnd) -> None:
    """The whole story in order."""
    pass_.build()
    pass_.up("up --wait")
    pass_.memory()
    run_id = pass_.train()
    model = pass_.predict()
    pass_.give_document()
    pass_.ask()
    pass_.readme()
    pass_.restart(run_id, model)
    train_on_spark(pass_.settings, pass_.compose, pass_.report)


@contextmanager
def default_stack(settings: Settings, report: steps.Report) -> Iterator[EndToEnd]:
    """A project of its own, removed before and after with its volumes."""
    settings = replace(settings, ports=free_ports())
    environment = {
        **settings.environment,
        **{f"{name.upper()}_PORT": str(port) for name, port in settings.ports.items()},
        "DEFAULT_MODEL": settings.model_name,
        "DOCKER_BUILDKIT": "1",
        "COMPOSE_FILE": "docker-compose.yml",  # whatever .env says
    }
    compose = Compose(settings.root, environment, PROJECT)
    compose.run("down", "--volumes", "--remove-orphans")
    try:
        yield EndToEnd(settings, compose, report)
    except StackError:
        print(recent_logs(compose), file=sys.stderr)
        raise
    finally:
        with report.step("down"):
            compose.run("down", "--volumes", "--remove-orphans")


def tell(title: str, stack: Stack[Story], chapters: Callable[[Story], None]) -> int:
    """Starts a stack, runs the chapters, and prints the table; 0 when every chapter ended well, otherwise 1."""
    report = steps.Report()
    try:
        settings = read_settings()
        check_engine(settings.root, settings.environment)
        with stack(settings, report) as started:
            chapters(started)
    except StackError as error:
        print(f"e2e: {error}\n  hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("e2e: interrupted", file=sys.stderr)
        return 1
    report.print_table(title)
    return 0


if __name__ == "__main__":
    sys.exit(tell("The Compose stack, end to end", default_stack, run_chapters))
