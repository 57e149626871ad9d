"""What `make` does with the running stack, as containers or else beside `make run`: train, status, history and more.

For containers the standard library is enough, and the machine's own Python.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from stack import status
from stack.compose import Compose
from stack.errors import StackError, StepFailed
from stack.settings import Settings, read_settings

if TYPE_CHECKING:
    from stack.beside import Processes

# Asked inside, where the service's key is.
OVERVIEW = """
import os, urllib.request
file = os.environ.get("API_KEY_FILE")
key = os.environ.get("API_KEY") or (open(file).read().split() or [""])[0] if file else os.environ.get("API_KEY", "")
address = f"http://127.0.0.1:{os.environ.get('API_PORT', '8000')}/overview"
print(urllib.request.urlopen(urllib.request.Request(address, headers={"X-API-Key": key}), timeout=30).read().decode())
"""
SCRIPTS = ("status", "history", "rollback", "sign", "keys")


def running(compose: Compose) -> bool:
    """Whether Airflow runs as a container. Where no engine answers, none does."""
    try:
        return "airflow" in compose.services()
    except StackError:
        return False


class Containers:
    """The stack as containers: what is to be done is done inside."""

    def __init__(self, settings: Settings, compose: Compose) -> None:
        self.settings, self.compose = settings, compose

    def password(self) -> str:
        """Airflow's."""
        return self.compose.password()

    def train(self, conf: dict[str, object]) -> None:
        """Triggers the pipeline's training and follows it to its end. Raises StepFailed, also for `DATA` outside of
        data/, and if the container has another pipeline file."""
        settings, file, trainer = self.settings, self._pipeline(), self.compose.trainer()
        if self.compose.run("exec", "-T", trainer, "cat", file) != settings.config.read_text(encoding="utf-8"):
            raise StepFailed(f"Airflow still has an earlier version of {file}", f"docker compose restart {trainer}")
        if settings.data:
            if not settings.data.is_relative_to(settings.root / "data"):
                hint = "copy it into data/ and name it there; the container can read no other folder"
                raise StepFailed(f"DATA={settings.data}: expected a file in the folder data/", hint)
            conf["data"] = f"data/{settings.data.relative_to(settings.root / 'data')}"
        page = f"{self.compose.site()}/airflow" if self.compose.has_proxy() else settings.url("airflow")
        command = ["python", "-m", "stack.train", settings.dag("train"), json.dumps(conf), page]
        if self._exec("airflow", command):
            raise StepFailed("the training did not succeed, or could not be followed", "`make logs` says more")

    def script(self, name: str, options: list[str]) -> int:
        """Runs `pipeline.py NAME` beside the tasks; its exit code. What it says is on stderr."""
        model = [] if name == "keys" else ["--config", self._pipeline()]
        command = ["/opt/training/bin/python", "scripts/pipeline.py", name, *model, *options]
        return self._exec(self.compose.trainer(), command, subprocess.DEVNULL)

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

    def embed(self, _: list[str]) -> int:
        """Raises StepFailed."""
        hint = "docker compose run --rm rag-embed documents --collection NAME (rag/docs/how-to/bulk.md)"
        raise StepFailed("`make embed` is for `make run`, but the documents are in containers", hint)

    def _exec(self, service: str, command: list[str], output: int | None = None) -> int:
        asked = ["docker", "compose", "exec", "-T", service, *command]
        environment = dict(self.compose.environment)
        return subprocess.run(asked, cwd=self.settings.root, env=environment, check=False, stdout=output).returncode

    def _pipeline(self) -> str:
        """The pipeline file as the container sees it. Raises StepFailed for one that it does not see."""
        try:
            return self.settings.config.relative_to(self.settings.root).as_posix()
        except ValueError:
            raise StepFailed(
                f"{self.settings.config}: expected pipeline.yaml or a file in the folder pipelines/",
                "copy it into pipelines/; the container can read no other folder",
            ) from None


def found(settings: Settings) -> Containers | Processes:
    """The stack that runs. Raises StepFailed where none can."""
    compose = Compose(settings.root, settings.environment)
    if running(compose):
        return Containers(settings, compose)
    try:
        beside = importlib.import_module("stack.beside")  # needs the environment that `make run` made
    except ImportError:
        hint = "start it: `make up`, or `make run` in another terminal"
        raise StepFailed("Airflow runs neither as a container nor here", hint) from None
    processes: Processes = beside.Processes(settings)
    return processes


def configuration(settings: Settings) -> dict[str, object]:
    """What `make train TRIALS=` asks of the DAG. Raises StepFailed for a wrong number."""
    trials = settings.environment.get("TRIALS")
    if not trials:
        return {}
    if not trials.isdecimal() or int(trials) == 0:
        raise StepFailed(f"TRIALS={trials}: expected a number of trials from 1 on", "for example TRIALS=20")
    return {"trials": int(trials)}


def operate(settings: Settings, task: str, options: list[str]) -> int:
    """Does `task`; returns its exit code. Raises StackError."""
    stack = found(settings)
    if task == "status" and not any(settings.environment.get(name) for name in ("PIPELINE", "CONFIG", "DATA")):
        try:
            status.show(stack, settings.environment.get("FORMAT") == "json")
        except StackError as error:  # the tracking server still knows what is in production
            print(f"{error}\n  hint: {error.hint}", file=sys.stderr)
        else:
            return 0
        options = ["--all", *options]
    if task in SCRIPTS:
        return stack.script(task, options)
    if task == "embed":
        return stack.embed(options)
    if task == "password":
        print(stack.password())
    else:
        stack.train(configuration(settings))
        stack.script("status", [])  # a refusal by the gate is a success of the run
    return 0


def main() -> int:
    """0, or 1 with what to do; of a script, its own exit code."""
    task, *options = sys.argv[1:] or ["train"]
    try:
        return operate(read_settings(), task, options)
    except StackError as error:
        print(f"{error}\n  hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped following; the run continues in Airflow.", file=sys.stderr)
        return 0


if __name__ == "__main__":
    sys.exit(main())
