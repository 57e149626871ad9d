"""What `make` does with the running stack, as containers or else beside `make run`: train, status, history and more.

For containers the standard library is enough, and the machine's own Python.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stack import status
from stack.compose import Compose
from stack.containers import Containers, running
from stack.errors import StackError, StepFailed, guarded
from stack.settings import Settings, read_settings

if TYPE_CHECKING:
    from stack.beside import Processes

# What is done with documents, and the variable that says what with.
DOCUMENTS = {
    "ask": ("QUESTION", 'make ask QUESTION="What does a corked wine smell of?"'),
    "ingest": ("FROM", "make ingest FROM=folder"),
    "embed": ("FROM", "make embed FROM=folder, or FROM=s3://bucket/prefix"),
}
SCRIPTS = ("status", "history", "rollback", "sign", "keys")


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


def documents(settings: Settings, task: str) -> tuple[str, list[str]]:
    """The question or the folder, and the options. Raises StepFailed where there is none."""
    environment, (variable, example) = settings.environment, DOCUMENTS[task]
    given = environment.get(variable, "")
    if not given.strip():
        raise StepFailed(f"{variable}= is missing", example)
    if task == "ingest" and not Path(given).expanduser().exists():
        raise StepFailed(f"{variable}={given}: there is no such file or folder", example)
    options = {"--collection": environment.get("COLLECTION"), "--master": task == "embed" and environment.get("MASTER")}
    return given, [text for name, value in options.items() if value for text in (name, value)]


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
        return stack.script(task, *options).returncode
    if task in DOCUMENTS:
        return stack.documents(task, *documents(settings, task))
    if task == "password":
        print(stack.password())
    else:
        stack.train(configuration(settings))
        stack.script("status")  # a refusal by the gate is a success of the run
    return 0


def main() -> int:
    """0, or 1 with what to do; of a script, its own exit code."""
    task, *options = sys.argv[1:] or ["train"]
    interrupted = "Stopped following; the run continues in Airflow."
    return guarded(lambda: operate(read_settings(), task, options), "", interrupted, 0)


if __name__ == "__main__":
    sys.exit(main())
