"""Where `make loop` runs: as processes with a state of their own, or as a Compose project of its own.

Either way nothing of a stack that is in use is touched, and each run starts from nothing.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from stack import programs
from stack.clients import password
from stack.compose import Compose, check_engine
from stack.errors import StepFailed
from stack.processes import START_SECONDS, Running, started_programs
from stack.settings import Settings

PROJECT = "pipeline-loop"
SERVICES = ("mlflow", "airflow", "api")
# Only by hand: a run by the clock in the middle of the story would count a window of its own. And the pipelines are the
# loop's, not the user's.
BY_HAND = {"MONITOR_SCHEDULE": "none", "PIPELINES_DIR": "data/loop/pipelines"}


class Place(Protocol):
    """A running stack. `config` is the pipeline file as its tasks see it."""

    settings: Settings
    config: str

    def password(self) -> str:
        """Airflow's."""

    def script(self, name: str, *arguments: str) -> str:
        """Runs `scripts/pipeline.py NAME` as a person would; gives what it printed. Raises StepFailed."""


class Processes:
    """Programs on this machine, with their state under var/loop."""

    def __init__(self, settings: Settings, config: Path) -> None:
        self.settings, self.config = settings, str(config)

    def password(self) -> str:
        return password(self.settings, None)

    def script(self, name: str, *arguments: str) -> str:
        command = [self.settings.python("training"), "scripts/pipeline.py", name, "--config", self.config, *arguments]
        done = subprocess.run(
            command, cwd=self.settings.root, env=programs.training_environment(self.settings),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise StepFailed(f"{name} ended with {done.returncode}\n{done.stderr[-2000:]}", "")
        return done.stdout


class Containers:
    """A Compose project; it sees the folder data/ of this one."""

    def __init__(self, settings: Settings, config: Path, compose: Compose) -> None:
        self.settings, self.config, self.compose = settings, str(config.relative_to(settings.root)), compose

    def password(self) -> str:
        return self.compose.password()

    def script(self, name: str, *arguments: str) -> str:
        command = ["/opt/training/bin/python", "scripts/pipeline.py", name, "--config", self.config, *arguments]
        return self.compose.run("exec", "-T", "airflow", *command)


@contextmanager
def as_processes(settings: Settings, config: Path) -> Iterator[Place]:
    """Starts the programs from nothing and stops them at the end; their logs stay in var/loop/var/log."""
    state = settings.root / "var" / "loop"
    shutil.rmtree(state, ignore_errors=True)
    settings = replace(settings, state=state, environment={**settings.environment, **BY_HAND})
    state.mkdir(parents=True)
    programs.check_ports(settings, SERVICES)
    with started_programs() as running:
        running.extend(Running(service(settings)) for service in (programs.mlflow, programs.api))
        running.append(Running(programs.airflow_server(settings)))
        for service in running:
            service.wait_healthy(START_SECONDS)
        yield Processes(settings, config)


@contextmanager
def as_containers(settings: Settings, config: Path) -> Iterator[Place]:
    """Builds and starts the containers, and removes them with their volumes at the end."""
    check_engine(settings.root, settings.environment)
    compose = Compose(settings.root, compose_environment(settings), PROJECT)
    compose.run("down", "--volumes", "--remove-orphans")
    try:
        compose.run("up", "--build", "--detach", "--wait", "--wait-timeout", "600", *SERVICES)
        yield Containers(settings, config, compose)
    finally:
        compose.run("down", "--volumes", "--remove-orphans")


def compose_environment(settings: Settings) -> Mapping[str, str]:
    """The ports and the model of this run, as Compose's variables."""
    ports = {f"{name.upper()}_PORT": str(port) for name, port in settings.ports.items()}
    own = {"DEFAULT_MODEL": settings.model_name, "DOCKER_BUILDKIT": "1", "COMPOSE_FILE": "docker-compose.yml"}
    return {**settings.environment, **ports, **BY_HAND, **own}
