"""`make loop`: the closed loop in one go. What a year of operation brings happens here in minutes.

Two models are trained at once and served side by side. Of one, other wines come than it has seen; the monitor sees
the drift and has the model trained again, with the truth that came back; a bad model is refused; a good one takes over
under traffic, and is rolled back.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stack.beside import Processes
from stack.chapters import Story, served_model
from stack.containers import Containers, own_project
from stack.errors import StepFailed, guarded
from stack.http_client import content
from stack.loop_data import TARGET, Wines, features, labelled, write_pipelines, write_table
from stack.programs import started
from stack.report import Report
from stack.settings import Settings, read_settings
from stack.traffic import SteadyTraffic, send_labelled

MODEL, SECOND = "wine-loop", "wine-kind"
RUN_SECONDS = 900.0
SWAP_SECONDS = 30.0
STEADY_RATE = 50.0  # requests a second
MOST_WINDOWS = 3
SETTLING_SECONDS = 5.0  # the monitor leaves out what is younger: it may not be written yet
PROJECT = "pipeline-loop"
SERVICES = ("mlflow", "airflow", "api")
# Only by hand: a run by the clock in the middle of the story would count a window of its own. And the pipelines are the
# loop's, not the user's.
BY_HAND = {"MONITOR_SCHEDULE": "none", "PIPELINES_DIR": "data/loop/pipelines"}


class Loop(Story):
    """The chapters of the loop."""

    def __init__(self, stack: Processes | Containers, report: Report, folder: Path) -> None:
        super().__init__(stack, report)
        self.folder, self.wines = folder, Wines.read(self.settings.root / "data" / "wine-sample.csv")
        self.conf = {"config": stack.config}

    def train_first(self) -> None:
        """White wines only; the first model has the mean to beat. The second pipeline is trained at the same time."""
        write_table(self.folder, self.wines.first())
        write_table(self.folder, self.wines.whole(), "kinds.csv")
        second = self.airflow.trigger({}, dag=f"train_{SECOND}")
        self.train_and_tell("train on white wines")
        self.expect_served("1")
        with self.report.step("train another model") as step:
            self.follow(second, f"train_{SECOND}")
            step.result = f"{SECOND}, in a pipeline of its own"
        self.expect_served("1", SECOND)

    def train_and_tell(self, name: str) -> None:
        """Trains by hand, and reports the gate's verdict."""
        self.train(name, self.conf)
        self.report.add("  verdict", 0, self.verdict())

    def drift(self) -> None:
        """Red wines come, window after window, each followed by its true grade, until the monitor has had enough."""
        known = self.airflow.run_ids("train_model")
        for number in range(MOST_WINDOWS):
            with self.report.step(f"red wines, window {number + 1}") as step:
                rows = labelled(self.wines.window(number))
                step.result = f"{send_labelled(self.api, rows, TARGET)} predictions, each with its truth"
                time.sleep(SETTLING_SECONDS)
            if self.monitor():
                break
        else:
            raise StepFailed("the monitor did not request training", "see the log of monitor_model")
        with self.report.step("retrained by drift") as step:
            self.follow(self.airflow.next_run(known, RUN_SECONDS))
            step.result = self.verdict()
        self.expect_served("2")

    def monitor(self) -> bool:
        """Runs `monitor_model`; gives whether it asked for training."""
        with self.report.step("  monitor") as step:
            run_id = self.airflow.trigger(self.conf, dag="monitor_model")
            self.follow(run_id, "monitor_model")
            step.result = self.finding()
        states = {task.name: task.state for task in self.airflow.tasks(run_id, "monitor_model")}
        return states["request_training"] == "success"

    def finding(self) -> str:
        """What the monitor wrote down in MLflow of the last window."""
        with self.client("mlflow") as mlflow:
            named = mlflow.get(
                "/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": f"{MODEL}-monitor"}
            )
            experiment = content(named)["experiment"]["experiment_id"]
            body = {"experiment_ids": [experiment], "max_results": 2, "order_by": ["attributes.start_time DESC"]}
            runs = content(mlflow.post("/api/2.0/mlflow/runs/search", json=body)).get("runs", [])
        tags = [{tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs]
        return next((str(one["mlflow.note.content"]) for one in tags if "monitor.window" in one), "no window yet")

    def refuse(self) -> None:
        """A table whose grades are out of step passes every check; its model does not pass the gate."""
        write_table(self.folder, self.wines.out_of_step())
        self.train_and_tell("grades out of step")
        self.expect_served("2")

    def promote(self) -> None:
        """All wines with their own grades, while requests go on: the model changes and no request fails."""
        write_table(self.folder, self.wines.whole())
        rows = features(self.wines.white[-200:])
        with (
            SteadyTraffic(self.api, rows, STEADY_RATE) as traffic,
            SteadyTraffic(self.api, rows, STEADY_RATE, f"/models/{SECOND}/predict") as beside,
        ):
            self.train_and_tell("all wines, under traffic")
            self.expect_served("4")
            with self.report.step("rollback, under traffic") as step:
                step.result = f"to version {json.loads(self.script('rollback'))['version']}"
            self.expect_served("2")
        with self.report.step("traffic meanwhile") as step:
            for one, versions in ((traffic, {"2", "4"}), (beside, {"1"})):
                if one.faults or set(one.versions) != versions:
                    raise StepFailed(f"{len(one.faults)} faults {one.faults[:3]}, {dict(one.versions)}", "")
            by_version = ", ".join(f"{count} by version {name}" for name, count in sorted(traffic.versions.items()))
            step.result = (
                f"{traffic.versions.total()} requests, none failed: {by_version}; {beside.versions.total()} of {SECOND}"
            )

    def history(self) -> None:
        """What the ledger says of all that."""
        for entry in self.decisions():
            self.report.add("  ledger", 0, f"{entry['action']} version {entry['version']} (from {entry['previous']})")

    def decisions(self) -> list[dict[str, Any]]:
        """The ledger, oldest first."""
        return list(json.loads(self.script("history"))["decisions"])

    def script(self, name: str) -> str:
        """What `pipeline.py NAME` printed. Raises StepFailed."""
        done = self.stack.script(name)
        if done.returncode != 0:
            raise StepFailed(f"{name} ended with {done.returncode}", "what it said is above")
        return done.stdout

    def verdict(self) -> str:
        """The ledger's newest entry in one line."""
        entry = self.decisions()[-1]
        failed = [reason["text"] for reason in entry["reasons"] if not reason["passed"]]
        why = failed or [reason["text"] for reason in entry["reasons"] if reason["code"] == "gain"]
        return f"version {entry['version']} {entry['action']}: {'; '.join(why)}"

    def expect_served(self, version: str, name: str | None = None) -> None:
        """Returns once the api serves `version`. Raises StepFailed when it does not, in SWAP_SECONDS."""
        deadline = time.monotonic() + SWAP_SECONDS
        while True:
            model = served_model(self.api, name)
            if model is not None and model["version"] == version:
                return
            if time.monotonic() > deadline:
                found = model and model["version"]
                raise StepFailed(f"version {version} should be served, but {found} is", "see `make history`")
            time.sleep(0.2)


def run_chapters(loop: Loop) -> None:
    """The whole story in order."""
    loop.train_first()
    loop.drift()
    loop.refuse()
    loop.promote()
    loop.history()


@contextmanager
def processes(settings: Settings) -> Iterator[Processes]:
    """The programs from nothing, with a state of their own; their logs stay in var/loop/var/log."""
    state = settings.root / "var" / "loop"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    settings = replace(settings, state=state, environment={**settings.environment, **BY_HAND})
    with started(settings, SERVICES):
        yield Processes(settings)


@contextmanager
def containers(settings: Settings) -> Iterator[Containers]:
    """The containers from nothing, and at the end nothing of them."""
    with own_project(settings, PROJECT, **BY_HAND) as stack:
        stack.compose.run("up", "--build", "--detach", "--wait", "--wait-timeout", "600", *SERVICES)
        yield stack


def run_loop(settings: Settings, report: Report, in_containers: bool) -> None:
    """Makes the tables, starts the stack, tells the story. Raises StackError; everything is stopped either way."""
    folder = settings.root / "data" / "loop"
    folder.mkdir(exist_ok=True)
    write_pipelines(folder, MODEL, SECOND)
    settings = replace(settings, model_name=MODEL, config=folder / "loop.yaml")
    stack: Callable[[Settings], AbstractContextManager[Processes | Containers]] = (
        containers if in_containers else processes
    )
    with stack(settings) as running:
        run_chapters(Loop(running, report, folder))


def main(arguments: Sequence[str]) -> int:
    """0 when the story ended as it should; otherwise 1 and what to do. 130 when interrupted."""

    def work() -> int:
        report = Report()
        run_loop(read_settings(), report, "containers" in arguments)
        report.print_table("The closed loop")
        return 0

    return guarded(work, "loop")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
