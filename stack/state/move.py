"""`make move`: from the default stack's SQLite to the production stack's PostgreSQL.

Artifacts, the prediction log and signing keys lie in volumes that both stacks use. A backup is taken first, and
MLflow's and Airflow's databases are copied out of it; the documents' store is only read: the default stack stays as it
was. Standard library only.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from stack import secret_files
from stack.compose import Compose, check_engine
from stack.env_file import with_env_file
from stack.errors import StepFailed, guarded
from stack.state import archive
from stack.state.backup import ROOT, backup
from stack.state.places import FOLDERS, Containers

PRODUCTION = "docker-compose.yml:docker-compose.production.yml"
# Of each service: its file in the backup, and the tables that a PostgreSQL that was used has rows in.
DATABASES = {
    "mlflow": ("mlflow/mlflow.db", ("runs", "registered_models")),
    "airflow": ("airflow/airflow.db", ("dag_run", "connection", "variable")),
}
AGAIN = "interrupted; the same command does what is left"
STARTED = {"postgres", "redis", "mlflow", "airflow"}  # a killed move leaves them running
_KEYS = "airflow/airflow.cfg"


def move(compose: Compose) -> None:
    """Raises StackError; done again after a kill, it does what is left."""
    root = compose.root
    check_engine(root, compose.environment)
    default, production = (
        Compose(root, {**compose.environment, "COMPOSE_FILE": files}) for files in ("docker-compose.yml", PRODUCTION)
    )
    running = production.services()
    if in_use := running - (STARTED if "postgres" in running else set()):
        raise StepFailed(f"still running: {', '.join(sorted(in_use))}", "stop them first: make down PROFILE=production")
    file = backup(Containers(default), root, root / "var" / "backups")
    with archive.workplace(root / "var" / "move") as work:
        _unpack(file, work)
        _write_secrets(root / "var" / "secrets", work / "airflow.cfg")
        print("starting PostgreSQL, MLflow and Airflow, which make their tables", flush=True)
        production.run("build", "mlflow", "airflow", "rag")
        production.run("up", "--detach", "--wait", "postgres", "mlflow", "airflow")
        production.run("stop", "mlflow", "airflow", "redis")
        for name, (_, must_be_empty) in DATABASES.items():
            print(f"{name}:\n{_run(production, name, work, 'copy_database.py', *must_be_empty)}", flush=True)
        print(_run(production, "mlflow", work, "compare_mlflow.py"), flush=True)
        moved = production.run("run", "--rm", "--no-deps", "-T", "rag", "python", "-m", "rag_service", "move")
        print(f"documents:\n{moved}", flush=True)
    production.run("down")
    print(
        f"moved; the default stack is unchanged, with a backup in {file}. Next: make up PROFILE=production", flush=True
    )


def _unpack(file: Path, work: Path) -> None:
    """The databases and Airflow's keys, which a container's user can read, in a folder that is private."""
    wanted = {FOLDERS + name for name in (_KEYS, *(path for path, _ in DATABASES.values()))}
    for info, content in archive.members(file):
        if info.name in wanted and content:
            path = work / Path(info.name).name
            with path.open("wb") as target:
                shutil.copyfileobj(content, target)
            path.chmod(0o644)
            wanted.remove(info.name)
    if wanted:
        raise StepFailed(f"the default stack has no {', '.join(sorted(wanted))}", "there is nothing to move")


def _write_secrets(folder: Path, keys: Path) -> None:
    """Makes what `make secrets` does, but with the key that Airflow's connections are encrypted with now."""
    found = re.search(r"^fernet_key = (\S+)$", keys.read_text(encoding="utf-8"), re.M)
    if found is None:
        raise StepFailed("Airflow's airflow.cfg has no fernet_key", "start the default stack once: make up")
    path = folder / "airflow_fernet_key"
    if path.exists() and path.read_text(encoding="ascii").strip() != found[1]:
        raise StepFailed(
            f"{path} is not the default stack's key, so Airflow's connections could not be read",
            f"remove {path}; the move then writes the right one",
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(f"{found[1]}\n", encoding="ascii")
    path.chmod(0o644)
    secret_files.write(folder)


def _run(production: Compose, name: str, work: Path, program: str, *arguments: str) -> str:
    """Runs a program of this folder with a copied database, by the libraries of the service's own image."""
    source = work / Path(DATABASES[name][0]).name
    url = f"postgresql+psycopg2://{name}:$(cat /run/secrets/postgres_{name}_password)@postgres/{name}"
    command = f'TARGET_URL="{url}" exec python -B /copy/program.py /copy/source.db {" ".join(arguments)}'
    mounts = (
        "-v",
        f"{production.root}/stack/state/{program}:/copy/program.py:ro",
        "-v",
        f"{source}:/copy/source.db:ro",
    )
    return production.run("run", "--rm", "--no-deps", "-T", *mounts, "--entrypoint", "sh", name, "-c", command)


def main() -> int:
    """0, or 1 with what to do."""

    def work() -> int:
        move(Compose(ROOT, with_env_file(os.environ, ROOT)))
        return 0

    return guarded(work, "move", AGAIN)


if __name__ == "__main__":
    sys.exit(main())
