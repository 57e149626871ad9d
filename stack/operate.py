"""What `make` does with the running stack, as containers or else beside `make run`: train, status, history and more."""

import subprocess
import sys

import httpx

from stack import programs
from stack.airflow_client import TaskState
from stack.clients import password, sign_in
from stack.compose import Compose
from stack.errors import StackError, StepFailed
from stack.settings import Settings, read_settings

TRAIN_SECONDS = 7200.0
SCRIPTS = ("status", "history", "rollback", "sign", "keys")


def running(compose: Compose) -> bool:
    """Whether Airflow runs as a container. Where no engine answers, none does."""
    try:
        return "airflow" in compose.services()
    except StackError:
        return False


def configuration(settings: Settings, compose: Compose | None) -> dict[str, object]:
    """The DAG's parameters, as the trigger form would give them. Raises StepFailed for a wrong `TRIALS` or `DATA`, and
    if the container has another pipeline file."""
    conf: dict[str, object] = {}
    if trials := settings.environment.get("TRIALS"):
        if not trials.isdecimal() or int(trials) == 0:
            raise StepFailed(f"TRIALS={trials}: expected a number of trials from 1 on", "for example TRIALS=20")
        conf["trials"] = int(trials)
    if compose is None:
        conf |= {"config": str(settings.config), "name": settings.model_name}
        return conf | ({"data": str(settings.data)} if settings.data else {})
    file = inside(settings)
    trainer = compose.trainer()
    if compose.run("exec", "-T", trainer, "cat", file) != settings.config.read_text(encoding="utf-8"):
        raise StepFailed(f"Airflow still has an earlier version of {file}", f"docker compose restart {trainer}")
    if settings.data:
        if not settings.data.is_relative_to(settings.root / "data"):
            hint = "copy it into data/ and name it there; the container can read no other folder"
            raise StepFailed(f"DATA={settings.data}: expected a file in the folder data/", hint)
        conf["data"] = f"data/{settings.data.relative_to(settings.root / 'data')}"
    return conf


def inside(settings: Settings) -> str:
    """The pipeline file as the container sees it. Raises StepFailed for one that it does not see."""
    try:
        return settings.config.relative_to(settings.root).as_posix()
    except ValueError:
        raise StepFailed(
            f"{settings.config}: expected pipeline.yaml or a file in the folder pipelines/",
            "copy it into pipelines/; the container can read no other folder",
        ) from None


def train(settings: Settings, compose: Compose | None) -> None:
    """Triggers the pipeline's training and follows it to its end. Raises StepFailed."""
    conf = configuration(settings, compose)
    try:
        airflow = sign_in(settings, compose)
    except httpx.TransportError as error:
        raise StepFailed(
            f"Airflow does not answer at {settings.url('airflow')} ({type(error).__name__})",
            "start it: `make up`, or `make run` in another terminal; AIRFLOW_PORT must be the same for both",
        ) from error
    dag = settings.dag("train")
    run_id = airflow.trigger(conf, dag)
    print(f"{run_id}: {airflow.url}/dags/{dag}/runs", flush=True)
    airflow.follow(run_id, TRAIN_SECONDS, print_task, dag)


def print_task(task: TaskState) -> None:
    """One line for a task that ended."""
    print(f"{task.name:<10} {task.state:<10} {task.seconds:6.1f} s", flush=True)


def script(settings: Settings, compose: Compose | None, name: str, options: list[str]) -> int:
    """Runs `pipeline.py NAME`, which speaks to the tracking server; its exit code. What it says is on stderr."""
    if compose:
        model = [] if name == "keys" else ["--config", inside(settings)]
        python = ["exec", "-T", compose.trainer(), "/opt/training/bin/python"]
        command = ["docker", "compose", *python, "scripts/pipeline.py", name, *model, *options]
        environment = dict(settings.environment)
    else:
        model = [] if name == "keys" else ["--config", str(settings.config), "--name", settings.model_name]
        command = [settings.python("training"), "scripts/pipeline.py", name, *model, *options]
        environment = programs.training_environment(settings)
    done = subprocess.run(command, cwd=settings.root, env=environment, check=False, stdout=subprocess.DEVNULL)
    return done.returncode


def embed(settings: Settings, compose: Compose | None, options: list[str]) -> int:
    """Adds documents in bulk to those of `make run`; the exit code. Raises StepFailed."""
    if compose:
        hint = "docker compose run --rm rag-embed documents --collection NAME (rag/docs/how-to/bulk.md)"
        raise StepFailed("`make embed` is for `make run`, but the documents are in containers", hint)
    if not options[:1] or not options[0]:
        raise StepFailed("FROM= is missing: which documents?", "make embed FROM=folder, or FROM=s3://bucket/prefix")
    command = [settings.python("rag"), "-m", "rag_service", "embed", *options]
    return subprocess.run(command, cwd=settings.root, env=programs.embedding(settings), check=False).returncode


def operate(settings: Settings, task: str, options: list[str]) -> int:
    """Does `task`; returns its exit code. Raises StackError, and httpx.TransportError if Airflow stops answering."""
    compose: Compose | None = Compose(settings.root, settings.environment)
    if compose and not running(compose):
        compose = None
    if task == "status" and not any(settings.environment.get(name) for name in ("PIPELINE", "CONFIG", "DATA")):
        options = ["--all", *options]
    if task in SCRIPTS:
        return script(settings, compose, task, options)
    if task == "embed":
        return embed(settings, compose, options)
    if task == "password":
        print(password(settings, compose))
    else:
        train(settings, compose)
        script(settings, compose, "status", [])  # a refusal by the gate is a success of the run
    return 0


def main() -> int:
    """0, or 1 with what to do; of a script, its own exit code."""
    task, *options = sys.argv[1:] or ["train"]
    try:
        return operate(read_settings(), task, options)
    except StackError as error:
        print(f"{error}\n  hint: {error.hint}", file=sys.stderr)
        return 1
    except httpx.TransportError as error:
        print(
            f"Airflow stopped answering ({type(error).__name__}); the run may still be active\n"
            "  hint: see Airflow's page, and its log: `make logs`, or var/ with `make run`",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("Stopped following; the run continues in Airflow.", file=sys.stderr)
        return 0


if __name__ == "__main__":
    sys.exit(main())
