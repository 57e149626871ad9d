"""`make demo`: the whole way without containers: starts all, trains, predicts, indexes, asks. In a terminal everything
then runs until Ctrl-C, as with `make run`; elsewhere, and with KEEP=0, it is stopped."""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from stack import programs
from stack.beside import Processes
from stack.chapters import Story
from stack.errors import INTERRUPTED, ProgramFailed, StepFailed, guarded
from stack.processes import START_SECONDS, Running
from stack.report import Report
from stack.run import keep
from stack.settings import Settings, read_settings

PAGES = ("mlflow", "api", "rag")
TRIALS = 10
LAST = "Airflow's pages"
DAG_SECONDS = 1800.0
HOOK_LINES = ("Tmp dir root location", "Running command:", "Output:", "Command exited with")
TASK_LINE = re.compile(r"(\S+) .*\[DAG TEST\] (starting|end task) task_id=(\w+)")
TRIAL_LINE = re.compile(r".* (trial \d+ of \d+: [^\[]+)")


def configuration(settings: Settings) -> dict[str, object]:
    """The DAG's parameters, as the trigger form would give them."""
    conf: dict[str, object] = {"config": str(settings.config), "name": settings.model_name, "trials": TRIALS}
    return conf | ({"data": str(settings.data)} if settings.data else {})


def train(settings: Settings, report: Report, running: list[Running]) -> None:
    """Runs the real DAG once, as the scheduler would. Raises ProgramFailed with what the failed task printed."""
    with report.step("train_model") as step:
        dag_run = Running(programs.airflow_dag_run(settings, json.dumps(configuration(settings))))
        running.append(dag_run)
        try:
            follow(dag_run.lines(DAG_SECONDS), report)
        except ProgramFailed as error:
            error.tail = task_output(dag_run.program.log) or error.tail
            raise
        step.result = "success"


def follow(log: Iterable[str], report: Report) -> None:
    """Reports each trial, and each task with its time, as the log of `dags test` has it."""
    started: dict[str, datetime] = {}
    for line in log:
        if found := TASK_LINE.match(line):
            stamp, event, task = found.groups()
            moment = datetime.fromisoformat(stamp)
            if event == "starting":
                started[task] = moment
            else:
                report.add(f"  {task}", (moment - started[task]).total_seconds(), "")
        elif found := TRIAL_LINE.match(line):
            report.say(f"    {found[1].strip()}")


def task_output(log: Path) -> str:
    """What the commands of the DAG printed, without Airflow's own lines: the end of it is where the reason is."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = re.compile(r"^\S+ \[info +\] (.*?)\s+\[airflow\.task\.hooks\S*\]")
    text = [match.group(1) for line in lines if (match := said.match(line))]
    return "\n".join([line for line in text if not line.startswith(HOOK_LINES)][-25:])


def run_demo(settings: Settings, report: Report, stay: bool = False) -> None:
    """All steps in order, and then, where it is to `stay`, everything until Ctrl-C. Raises StackError at the first step
    that fails; everything is stopped either way."""
    programs.check_ports(settings, list(programs.SERVICES) if stay else PAGES)
    with ExitStack() as stack:
        with report.step("start") as step:
            first = [programs.airflow_prepare(settings)]
            running = stack.enter_context(programs.started(settings, PAGES, first))
            step.result = ", ".join(f"{name} :{settings.ports[name]}" for name in PAGES)
        train(settings, report, running)
        story = Story(Processes(settings), report)
        try:
            story.predict(seconds=0)
        except StepFailed:
            story.stack.script("history")  # a refusal by the gate is a success of the run: this says why
            raise
        documents = settings.root / "rag" / "documents"
        story.give_documents(sorted(path for path in documents.iterdir() if path.is_file()))
        story.ask()
        if stay:
            with report.step(LAST):
                running.append(Running(programs.airflow_server(settings)))
                running[-1].wait_healthy(START_SECONDS)
            keep(settings, [one for one in running if one.program.health])


def run_command(environment: Mapping[str, str]) -> str:
    """How to serve what this demo made: with the same file and pipeline, since they give the model its name."""
    given = [f"{name}={shlex.quote(environment[name])}" for name in ("CONFIG", "DATA") if environment.get(name)]
    return " ".join(["make run", *given])


def main() -> int:
    """0 when every step did its work; otherwise 1 and what to do. 130 when interrupted before the last one."""
    report = Report()
    stay = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("KEEP") != "0"

    def work() -> int:
        run_demo(read_settings(), report, stay)
        print(f"Everything is stopped again. To keep it running, with its pages: {run_command(os.environ)}")
        return 0

    code = guarded(work, "demo", "everything is stopped")
    return 0 if code == INTERRUPTED and report.steps and report.steps[-1].name == LAST else code


if __name__ == "__main__":
    sys.exit(main())
