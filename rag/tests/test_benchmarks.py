"""Every benchmark can be started: what it imports is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RAG = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "file",
    [one for one in sorted((RAG / "benchmarks").glob("*.py")) if "__main__" in one.read_text()],
    ids=lambda file: file.stem,
)
def test_a_benchmark_says_how_it_is_called(file: Path) -> None:
    command = [sys.executable, str(file), "--help"]
    environment = {**os.environ, "PYTHONPATH": str(RAG)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout[:6]) == (0, "usage:"), done.stderr
