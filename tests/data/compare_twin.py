"""How far a model trained on the synthetic twin carries over to the real wines: the table in data/README.md.

.venvs/training/bin/python tests/data/compare_twin.py RED WHITE        (the real files, commas or semicolons)
"""

import sys
from pathlib import Path

import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor

TWIN = Path(__file__).parents[2] / "data" / "wine-sample.csv"


def features(wines: pd.DataFrame) -> pd.DataFrame:
    """The measures, and 1 for red."""
    return wines.drop(columns="quality").assign(type=(wines["type"] == "red").astype(float))


def errors(files: dict[str, Path]) -> dict[str, float]:
    """Mean absolute errors on the real wines, by what predicts them, from the real files by type of wine."""
    real = pd.concat([pd.read_csv(path, sep="[;,]", engine="python").assign(type=kind) for kind, path in files.items()])
    twin = pd.read_csv(TWIN)
    model = ExtraTreesRegressor(n_estimators=300, min_samples_leaf=3, random_state=0, n_jobs=2)
    error = (model.fit(features(twin), twin["quality"]).predict(features(real)) - real["quality"]).abs()
    return {
        "the twin's mean": (real["quality"] - twin["quality"].mean()).abs().mean(),
        "the twin's median": (real["quality"] - twin["quality"].median()).abs().mean(),
        "trees trained on the twin": error.mean(),
        **{f"  of these, {kind}": error[real["type"] == kind].mean() for kind in files},
    }


if __name__ == "__main__":
    for name, value in errors({"red": Path(sys.argv[1]), "white": Path(sys.argv[2])}).items():
        print(f"{name:<26} {value:.3f}")
