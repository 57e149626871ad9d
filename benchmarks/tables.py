"""Tables of your own, from check to served prediction, each beside a plain HistGradientBoosting on the same split.

    .venvs/training/bin/python benchmarks/tables.py pipelines/*.yaml [--trials 6] [--rows 200]

Each pipeline file is checked, trained and promoted (gate off) by the command line, against a tracking server of its
own. Then one prediction service serves all of them: rows of each file are posted one by one as JSON, first as pandas
types them and then as text, and the whole file as CSV; a row that is refused counts. The other model is
scikit-learn's HistGradientBoosting with its defaults, fitted on the same training rows, judged on the same test rows.
Prints one line for each table; exit code 1 where a table did not come through or a row of it was refused.
"""

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import requests
from overhead import ROOT, tracking_server, wait_until_up
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from servers import held_port, server_running
from training import config as configuration
from training.data import files, table
from training.data.spark import session
from training.evaluation import metrics

SERVED_SECONDS = 120


def pipeline(command: str, config: Path, environment: dict[str, str], *options: str) -> tuple[float, dict[str, Any]]:
    """Seconds that a command of the pipeline took, and its JSON; on failure with its "detail"."""
    start = time.perf_counter()
    program = [sys.executable, "scripts/pipeline.py", command, "--config", str(config), *options]
    done = subprocess.run(program, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    answer = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {"detail": done.stderr[-500:]}
    return time.perf_counter() - start, answer | {"code": done.returncode}


def plain(config: configuration.Config) -> float:
    """The search's metric of HistGradientBoosting on this configuration's test rows, fitted on its training rows."""
    loaded = table.load(session("tables"), files.find(config.data, quiet=True), config)
    labels = loaded.labels() if config.data.task == "classification" else []
    train, test = (loaded.rows(part, labels) for part in ("train", "test"))
    texts = [name for name in train.features if train.features[name].dtype == object]
    kinds = {name: pd.CategoricalDtype(sorted(set(train.features[name]))) for name in texts}
    frames = [part.features.astype(kinds) for part in (train, test)]
    few = all(len(kind.categories) < 255 for kind in kinds.values())
    known = frames if few else [frame.drop(columns=texts) for frame in frames]
    options = {"categorical_features": "from_dtype", "random_state": 0}
    if not labels:
        model = HistGradientBoostingRegressor(**options).fit(known[0], train.target)
        predicted = model.predict(known[1])
    else:
        model = HistGradientBoostingClassifier(**options).fit(known[0], train.target)
        predicted = np.zeros((len(test.target), len(labels)))
        predicted[:, model.classes_] = model.predict_proba(known[1])
    return metrics.score(config.search_metric, test.target, predicted)


def refused(api: str, config: configuration.Config, most: int) -> tuple[int, int, str]:
    """Rows of the file posted (the first `most`, and all of them as CSV), how many were refused, the first reason."""
    address, source = f"{api}/models/{config.name}/predict", Path(files.find(config.data, quiet=True).files[0])
    sent = failed = 0
    why = ""
    skipped = {config.data.target, *config.data.ignore}
    typed = pd.read_csv(source, nrows=most, sep=None, engine="python", keep_default_na=True)
    typed = typed.drop(columns=[name for name in typed if name in skipped])
    with source.open(encoding="utf-8-sig", newline="") as stream:
        texts = [
            {name: cell for name, cell in row.items() if name not in skipped}
            for row in itertools.islice(csv.DictReader(stream), most)
        ]
    for row in [*json.loads(typed.to_json(orient="records")), *texts]:
        answer = requests.post(address, json=row, timeout=30)
        sent, failed = sent + 1, failed + (answer.status_code != 200)
        why = why or (answer.text if answer.status_code != 200 else "")
    whole = pd.read_csv(source, dtype=str, keep_default_na=False, nrows=10_000)
    body = whole.drop(columns=[name for name in whole if name in skipped]).to_csv(index=False).encode()
    answer = requests.post(f"{address}/batch", data=body, headers={"Content-Type": "text/csv"}, timeout=120)
    sent, failed = sent + len(whole), failed + (0 if answer.status_code == 200 else len(whole))
    return sent, failed, why or (answer.text if answer.status_code != 200 else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipelines", nargs="+", type=Path)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--rows", type=int, default=200)
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as name, tracking_server(Path(name)) as tracking, held_port() as port:
        folder = Path(name)
        environment = os.environ | {
            "MLFLOW_TRACKING_URI": tracking,
            "SIGNING_KEY": str(folder / "signing" / "key.pem"),
            "SIGNING_PUBLIC_KEYS": str(folder / "public"),
        }
        wait_until_up(tracking)
        trained: dict[str, tuple[Any, ...]] = {}
        for path in options.pipelines:
            config = configuration.load(path)
            seconds, answer = pipeline("check", path, environment)
            training = 0.0
            if not answer["code"]:
                training, answer = pipeline("train", path, environment, "--trials", str(options.trials))
            if not answer["code"]:
                ours = answer["metrics"][config.search_metric]
                base = answer["metrics"].get(f"baseline_{config.gate_metric}", float("nan"))
                _, answer = pipeline("promote", path, environment, "--gate", "off")
            if answer["code"]:
                wrong += 1
                print(f"{config.name:<16} did not come through: {answer.get('detail')}", flush=True)
                continue
            trained[config.name] = (config, seconds, training, ours, base, plain(config))
        variables = {"MLFLOW_TRACKING_URI": tracking, "API_PORT": str(port), "API_HOST": "127.0.0.1"}
        variables |= {"PYTHONPATH": str(ROOT / "api"), "MODELS_DIR": str(folder / "models")}
        variables |= {
            "PREDICTION_LOG_DIR": str(folder / "log"),
            "SIGNING_PUBLIC_KEYS": environment["SIGNING_PUBLIC_KEYS"],
        }
        api = f"http://127.0.0.1:{port}"
        program = [str(ROOT / ".venvs" / "api" / "bin" / "python"), "-m", "prediction_api"]
        with server_running(program, folder, f"{api}/livez", variables):
            wait_until_served(api, set(trained))
            heads = "".join(f"{head:>9}" for head in ("ours", "HistGB", "baseline", "check s", "train s"))
            print(f"{'table':<16}{'metric':<10}{heads}  rows refused")
            for config, seconds, training, ours, base, other in trained.values():
                sent, failed, why = refused(api, config, options.rows)
                wrong += bool(failed)
                figures = f"{ours:>9.4g}{other:>9.4g}{base:>9.4g}{seconds:>9.1f}{training:>9.1f}"
                print(
                    f"{config.name:<16}{config.search_metric:<10}{figures}  {failed} of {sent} {why[:160]}", flush=True
                )
    return 1 if wrong else 0


def wait_until_served(api: str, names: set[str]) -> None:
    """Returns once every model is live. Raises TimeoutError naming those that are not."""
    deadline = time.monotonic() + SERVED_SECONDS
    while missing := names - {
        m["name"] for m in requests.get(f"{api}/models", timeout=10).json()["models"] if m["ready"]
    }:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not served: {', '.join(sorted(missing))}")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
