"""A real Airflow on a database of its own, and stand-ins for the two programs that its tasks start."""

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The stand-in writes down what it was started with, and ends with the code that `codes.json` has for the script.
STAND_IN = """#!{python}
import json, os, sys
from pathlib import Path
here = Path({here!r})
script = sys.argv[sys.argv.index("scripts/pipeline.py") + 1]
line = {{"program": Path(sys.argv[0]).name, "argv": sys.argv[1:], "script": script, "folder": os.getcwd(),
        "environment": {{name: os.environ.get(name) for name in ("PYSPARK_PYTHON", "MLFLOW_TRACKING_URI",
        "AIRFLOW_CTX_DAG_RUN_ID", "MONITOR_SCHEDULE")}}}}
with (here / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(line) + "\\n")

codes = json.loads((here / "codes.json").read_text())
print(codes.get("say", ""))
sys.exit(codes.get(script, 0))
"""


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Airflow's settings must stand before its first import, for the whole session."""
    home = tmp_path_factory.mktemp("airflow")
    variables = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "airflow" / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "PIPELINE_HOME": str(home),
        "TRAINING_HOME": str(home / "training"),
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    from airflow.utils.db import initdb

    initdb()
    yield home
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@pytest.fixture
def programs(airflow_home: Path) -> Callable[..., Callable[[], list[dict]]]:
    """Puts the stand-ins in place; called with exit codes (`train=3`) and what they `say`, gives the calls."""

    def install(**codes: int | str) -> Callable[[], list[dict]]:
        folder = airflow_home / "training" / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        calls = airflow_home / "calls.jsonl"
        calls.write_text("")
        (airflow_home / "codes.json").write_text(json.dumps(codes))
        for name in ("python", "spark-submit"):
            path = folder / name
            path.write_text(STAND_IN.format(python=sys.executable, here=str(airflow_home)))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return lambda: [json.loads(line) for line in calls.read_text().splitlines()]

    return install


@pytest.fixture
def dags(airflow_home: Path):
    """Parsed again for each test: a run leaves its parameters in the object."""
    return dag_bag().dags


def run(dag, **conf: object) -> dict[str, str]:
    """Runs a DAG as a scheduler would, without the pauses between attempts; the states of the run and of each task."""
    for task in dag.tasks:
        task.retry_delay = timedelta(0)
    made = dag.test(run_conf=conf)
    return {"run": str(made.state)} | {task.task_id: str(task.state) for task in made.get_task_instances()}


def updates(asset: str) -> list[dict[str, object]]:
    """What every update of the asset carried, oldest first."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(AssetEvent).order_by(AssetEvent.id).all()
        return [dict(event.extra) for event in found if event.asset.name == asset]


def dag_bag():
    """All DAGs, parsed again, as Airflow itself does it: with their folder on the path."""
    from airflow.dag_processing.dagbag import BundleDagBag

    folder = ROOT / "airflow" / "dags"
    bag = BundleDagBag(folder, bundle_path=folder)
    assert bag.import_errors == {}
    return bag
