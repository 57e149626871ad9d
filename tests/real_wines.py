"""The real wines, where they are on this machine: they are not the project's to hand on."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "shared" / "data"


def real_wines(kind: str) -> Path:
    """The file of `red` or `white` wines; skips the test where it is not there."""
    path = FOLDER / f"winequality-{kind}.csv"
    if not path.is_file():
        pytest.skip(f"the real wines are not at {path}")
    return path
