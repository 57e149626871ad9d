"""`make doctor`: what this machine has and lacks for the project, line by line, each with what to do about it.

Standard library only, because it runs where nothing else does yet. It prints no value of a setting and no secret.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from stack import setup
from stack.compose import Compose, check_engine, docker
from stack.env_file import with_env_file
from stack.errors import StackError
from stack.ports import HOST, PORTS
from stack.state import archive

GIGABYTE = 10**9
DISK, MEMORY = 10, 4  # gigabytes: environments or images and a first model; the stack at rest, and a training
OLDEST_COMPOSE = (2, 26)
DAY = 86_400
HEALTH = {"airflow": "/api/v2/version", "mlflow": "/health", "api": "/readyz", "rag": "/readyz"}
HUB = ("huggingface.co", 443)
GOOD, DOUBTFUL, BAD = "good", "note", "BAD"


@dataclass(frozen=True)
class Line:
    """`level`: BAD where something that was asked for cannot work, DOUBTFUL where it is worth knowing."""

    level: str
    what: str
    found: str
    remedy: str = ""


def machine(root: Path) -> Iterator[Line]:
    yield Line(GOOD, "system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    version = ".".join(map(str, sys.version_info[:3]))
    recent = sys.version_info >= setup.OLDEST_PYTHON
    yield Line(GOOD if recent else BAD, "Python", version, "3.9 or newer is needed: make PYTHON=/path/to/python3 …")
    free = shutil.disk_usage(root).free / GIGABYTE
    remedy = f"{DISK} GB are enough for environments, images and a first model"
    yield Line(GOOD if free > DISK else DOUBTFUL, "disk", f"{free:.0f} GB free", remedy)
    if "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIGABYTE
        remedy = f"{MEMORY} GB; with less, programs are killed while they train"
        yield Line(GOOD if memory > MEMORY else DOUBTFUL, "memory", f"{memory:.0f} GB", remedy)
    yield Line(GOOD, ".env", "read" if (root / ".env").exists() else "none, and none is needed")


def environments(root: Path) -> Iterator[Line]:
    for name in (*setup.LOCKS, "clients", "java"):
        made_from = setup.installed(name, root / ".venvs")
        if not made_from:
            if name in setup.LOCKS:
                yield Line(DOUBTFUL, f"environment {name}", "not made yet", "make setup; containers need none")
        elif made_from == setup.fingerprints(made_from, root):
            yield Line(GOOD, f"environment {name}", "as its lock files say")
        else:
            yield Line(
                DOUBTFUL, f"environment {name}", "made from other lock files, or with another Python", "make setup"
            )
    note = root / "var" / "java_home"
    if not note.exists():
        found = setup.java_home_of("java")
        yield Line(GOOD, "Java", str(found) if found else "none; `make setup` brings one")
    elif setup.java_home_of(str(Path(note.read_text().strip(), "bin", "java"))):
        yield Line(GOOD, "Java", note.read_text().strip())
    else:
        yield Line(BAD, "Java", f"{note.read_text().strip()} has no Java that runs", f"rm {note}; make setup")


def engine(root: Path, settings: Mapping[str, str]) -> Iterator[Line]:
    try:
        check_engine(root, settings)
        version = docker(["compose", "version", "--short"], root, settings).strip().lstrip("v")
    except StackError as error:
        yield Line(DOUBTFUL, "containers", str(error), error.hint or "make demo and make run need none")
        return
    recent = tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) >= OLDEST_COMPOSE
    yield Line(GOOD if recent else BAD, "Compose", version, "2.26 or newer is needed")
    for service, _ in Compose(root, settings).containers():
        yield Line(GOOD, "container", f"{service} runs")


def services(settings: Mapping[str, str]) -> Iterator[Line]:
    for name, usual in PORTS.items():
        port = int(settings.get(f"{name.upper()}_PORT") or usual)
        with socket.socket() as probe:
            probe.settimeout(2)
            if probe.connect_ex((HOST, port)) != 0:
                yield Line(GOOD, f"port {port}", f"free, for {name}")
                continue
        status, said = asked(f"http://{HOST}:{port}{HEALTH[name]}")
        remedy = f"what it says: {said}" if status else f"another program may have it: {name.upper()}_PORT={port + 10}"
        level = GOOD if status == 200 else DOUBTFUL
        yield Line(level, f"port {port}", f"{name} answers {status or 'nothing'}", remedy)


def asked(url: str) -> tuple[int, str]:
    """Status and beginning of the answer; 0 where there is none."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.read(200).decode(errors="replace")
    except (OSError, ValueError):
        return 0, ""


def hub(settings: Mapping[str, str]) -> Iterator[Line]:
    if (settings.get("RAG_OFFLINE") or "").lower() in ("1", "true", "yes"):
        return
    try:
        socket.create_connection(HUB, timeout=5).close()
    except OSError as error:
        remedy = "RAG_GENERATOR and RAG_EMBEDDER may name folders; without a generator, answers are quotations"
        yield Line(DOUBTFUL, "model hub", f"{HUB[0]} cannot be reached: {error}", remedy)
    else:
        yield Line(GOOD, "model hub", f"{HUB[0]} can be reached")


def keys(root: Path) -> Iterator[Line]:
    private = [root / "var" / "airflow" / "passwords.json", *sorted((root / "var" / "signing" / "private").glob("*"))]
    folders = [path for path in (root / "var" / "secrets", root / "var" / "signing" / "private") if path.is_dir()]
    for path in [*filter(Path.exists, private), *folders]:
        mode = stat.S_IMODE(path.stat().st_mode)
        name = path.relative_to(root)
        if mode & 0o077:
            remedy = f"chmod {'700' if path.is_dir() else '600'} {name}"
            yield Line(BAD, "keys", f"other users can read {name} ({mode:o})", remedy)
        else:
            yield Line(GOOD, "keys", f"only the owner can read {name}")


def state(root: Path) -> Iterator[Line]:
    for name, version in archive.versions(root).items():
        yield Line(GOOD, "formats", f"this version writes {name} {version}")
    queries = {
        "var/rag/store.db": "PRAGMA user_version",
        "mlruns/mlflow.db": "SELECT version_num FROM alembic_version",
        "var/airflow/airflow.db": "SELECT version_num FROM alembic_version",
    }
    for path, query in queries.items():
        if (root / path).exists():
            try:
                with closing(sqlite3.connect(f"file:{root / path}?mode=ro", uri=True)) as database:
                    found = str(database.execute(query).fetchone()[0])
            except (sqlite3.Error, TypeError) as error:
                yield Line(
                    BAD, "state", f"{path} cannot be read: {error}", "make restore FROM=… (docs/how-to/operations.md)"
                )
            else:
                yield Line(GOOD, "state", f"{path} has schema {found}")
    backups = sorted((root / "var" / "backups").glob("backup-*.tar.gz"))
    if backups:
        days = (time.time() - backups[-1].stat().st_mtime) / DAY
        yield Line(GOOD if days < 1 else DOUBTFUL, "backup", f"the newest is {days:.0f} days old", "make backup")
    elif (root / "var" / "airflow").exists():
        yield Line(DOUBTFUL, "backup", "none in var/backups", "make backup")


def looks(root: Path, settings: Mapping[str, str]) -> dict[str, Iterator[Line]]:
    """All lines, by what is looked at."""
    return {
        "machine": machine(root),
        "environments": environments(root),
        "containers": engine(root, settings),
        "services": services(settings),
        "model hub": hub(settings),
        "keys": keys(root),
        "state": state(root),
    }


def main(root: Path = setup.ROOT, environment: Mapping[str, str] = os.environ) -> int:
    """1 where a line is BAD."""
    bad = False
    for what, lines in looks(root, with_env_file(environment, root)).items():
        try:
            for line in lines:
                bad = bad or line.level == BAD
                remedy = f"  -> {line.remedy}" if line.level != GOOD and line.remedy else ""
                print(f"{line.level:<5} {line.what:<22} {line.found}{remedy}", flush=True)
        except (OSError, ValueError, StackError, subprocess.SubprocessError) as error:
            bad = True
            print(f"{BAD:<5} {what:<22} could not be checked: {error}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
