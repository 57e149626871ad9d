"""The README: short, its tasks and files exist, its calls can be read. `make e2e` runs the calls, CI `make demo`."""

import re
import subprocess
from pathlib import Path

import pytest

from stack import readme

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_it_is_under_150_lines() -> None:
    assert len(TEXT.splitlines()) < 150


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z0-9]+)\b", TEXT)) - {"alone"}))
def test_every_task_exists(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), f"no task {target!r} in the Makefile"


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"[`(@]((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:yaml|md))[`)\s]", TEXT)))
)
def test_every_path_exists(path: str) -> None:
    yours = ("data/churn.csv", "data/your.csv", "churn.yaml", "pipelines/churn.yaml")
    assert path in yours or any((ROOT / folder / path).exists() for folder in ("", "scripts")), path


def test_its_commands_are_few_and_known() -> None:
    first_words = {command.split()[0] for command in readme.commands(README)}
    assert first_words == {"make", "docker", "curl"}
    for command in readme.commands(README):
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_both_services_are_called_and_their_answers_shown() -> None:
    calls = dict(readme.calls(README))
    shown = [answer for answer in calls.values() if answer is not None]
    assert {"prediction", "interval", "id", "model"} <= set(shown[0])
    assert {"answer", "citations", "answered_by"} <= set(shown[1])
