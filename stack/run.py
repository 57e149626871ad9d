"""`make run`: the whole stack without containers, with Airflow's scheduler and page, until Ctrl-C."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from stack import programs
from stack.errors import ProgramFailed, StackError
from stack.processes import POLL_SECONDS, START_SECONDS, Running, started_programs
from stack.settings import Settings, read_settings


def run_stack(settings: Settings) -> None:
    """Starts everything, and starts again what ends. Raises StackError, with all stopped, when a port is taken or a
    program ends again and again."""
    programs.check_ports(settings, programs.ALL)
    with started_programs() as running:
        services = (programs.mlflow, programs.api, programs.rag, programs.airflow_server)
        running.extend(Running(service(settings)) for service in services)
        for service in running:
            service.wait_healthy(START_SECONDS)
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
    try:
        run_stack(read_settings())
    except StackError as error:
        if isinstance(error, ProgramFailed):
            print(error.tail, file=sys.stderr)
        print(f"run: {error}\n  hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("run: everything is stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
