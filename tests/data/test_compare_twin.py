"""What a model learns from the synthetic twin carries over to real wines."""

from compare_twin import errors
from real_wines import real_wines


def test_trees_of_the_twin_do_clearly_better_than_the_mean_on_real_wines() -> None:
    found = errors({kind: real_wines(kind) for kind in ("red", "white")})
    assert found["trees trained on the twin"] < 0.85 * found["the twin's mean"]
