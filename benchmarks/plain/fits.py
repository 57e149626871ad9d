"""The bare script of `benchmarks/overhead.py`: fits these trials with pandas and scikit-learn, and nothing else.

    python fits.py wine.csv trials.json JOBS

Three folds of seven tenths of the rows for each trial, then the best one on all of them. Prints its error as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBRegressor

KINDS = {"extra_trees": ExtraTreesRegressor, "random_forest": RandomForestRegressor, "xgboost": XGBRegressor}


def model(parameters: dict[str, Any], numbers: list[str], jobs: int) -> Pipeline:
    """An unfitted pipeline like the project's."""
    rest = {name: value for name, value in parameters.items() if name != "candidate"}
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("numbers", SimpleImputer(), numbers), ("words", words, ["type"])])
    return Pipeline(
        [("columns", columns), ("model", KINDS[parameters["candidate"]](random_state=7, n_jobs=jobs, **rest))]
    )


def main(source: str, trials_file: str, jobs: str) -> None:
    trials = json.loads(Path(trials_file).read_text(encoding="utf-8"))
    table = pd.read_csv(source).drop_duplicates()
    random = np.random.default_rng(7)
    part = random.random(len(table))
    train, test = table[part >= 0.3], table[part < 0.2]
    features, target = train.drop(columns="quality"), train["quality"].to_numpy()
    numbers = [name for name in features if name != "type"]
    folds = random.integers(0, 3, len(train))

    def validate(parameters: dict[str, Any]) -> float:
        errors = []
        for fold in range(3):
            held = folds == fold
            fitted = model(parameters, numbers, 1).fit(features[~held], target[~held])
            errors.append(np.abs(fitted.predict(features[held]) - target[held]).mean())
        return float(np.mean(errors))

    scores = Parallel(n_jobs=int(jobs))(delayed(validate)(parameters) for parameters in trials)
    winner = model(trials[int(np.argmin(scores))], numbers, -1).fit(features, target)
    error = np.abs(winner.predict(test.drop(columns="quality")) - test["quality"]).mean()
    print(json.dumps({"mae": float(error)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
