"""`make backup` and `make restore`: everything that persists as one file, taken while the stack runs.

Standard library only: a machine with Docker and a Python needs nothing else for it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from stack.compose import Compose
from stack.env_file import with_env_file
from stack.errors import StackError, StepFailed, guarded
from stack.state import archive
from stack.state.archive import Manifest
from stack.state.folders import Member, Unusable, plain
from stack.state.places import Containers, Place, Processes, Put

ROOT = Path(__file__).resolve().parents[2]
SECRETS, NOTES = "secrets/", "notes/"  # how the names of members begin
NOTED = ("pipeline.yaml", "pipelines", ".env")


def place_of(compose: Compose) -> Place:
    """Containers where they run, or where `STACK=containers` or a COMPOSE_FILE says so; else processes."""
    if compose.environment.get("STACK") == "containers" or compose.environment.get("COMPOSE_FILE"):
        return Containers(compose)
    try:
        running = compose.services()
    except StackError:  # no engine answers
        running = set()
    return Containers(compose) if "airflow" in running else Processes(compose.root, compose.environment)


def backup(place: Place, root: Path, folder: Path) -> Path:
    """Writes a backup into `folder` and returns its path. Raises StackError."""
    path = folder / time.strftime("backup-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime())
    manifest = Manifest(place.profile, archive.versions(root))
    try:
        with archive.workplace(folder) as work:
            archive.write(path, work, manifest, _all(place, root, work))
    except Unusable as error:
        raise StepFailed(str(error), "nothing was written") from error
    except OSError as error:
        where = error.filename or folder
        raise StepFailed(f"the backup failed at {where}: {error.strerror or error}", "nothing was written") from error
    place.note_backup()
    print(f"{path} {archive.megabytes(path.stat().st_size)}", flush=True)
    return path


def _all(place: Place, root: Path, work: Path) -> Iterator[Member]:
    secrets = root / "var" / "secrets"
    kept = [(SECRETS, path) for path in sorted(secrets.glob("*")) if place.profile == "production"]
    for name in NOTED:
        found = sorted((root / name).glob("*")) if (root / name).is_dir() else [root / name]
        kept += [(NOTES, path) for path in found if path.is_file()]
    for kind, path in kept:
        yield from plain(kind + str(path.relative_to(secrets if kind == SECRETS else root)), path)
    yield from place.saved(work)


def restore(compose: Compose, path: Path) -> None:
    """Puts a backup back where it was taken from, once nothing runs and nothing is there. Raises StackError."""
    root = compose.root
    manifest = archive.check(path, root)
    print(f"{path}: complete; made at {manifest.made_at} from the profile {manifest.profile}", flush=True)
    place: Place = Processes(root, compose.environment) if manifest.profile == "processes" else Containers(compose)
    if manifest.profile != place.profile:
        hint = "set no COMPOSE_FILE" if manifest.profile == "containers" else "make restore PROFILE=production FROM=…"
        raise StepFailed(f"it is a backup of the profile {manifest.profile}, but this is {place.profile}", hint)
    if running := place.running():
        raise StepFailed(
            f"still running: {', '.join(running)}", "stop them first: `make down`, or Ctrl-C in `make run`"
        )
    put: Put | None = None
    with ExitStack() as stack:
        try:
            for info, content in archive.members(path):
                if info.name.startswith(SECRETS) and content:
                    _put_secret(root / "var" / "secrets" / info.name.removeprefix(SECRETS), content.read())
                elif info.name.startswith(NOTES) and content:
                    note = root / "var" / "restored" / info.name.removeprefix(NOTES)
                    note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    note.write_bytes(content.read())
                elif info.name != archive.MANIFEST:
                    put = put or stack.enter_context(place.restoring())
                    put(info, content)
        except Unusable as error:
            raise StepFailed(str(error), f"to empty it: {place.emptied_by}") from error
        except OSError as error:
            raise StepFailed(f"the restore failed: {error}", "fix the cause and run the same command again") from error
    print("restored; the earlier settings (pipeline.yaml, pipelines/, .env) are in var/restored", flush=True)


def _put_secret(path: Path, content: bytes) -> None:
    """Raises StepFailed for a secret that is there and is another: databases and connections need the one of then."""
    if path.exists() and path.read_bytes() != content:
        raise StepFailed(f"{path} differs from the one in the backup", f"move {path.parent} away, and restore again")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    path.write_bytes(content)
    path.chmod(0o644)  # as `make secrets` makes them


def main(arguments: list[str]) -> int:
    """`backup` or `restore`, with the place in TO or FROM; 0, or 1 with what to do."""
    [task] = arguments

    def work() -> int:
        environment = with_env_file(os.environ, ROOT)
        compose = Compose(ROOT, environment)
        if task == "backup":
            backup(place_of(compose), ROOT, _path(environment.get("TO") or str(ROOT / "var" / "backups")))
        elif environment.get("FROM"):
            restore(compose, _path(environment["FROM"]))
        else:
            raise StepFailed("which backup?", "make restore FROM=var/backups/backup-….tar.gz")
        return 0

    return guarded(work, task, "interrupted")


def _path(text: str) -> Path:
    return Path(text).expanduser().resolve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
