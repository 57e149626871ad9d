"""What the pipeline costs beyond its fits: each step of the default run, beside a bare script that does the same fits.

    .venvs/training/bin/python benchmarks/overhead.py [--trials 10]

Check, train and promote run as the DAG runs them, against a tracking server of their own. The bare script reads the
same CSV with pandas and fits the same trials, with the parameters that the search proposed, on as many rows and folds,
in as many processes, then the winner once more. Prints one table; the overhead is the difference of the two trainings.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import yaml

from mlflow import MlflowClient

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "data" / "wine-sample.csv"
PORT = 5099
JOBS = 2  # as SPARK_MASTER=local[2]


@contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """A tracking server on SQLite in `folder`; gives its address."""
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(PORT), "--workers", "1"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([*server, *store], env=os.environ | quiet, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{PORT}"
        finally:
            process.terminate()
            process.wait()


def wait_until_up(address: str) -> None:
    """Returns once the server answers. Raises OSError after a minute."""
    deadline = time.monotonic() + 60
    while True:
        try:
            requests.get(f"{address}/health", timeout=2).raise_for_status()
        except requests.RequestException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, dict[str, Any]]:
    """Seconds that a command took, and its JSON. Raises CalledProcessError."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    return time.perf_counter() - start, dict(json.loads(done.stdout))


def proposed(address: str, run_id: str, experiment: str) -> list[dict[str, Any]]:
    """The parameters of every finished trial of a search, the best first."""
    client = MlflowClient(address)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise RuntimeError(f"no experiment {experiment}")
    runs = client.search_runs([found.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'", max_results=1000)
    trials = [(run.data.metrics["value"], run.data.params) for run in runs if "value" in run.data.metrics]
    trials.sort(key=lambda trial: trial[0])
    return [{name.removesuffix("_xgboost"): literal(value) for name, value in params.items()} for _, params in trials]


def literal(text: str) -> Any:
    """A number where it is one."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, tracking_server(Path(name)) as address:
        folder = Path(name)
        config = yaml.safe_load((ROOT / "pipeline.yaml").read_text(encoding="utf-8"))
        config["name"] = "overhead"
        config["data"] |= {"source": str(SAMPLE), "sample": str(SAMPLE)}
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        environment = os.environ | {
            "MLFLOW_TRACKING_URI": address,
            "SPARK_MASTER": f"local[{JOBS}]",
            "PYSPARK_PYTHON": sys.executable,
            "JAVA_HOME": (ROOT / "var" / "java_home").read_text(encoding="utf-8").strip(),
        }
        wait_until_up(address)
        common = ["--config", str(folder / "pipeline.yaml"), "--trials", str(options.trials)]
        seconds = {}
        for step in ("check", "train", "promote"):
            seconds[step], answer = timed([sys.executable, "scripts/pipeline.py", step, *common], environment)
            if step == "train":
                trials = proposed(address, answer["run_id"], "overhead")
        (folder / "trials.json").write_text(json.dumps(trials), encoding="utf-8")
        script = str(ROOT / "benchmarks" / "plain" / "fits.py")
        plain, answer = timed(
            [sys.executable, script, str(SAMPLE), str(folder / "trials.json"), str(JOBS)], environment
        )
    print(f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {len(trials)} trials, 3 folds")
    print(f"{'step':<34}{'seconds':>9}")
    for step, taken in seconds.items():
        print(f"{step:<34}{taken:>9.1f}")
    print(f"{'bare script, the same fits':<34}{plain:>9.1f}   (MAE {answer['mae']:.3f})")
    print(f"{'overhead of train over the bare fits':<34}{seconds['train'] - plain:>7.1f}")


if __name__ == "__main__":
    main()
