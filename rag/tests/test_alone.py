"""This folder is complete in itself: copied elsewhere alone, it works as its README says."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[1]
_NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*_cache", ".cov*", ".venv*", ".env", "var", "tests", "benchmarks")


@pytest.fixture
def alone(tmp_path: Path, models_dir: Path) -> Path:
    """A copy of the folder, with settings in its `.env`; only what the tests would make again is shared: models."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(HERE, folder, ignore=_NOT_COPIED)
    (folder / ".env").write_text(f"RAG_GENERATOR=none\nRAG_MODELS_DIR={models_dir}\nRAG_CHUNK_TOKENS=150\n")
    return folder


def run(command: list[str], folder: Path) -> str:
    """What a command prints that is run in the folder, with nothing in its environment that leads back here."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_of_the_readme_work_in_a_copy(alone: Path) -> None:
    start = (alone / "README.md").read_text().split("\n## ")[1]
    ingest, ask = (re.findall(rf"^python -m (rag_service {word} .+)$", start, re.M)[0] for word in ("ingest", "ask"))

    said = run([sys.executable, "-m", *shlex.split(ingest)], alone)
    answer = json.loads(run([sys.executable, "-m", *shlex.split(ask)], alone))

    assert re.search(r"^(\d+) files: \1 indexed, 0 unchanged, 0 failed$", said, re.M)
    shown = json.loads(re.findall(r"```json\n(.+?)```", start, re.S)[0])
    assert answer["answer"] == shown["answer"]
    sources = [citation["document"] for citation in shown["citations"]]
    assert [citation["document"] for citation in answer["citations"]][: len(sources)] == sources
    assert [
        path.name for path in (alone / "var" / "rag").iterdir() if path.is_dir()
    ] == []  # models are where .env says


def composed(folder: Path) -> dict[str, Any]:
    """The service as Compose would start it there."""
    if shutil.which("docker") is None:
        pytest.skip("there is no docker here")
    service: dict[str, Any] = json.loads(run(["docker", "compose", "config", "--format", "json"], folder))["services"][
        "rag"
    ]
    return service


def test_every_variable_of_the_example_reaches_the_container(alone: Path) -> None:
    names = set(re.findall(r"^#(RAG_\w+)=", (alone / ".env.example").read_text(), re.M))
    names -= {"RAG_HOST", "RAG_PORT", "RAG_DATA_DIR", "RAG_MODELS_DIR"}  # the container's own
    mine = {name: f"my {name}" for name in names} | {"RAG_MLFLOW_TRACKING_URI": "http://mlflow:5001"}
    lines = [f"{name}='{value}'\n" for name, value in mine.items()]
    (alone / ".env").write_text("".join([*lines, "BIND_ADDRESS=127.0.0.9\n", "API_KEY=of another service\n"]))
    service = composed(alone)
    mine["MLFLOW_TRACKING_URI"] = mine.pop("RAG_MLFLOW_TRACKING_URI")
    found = {name: value for name, value in service["environment"].items() if name in mine}
    assert found == mine
    assert "API_KEY" not in service["environment"]
    assert [port["host_ip"] for port in service["ports"]] == ["127.0.0.9"]


def test_compose_needs_nothing_outside_a_copy(alone: Path) -> None:
    service = composed(alone)
    assert service["build"]["context"] == str(alone)
    mounted = [Path(volume["source"]) for volume in service["volumes"] if volume["type"] == "bind"]
    assert mounted == [alone / "documents"]
    # What .env says reaches the container, but not where the command line keeps things on this machine.
    assert service["environment"]["RAG_CHUNK_TOKENS"] == "150"
    assert service["environment"]["RAG_MODELS_DIR"] == "/var/lib/rag/models"
    recipe = (alone / "Dockerfile").read_text()
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", recipe, re.M):
        assert all((alone / name).exists() for name in copied.split())
