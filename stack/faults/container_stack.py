"""The containers of the production stack, to be broken."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

import httpx

from stack import clients
from stack.airflow_client import Airflow
from stack.compose import Compose, docker
from stack.e2e_production import of_production, production
from stack.errors import ProgramFailed, StepFailed
from stack.http_client import content
from stack.report import Report
from stack.settings import Settings

HEALTHY_SECONDS = 180.0
# What says within a container of each service, whose health check runs too seldom to wait for, that it can answer.
ASK = "import urllib.request as r; r.urlopen('http://127.0.0.1:{}', timeout=5)"
READY = {"api": "8000/readyz", "rag": "8001/readyz", "mlflow": "5001/health"}
NETWORK = {"postgres": "database"}  # where a service is found by others


class Containers:
    """Two replicas of each service: one answer of each, and one more."""

    answers, follow_seconds = 3, 2.0

    def __init__(self, settings: Settings, compose: Compose) -> None:
        self.settings, self.compose = settings, compose
        self.lost: list[str] = []

    def client(self, service: str) -> httpx.Client:
        """Through the proxy."""
        return clients.service(self.settings, self.compose, service)

    def airflow(self) -> Airflow:
        """Signed in, through the proxy."""
        return clients.sign_in(self.settings, self.compose)

    def docker(self, *arguments: str) -> str:
        """Runs `docker …`; gives what it printed."""
        return docker(list(arguments), self.settings.root, self.compose.environment).strip()

    def wait_healthy(self, service: str) -> None:
        """Returns once each replica answers, and does so through the proxy. Raises ProgramFailed."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        while True:
            try:
                for container in self.compose.containers_of(service):
                    self.docker("exec", container, "python", "-S", "-c", ASK.format(READY[service]))
                if service != "mlflow":
                    with self.client(service) as through:
                        content(through.get("/livez"))
            except StepFailed as error:
                if time.monotonic() > deadline:
                    log = self.compose.run("logs", "--no-color", "--tail", "20", service)
                    raise ProgramFailed(service, f"did not come back: {error}", "", log) from error
                time.sleep(1)
            else:
                return

    def feedback(self) -> str:
        """All lines of feedback in the prediction log, which the replicas share."""
        find = "find /predictions -name 'feedback-*.jsonl' -exec cat {} +"
        return self.compose.run("exec", "-T", "api", "sh", "-c", find)

    def one_of(self, service: str, choose: Random) -> str:
        """One of its containers."""
        return choose.choice(self.compose.containers_of(service))

    def kill(self, container: str) -> None:
        """kill -9 of its first process, and with it of all others. `docker kill` would not start it again."""
        with suppress(ProcessLookupError):
            os.kill(int(self.docker("inspect", "--format", "{{.State.Pid}}", container)), signal.SIGKILL)

    def training(self, service: str, command: str) -> str | None:
        """The container of a service in which a process with `command` in its command line runs."""
        for container in self.compose.containers_of(service):
            with suppress(StepFailed):
                if command in self.docker("top", container, "-eo", "pid,args"):
                    return container
        return None

    @contextmanager
    def frozen(self, container: str) -> Iterator[None]:
        """It stands still for as long as the `with` lasts."""
        self.docker("pause", container)
        try:
            yield
        finally:
            self.docker("unpause", container)

    @contextmanager
    def cut_off(self, service: str, container: str) -> Iterator[None]:
        """It is not in the network of those that use it for as long as the `with` lasts."""
        network = f"{self.compose.project}_{NETWORK.get(service, 'services')}"
        self.docker("network", "disconnect", network, container)
        try:
            yield
        finally:
            self.docker("network", "connect", "--alias", service, network, container)


@contextmanager
def containers_to_break(settings: Settings) -> Iterator[Containers]:
    """The production stack in a copy of the project, from nothing, and at the end nothing of it."""
    with production(settings, Report(), "pipeline-faults") as stack:
        stack.shell("make secrets && make up PROFILE=production")
        yield Containers(stack.settings, of_production(stack.compose))
