"""`make train` and `make password`, on the Compose stack that is running."""

import sys

from stack.airflow_client import Airflow, TaskState
from stack.compose import Compose, check_engine
from stack.errors import StackError, StepFailed
from stack.settings import Settings, read_settings

TRAIN_SECONDS = 7200.0


def train(settings: Settings, compose: Compose) -> None:
    """Triggers `train_model` and follows it to its end. `DATA` is a path inside data/, `TRIALS` a number."""
    if compose.run("exec", "-T", "airflow", "cat", "pipeline.yaml") != settings.config.read_text(encoding="utf-8"):
        raise StepFailed("Airflow still sees the pipeline.yaml of before", "docker compose restart airflow")
    conf: dict[str, object] = {}
    if settings.environment.get("TRIALS"):
        conf["trials"] = int(settings.environment["TRIALS"])
    if settings.data:
        # The container sees the folder data/ and nothing else of this machine.
        inside = settings.data.relative_to(settings.root / "data")
        conf["data"] = f"data/{inside}"
    airflow = Airflow(settings.url("airflow"), compose.password())
    run_id = airflow.trigger(conf)
    print(f"{run_id}: {settings.url('airflow')}/dags/train_model/runs", flush=True)
    airflow.follow(run_id, TRAIN_SECONDS, print_task)


def print_task(task: TaskState) -> None:
    """One line for a task that ended."""
    print(f"{task.name:<10} {task.state:<10} {task.seconds:6.1f} s", flush=True)


def main() -> int:
    """0, or 1 with what to do."""
    try:
        settings = read_settings()
        compose = Compose(settings.root, settings.environment)
        check_engine(settings.root, settings.environment)
        if "password" in sys.argv[1:]:
            print(compose.password())
        else:
            train(settings, compose)
    except StackError as error:
        print(f"{error}\n  hint: {error.hint}", file=sys.stderr)
        return 1
    except ValueError:
        print(
            "TRIALS takes a number; DATA takes a file in the folder data/, because the container sees no other",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("no longer followed; the run goes on in Airflow", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
