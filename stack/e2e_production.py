"""`make e2e PROFILE=production`: moves a used default stack to production in a copy of the project, runs the commands
of docs/how-to/production.md, and checks what that page promises: a worker is killed in training, and replicas are
replaced under traffic.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx

from stack import readme
from stack.airflow_client import Airflow
from stack.chapters import RUN_SECONDS, ask, example_row, predict, wait_for_model
from stack.compose import Compose, docker
from stack.containers import Containers, removed
from stack.e2e import TRIALS as FIRST_TRIALS
from stack.e2e import EndToEnd, free_ports
from stack.errors import StepFailed, guarded
from stack.http_client import content
from stack.report import Report
from stack.settings import Settings, read_settings
from stack.state.move import PRODUCTION
from stack.traffic import SteadyTraffic

PROJECT = "pipeline-production-e2e"
MEMORY_LIMIT = 4096  # megabytes, the whole stack at rest
DOCUMENTED_PORTS = {"HTTP_PORT": "8081", "HTTPS_PORT": "8443"}
NOT_COPIED = (".git", ".venvs", "var", "mlruns", "models", ".env")  # what is this machine's own
NOT_INHERITED = ("COMPOSE_FILE", "PROFILE", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
TRIALS = 40  # long enough to be killed in
RATE = 20.0  # predictions a second, while replicas are replaced
# All processes of a container but its init, which then ends, and the container with it.
KILL_ALL = "kill -9 -1"


def copy_of(root: Path) -> Path:
    """The project in a folder of its own, so that its .env, secrets and data are nobody else's."""
    copy = root / "var" / "e2e-production"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for path in root.iterdir():
        if path.name in NOT_COPIED or path.name.endswith("_cache"):
            continue
        if path.is_dir():
            shutil.copytree(path, copy / path.name, symlinks=True)
        else:
            shutil.copy2(path, copy)
    (copy / ".venvs").symlink_to(root / ".venvs")
    return copy


class Production(EndToEnd):
    """The chapters of the production stack."""

    def begin_by_default(self) -> None:
        """The default stack from nothing, with a model and a document."""
        with self.report.step("make up"):
            self.shell("make up")
        self.train("trigger to served", {"trials": FIRST_TRIALS})
        self.give_documents([self.settings.root / "rag" / "documents" / "faults.md"])

    def move(self) -> None:
        """To the production stack, as docs/how-to/operations.md says, where users see the same."""
        before = self.answers()
        [commands] = [
            one
            for _, one in readme.blocks(self.settings.root / "docs" / "how-to" / "operations.md")
            if "make move" in one
        ]
        for command in commands.splitlines():
            with self.report.step(command) as step:
                step.result = self.shell(command)
        self.stack = Containers(self.settings, of_production(self.compose))
        self.__dict__.pop("api", None)  # it answers elsewhere now
        self.expect_answers(before)

    def follow_docs(self, page: Path) -> None:
        """Runs the page's commands, block by block. Raises StepFailed with what the first failing one printed."""
        for language, block in readme.blocks(page):
            if language != "sh":
                continue
            commands = block.replace("curl ", "curl --fail-with-body ")
            for name, documented in DOCUMENTED_PORTS.items():
                commands = commands.replace(f":{documented}", f":{self.compose.environment[name]}")
            with self.report.step(block.splitlines()[0].split("  #")[0][:60]) as step:
                step.result = self.shell(commands)

    def shell(self, commands: str) -> str:
        """Runs commands in the project's folder; the last line that they print. Raises StepFailed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.settings.root, env=dict(self.compose.environment), check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode != 0:
            raise StepFailed(f"{commands}\n{done.stdout[-3000:]}", "")
        return done.stdout.splitlines()[-1][:160] if done.stdout else ""

    def refuse_strangers(self) -> None:
        """Without a key there is no answer, and without the login no page."""
        proxy = self.client("api")
        del proxy.headers["Authorization"]
        with self.report.step("strangers are refused") as step:
            said = {
                path: proxy.get(httpx.URL(str(proxy.base_url)).join(path)).status_code
                for path in ("/api/model", "/rag/documents", "/airflow/", "/mlflow/")
            }
            if set(said.values()) != {401}:
                raise StepFailed(f"expected 401 of each, found {said}", "see proxy/Caddyfile")
            step.result = "401"

    def restore(self) -> None:
        """Everything is backed up while it runs, destroyed, restored, and answers the same."""
        before = self.answers()
        with self.report.step("make backup") as step:
            step.result = self.shell("make backup TO=var/kept")
        with self.report.step("destroyed"):
            self.compose.run("down", "--volumes")
        with self.report.step("make restore") as step:
            step.result = self.shell("make restore FROM=$(ls var/kept/*.gz)")
        with self.report.step("make up"):
            self.shell("make up")
        self.expect_answers(before)

    def expect_answers(self, before: dict[str, object]) -> None:
        """Raises StepFailed where users see anything else than `before`."""
        with self.report.step("the same answers") as step:
            after = self.answers()
            if changed := [name for name in before if after[name] != before[name]]:
                differences = "; ".join(f"{name}: before {before[name]}, after {after[name]}" for name in changed)
                raise StepFailed(differences, "see docs/how-to/operations.md")
            step.result = ", ".join(f"{name} {value}" for name, value in after.items())

    def answers(self) -> dict[str, object]:
        """What users see of the stack's state."""
        with self.client("api") as api, self.client("rag") as rag:
            model, airflow = wait_for_model(api), self.airflow
            return {
                "version": model["version"],
                "prediction": predict(api, model)["prediction"],
                "decisions": [(one["action"], one["at"]) for one in content(api.get("/history"))["entries"]],
                "documents": sorted(one["name"] for one in content(rag.get("/documents"))["documents"]),
                "quote": ask(rag)["citations"][0]["quote"],
                "runs": self.tracked_runs(model["name"]),
                "DAG runs": {one: [task.state for task in airflow.tasks(one)] for one in sorted(airflow.run_ids())},
            }

    def lose_a_worker(self) -> None:
        """Kills the worker that trains; the run succeeds all the same."""
        airflow = self.airflow
        with self.report.step("worker killed in training") as step:
            run_id = airflow.trigger({"trials": TRIALS, "gate": "off"})
            worker = self.training_worker(airflow, run_id)
            with suppress(StepFailed):  # the shell that kills is killed
                docker(["exec", worker, "sh", "-c", KILL_ALL], self.settings.root, self.compose.environment)
            self.follow(run_id)
            step.result = f"{worker} killed; the run succeeded after {airflow.waited(run_id):.0f} s"

    def training_worker(self, airflow: Airflow, run_id: str) -> str:
        """The container in which the run's `train` runs, once it does. Raises StepFailed."""
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            for worker in self.compose.containers_of("airflow-worker"):
                found = docker(["top", worker, "-eo", "pid,args"], self.settings.root, self.compose.environment)
                if "pipeline.py train" in found:
                    return worker
            ended = {task.name for task in airflow.tasks(run_id) if task.state in ("success", "failed", "skipped")}
            if "train" in ended:
                break
            time.sleep(0.5)
        raise StepFailed("the training was over before its worker could be killed", "raise TRIALS")

    def replace_replicas(self) -> None:
        """Each container of the prediction service is restarted, one after the other; no request fails."""
        model = wait_for_model(self.client("api"))
        with self.report.step("api replicas replaced") as step:
            with SteadyTraffic(self.client("api"), [example_row(model)], RATE) as traffic:
                replicas = self.compose.containers_of("api")
                for container in replicas:
                    docker(["restart", container], self.settings.root, self.compose.environment)
                    self.compose.run("up", "--detach", "--wait", "--no-recreate", "--no-deps", "api")
            if traffic.faults:
                count = len(traffic.faults)
                raise StepFailed(f"{count} failed, {traffic.versions.total()} did not: {traffic.faults[:3]}", "")
            step.result = f"{len(replicas)} replaced, {traffic.versions.total()} requests, none failed"


@contextmanager
def production(settings: Settings, report: Report, project: str = PROJECT) -> Iterator[Production]:
    """The copy of the project, and at the end nothing of it."""
    ports = free_ports()
    copy = replace(settings, root=copy_of(settings.root), config=Path("pipeline.yaml"), ports=ports)
    environment = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    environment |= {f"{name.upper()}_PORT": str(port) for name, port in ports.items()}
    # The proxy's, which runs when those do not.
    environment |= {"HTTP_PORT": str(ports["airflow"]), "HTTPS_PORT": str(ports["mlflow"])}
    # No training that the monitor asks for, between two looks at what users see.
    environment |= {"COMPOSE_PROJECT_NAME": project, "DOCKER_BUILDKIT": "1", "MONITOR_SCHEDULE": "none"}
    compose = Compose(copy.root, environment, project)
    try:
        with removed(of_production(compose)):
            yield Production(Containers(copy, compose), report)
    finally:
        shutil.rmtree(copy.root, ignore_errors=True)


def of_production(compose: Compose) -> Compose:
    """The production stack of the same project."""
    return replace(compose, environment={**compose.environment, "COMPOSE_FILE": PRODUCTION})


def main() -> int:
    """0 when every chapter ended well, otherwise 1."""

    def work() -> int:
        report = Report()
        with production(read_settings(), report) as story:
            story.begin_by_default()
            story.move()
            story.follow_docs(story.settings.root / "docs" / "how-to" / "production.md")
            story.memory(MEMORY_LIMIT)
            story.refuse_strangers()
            story.predict()
            story.give_document()
            story.ask_it()
            story.replace_replicas()
            story.lose_a_worker()
            story.restore()
        report.print_table("The production stack, end to end")
        return 0

    return guarded(work, "e2e")


if __name__ == "__main__":
    sys.exit(main())
