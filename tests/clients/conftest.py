"""The service as other people's clients meet it: a program of its own, asked over HTTP."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODELS = {"wine-quality", "tumour", "sum", "typed"}


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Of the service, once all models are live."""
    python = ROOT / ".venvs" / "api" / "bin" / "python"
    folders = [ROOT / "api", ROOT / "tests", ROOT / "tests" / "api"]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    command = [python, Path(__file__).with_name("serve.py")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=variables, text=True, **pipes) as process:  # type: ignore[call-overload]
        url = process.stdout.readline().strip()
        deadline = time.monotonic() + 120
        while _ready(url) != MODELS:
            assert process.poll() is None, "the service ended"
            assert time.monotonic() < deadline, "the models did not go live"
            time.sleep(0.1)
        yield url
        process.stdin.close()


def _ready(url: str) -> set[str]:
    with urllib.request.urlopen(f"{url}/models", timeout=30) as answer:
        return {one["name"] for one in json.load(answer)["models"] if one["ready"]}
