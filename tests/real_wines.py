"""The real wines, in the folder data of `EXTRAS` (CONTRIBUTING.md): they are not the project's to hand on."""

import os
from pathlib import Path

import pytest


def real_wines(kind: str) -> Path:
    """The file of `red` or `white` wines; skips the test where it is not there."""
    if not os.environ.get("EXTRAS"):
        pytest.skip("EXTRAS names no folder with the real wines")
    path = Path(os.environ["EXTRAS"], "data", f"winequality-{kind}.csv")
    if not path.is_file():
        pytest.skip(f"the real wines are not at {path}")
    return path
