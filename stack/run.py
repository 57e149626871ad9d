"""`make run`: the whole stack without containers, with Airflow's scheduler and page, until Ctrl-C."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from stack.errors import guarded
from stack.processes import POLL_SECONDS, Running
from stack.programs import SERVICES, started
from stack.settings import Settings, read_settings


def run_stack(settings: Settings) -> NoReturn:
    """Starts everything, and starts again what ends. Raises StackError, with all stopped, when a port is taken or a
    program ends again and again."""
    with started(settings, list(SERVICES)) as running:
        keep(settings, running)


def keep(settings: Settings, services: Sequence[Running]) -> NoReturn:
    """Says where to look, and starts again what ends, until Ctrl-C. Raises ProgramFailed when a program ends again and
    again."""
    print(pages(settings), flush=True)
    while True:
        for service in services:
            if (code := service.keep_alive()) is not None:
                print(f"{service.program.name} ended with code {code} and was started again: {service.program.log}")
        time.sleep(POLL_SECONDS)


def pages(settings: Settings) -> str:
    """Where to look, and with which password."""
    passwords: Path = settings.var / "airflow" / "passwords.json"
    return "\n".join(
        [
            f"Airflow      {settings.url('airflow')}   user and password: {passwords}",
            f"MLflow       {settings.url('mlflow')}",
            f"overview     {settings.url('api')}",
            f"documents    {settings.url('rag')}",
            "Ctrl-C stops everything; what was made stays in var/, mlruns/ and models/.",
        ]
    )


def main() -> int:
    """0 after Ctrl-C; 1, with what to do, when something failed."""
    return guarded(lambda: run_stack(read_settings()), "run", "everything is stopped", 0)


if __name__ == "__main__":
    sys.exit(main())
