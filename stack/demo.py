"""`make demo`: the whole way without containers. Starts all, trains, predicts, indexes, asks, stops all."""

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from stack import programs, steps
from stack.errors import ProgramFailed, StackError
from stack.processes import Running, started_programs
from stack.settings import Settings, read_settings

TRIALS = 10
START_SECONDS = 180.0
DAG_SECONDS = 1800.0
HOOK_LINES = ("Tmp dir root location", "Running command:", "Output:", "Command exited with")
TASK_LINE = re.compile(r"(?m)^(\S+) .*\[DAG TEST\] (starting|end task) task_id=(\w+)")


def task_seconds(log: str) -> dict[str, float]:
    """How long each task of a `dags test` run took, from its log."""
    started: dict[str, datetime] = {}
    seconds: dict[str, float] = {}
    for stamp, event, task in TASK_LINE.findall(log):
        moment = datetime.fromisoformat(stamp)
        if event == "starting":
            started[task] = moment
        else:
            seconds[task] = (moment - started[task]).total_seconds()
    return seconds


def start_all(settings: Settings, running: list[Running]) -> str:
    """Starts the three services and prepares Airflow, all at once; returns when all are ready."""
    for program in (programs.mlflow(settings), programs.api(settings), programs.rag(settings)):
        running.append(Running(program))
    prepare = Running(programs.airflow_prepare(settings))
    running.append(prepare)
    prepare.wait_done(START_SECONDS)
    for service in running[:3]:
        service.wait_healthy(START_SECONDS)
    return ", ".join(f"{name} :{settings.ports[name]}" for name in ("mlflow", "api", "rag"))


def configuration(settings: Settings) -> dict[str, object]:
    """The DAG's parameters, as the trigger form would give them."""
    conf: dict[str, object] = {"config": str(settings.config), "name": settings.model_name, "trials": TRIALS}
    return conf | ({"data": str(settings.data)} if settings.data else {})


def train(settings: Settings, report: steps.Report, running: list[Running]) -> None:
    """Runs the real DAG once, as the scheduler would. Raises ProgramFailed with what the failed task printed."""
    with report.step("train_model") as step:
        dag_run = Running(programs.airflow_dag_run(settings, json.dumps(configuration(settings))))
        running.append(dag_run)
        try:
            dag_run.wait_done(DAG_SECONDS)
        except ProgramFailed as error:
            error.tail = task_output(dag_run.program.log) or error.tail
            raise
        step.result = "success"
    for task, seconds in task_seconds(dag_run.program.log.read_text(encoding="utf-8")).items():
        report.add(f"  {task}", seconds, "")


def task_output(log: Path) -> str:
    """What the commands of the DAG printed, without Airflow's own lines: the end of it is where the reason is."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = re.compile(r"^\S+ \[info +\] (.*?)\s+\[airflow\.task\.hooks\S*\]")
    text = [match.group(1) for line in lines if (match := said.match(line))]
    return "\n".join([line for line in text if not line.startswith(HOOK_LINES)][-25:])


def use(settings: Settings, report: steps.Report) -> None:
    """Predicts with the promoted model, and asks the documents. Raises StepFailed."""
    with steps.client(settings.url("api")) as api:
        with report.step("served model") as step:
            model = steps.served_model(api)
            if model is None:
                raise steps.nothing_served(api)
            step.result = steps.describe_model(model)
        with report.step("POST /predict") as step:
            step.result = steps.describe_prediction(steps.predict(api, model))
        with report.step("GET /history") as step:
            step.result = steps.last_decision(api, model)
    with steps.client(settings.url("rag")) as rag:
        with report.step("POST /documents") as step:
            documents = sorted(path for path in (settings.root / "rag" / "documents").iterdir() if path.is_file())
            step.result = steps.give_documents(rag, documents)
        with report.step("POST /ask") as step:
            step.result = f"{steps.QUESTION} — {steps.describe_answer(steps.ask(rag))}"


def run_demo(settings: Settings, report: steps.Report) -> None:
    """All steps in order. Raises StackError at the first that fails; everything is stopped either way."""
    programs.check_ports(settings, ("mlflow", "api", "rag"))
    with started_programs() as running:
        with report.step("start") as step:
            step.result = start_all(settings, running)
        train(settings, report, running)
        use(settings, report)


def run_command(environment: Mapping[str, str]) -> str:
    """How to serve what this demo made: with the same file and pipeline, since they give the model its name."""
    given = [f"{name}={shlex.quote(environment[name])}" for name in ("CONFIG", "DATA") if environment.get(name)]
    return " ".join(["make run", *given])


def main() -> int:
    """0 when every step did its work; otherwise 1 and what to do. 130 when interrupted."""
    report = steps.Report()
    try:
        run_demo(read_settings(), report)
    except StackError as error:
        if isinstance(error, ProgramFailed):
            print(error.tail, file=sys.stderr)
        print(f"demo: {error}\n  hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything is stopped", file=sys.stderr)
        return 130
    report.print_table("What was done, and how long it took")
    print(f"Everything is stopped again. To keep it running, with its pages: {run_command(os.environ)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
