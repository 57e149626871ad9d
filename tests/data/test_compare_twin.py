"""What a model learns from the synthetic twin carries over to real wines."""

from pathlib import Path

import pytest
from compare_twin import errors

REAL = Path(__file__).parents[3] / "shared" / "data"


def test_trees_of_the_twin_do_clearly_better_than_the_mean_on_real_wines() -> None:
    files = {kind: REAL / f"winequality-{kind}.csv" for kind in ("red", "white")}
    if not all(path.is_file() for path in files.values()):
        pytest.skip(f"the real wine files are not in {REAL}")
    found = errors(files)
    assert found["trees trained on the twin"] < 0.85 * found["the twin's mean"]
