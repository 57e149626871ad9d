"""The stack as containers, as people and drivers use it. Standard library only: containers need no environment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stack.compose import Compose, check_engine
from stack.errors import StackError, StepFailed

if TYPE_CHECKING:
    from stack.settings import Settings

    Done = subprocess.CompletedProcess[str]

# Asked inside, where the service's key is.
OVERVIEW = """
import os, urllib.request
file = os.environ.get("API_KEY_FILE")
key = os.environ.get("API_KEY") or (open(file).read().split() or [""])[0] if file else os.environ.get("API_KEY", "")
address = f"http://127.0.0.1:{os.environ.get('API_PORT', '8000')}/overview"
print(urllib.request.urlopen(urllib.request.Request(address, headers={"X-API-Key": key}), timeout=30).read().decode())
"""


def running(compose: Compose) -> bool:
    """Whether Airflow runs as a container. Where no engine answers, none does."""
    try:
        return "airflow" in compose.services()
    except StackError:
        return False


class Containers:
    """What to do is done inside."""

    def __init__(self, settings: Settings, compose: Compose) -> None:
        self.settings, self.compose = settings, compose

    def password(self) -> str:
        """Airflow's."""
        return self.compose.password()

    def train(self, conf: dict[str, object]) -> None:
        """Triggers the pipeline's training and follows it to its end. Raises StepFailed, also for `DATA` outside of
        data/, and if the container has another pipeline file."""
        settings, file, trainer = self.settings, self.config, self.compose.trainer()
        if self.compose.run("exec", "-T", trainer, "cat", file) != settings.config.read_text(encoding="utf-8"):
            raise StepFailed(f"Airflow still has an earlier version of {file}", f"docker compose restart {trainer}")
        if settings.data:
            if not settings.data.is_relative_to(settings.root / "data"):
                hint = "copy it into data/ and name it there; the container can read no other folder"
                raise StepFailed(f"DATA={settings.data}: expected a file in the folder data/", hint)
            conf["data"] = f"data/{settings.data.relative_to(settings.root / 'data')}"
        page = f"{self.compose.site()}/airflow" if self.compose.has_proxy() else settings.url("airflow")
        command = ["python", "-m", "stack.train", settings.dag("train"), json.dumps(conf), page]
        if self._exec("airflow", command).returncode:
            raise StepFailed("the training did not succeed, or could not be followed", "`make logs` says more")

    def script(self, name: str, *options: str) -> Done:
        """Runs `pipeline.py NAME` beside the tasks. What people read is on its stderr."""
        model = [] if name == "keys" else ["--config", self.config]
        command = ["/opt/training/bin/python", "scripts/pipeline.py", name, *model, *options]
        return self._exec(self.compose.trainer(), command, subprocess.PIPE)

    def overview(self) -> dict[str, Any]:
        """What the prediction service answers. Raises StepFailed."""
        try:
            answer: dict[str, Any] = json.loads(self.compose.run("exec", "-T", "api", "python", "-c", OVERVIEW))
        except StepFailed as error:
            said = str(error).splitlines()[-1]
            raise StepFailed(f"the prediction service does not answer ({said})", "`make logs` says more") from None
        return answer

    def last_runs(self) -> list[dict[str, Any]]:
        """Airflow's newest run of each DAG. Raises StepFailed."""
        command = ["python", "-m", "stack.train", "last-runs"]
        runs: list[dict[str, Any]] = json.loads(self.compose.run("exec", "-T", "airflow", *command))
        return runs

    def documents(self, command: str, given: str, options: list[str]) -> int:
        """Runs `rag_service ask` or `ingest`; its exit code. Raises StepFailed for `embed`, whose service has its own
        command."""
        asked = ["python", "-m", "rag_service", command]
        if command == "ask":
            return self._exec("rag", [*asked, given, *options, "--url", "http://127.0.0.1:8001"]).returncode
        if command == "ingest":
            path = Path(given).expanduser().resolve()
            once = ["run", "--rm", "--no-deps", "-T", "--volume", f"{path}:/documents/{path.name}:ro", "rag"]
            return self._run(
                [*once, *asked, f"/documents/{path.name}", *options, "--url", "http://rag:8001"]
            ).returncode
        hint = "docker compose run --rm rag-embed documents --collection NAME (rag/docs/how-to/bulk.md)"
        raise StepFailed("`make embed` is for `make run`, but the documents are in containers", hint)

    def _exec(self, service: str, command: list[str], output: int | None = None) -> Done:
        return self._run(["exec", "-T", service, *command], output)

    def _run(self, command: list[str], output: int | None = None) -> Done:
        asked = ["docker", *self.compose.command(*command)]
        environment = dict(self.compose.environment)
        return subprocess.run(asked, cwd=self.settings.root, env=environment, check=False, stdout=output, text=True)

    @property
    def config(self) -> str:
        """The pipeline file as the container sees it. Raises StepFailed for one that it does not see."""
        try:
            return self.settings.config.relative_to(self.settings.root).as_posix()
        except ValueError:
            raise StepFailed(
                f"{self.settings.config}: expected pipeline.yaml or a file in the folder pipelines/",
                "copy it into pipelines/; the container can read no other folder",
            ) from None


@contextmanager
def own_project(settings: Settings, project: str, **variables: str) -> Iterator[Containers]:
    """A Compose project of the default stack with the ports of `settings`, which begins and ends with nothing."""
    ports = {f"{name.upper()}_PORT": str(port) for name, port in settings.ports.items()}
    own = {"DEFAULT_MODEL": settings.model_name, "DOCKER_BUILDKIT": "1", "COMPOSE_FILE": "docker-compose.yml"}
    compose = Compose(settings.root, {**settings.environment, **ports, **own, **variables}, project)
    with removed(compose):
        yield Containers(settings, compose)


@contextmanager
def removed(compose: Compose) -> Iterator[None]:
    """Removes the project with its volumes before and after, and shows its last log lines where something failed."""
    check_engine(compose.root, compose.environment)
    down = ("down", "--volumes", "--remove-orphans")
    compose.run(*down)
    try:
        yield
    except StackError:
        print(compose.run("logs", "--no-color", "--tail", "20"), file=sys.stderr)
        raise
    finally:
        compose.run(*down)
