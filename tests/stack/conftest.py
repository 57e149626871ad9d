"""Where the drivers are, and a helper that makes small programs for them to drive."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers import held_port, json_servers

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "airflow")]

from stack.processes import Program
from stack.settings import PORTS


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


@pytest.fixture
def json_server() -> Iterator[Callable[..., str]]:
    with json_servers() as start:
        yield start
