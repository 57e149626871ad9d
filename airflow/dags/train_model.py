"""Check the data, train, promote, verify: each task is one command that can be pasted into a terminal."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, Param, dag
from tasks import CONFIG, NAME, OPTIONS, PYTHON, SPARK_SUBMIT, TRAINING_REQUEST, command

PROMOTED_MODEL = Asset(name="production-model", uri="model://production")

ABOUT = """
### A CSV becomes a served model

| task | command | ends with |
| --- | --- | --- |
| `check` | `pipeline.py check` | every row read and judged; a bad file fails here, by row and column |
| `train` | `pipeline.py train`, through `spark-submit` | the winner as `model.onnx`, a new version in the registry |
| `promote` | `pipeline.py promote` | the alias `production` moved, or left, with the reasons written down |
| `verify` | `pipeline.py verify` | the prediction service serves that version, or refused it and the alias is back |

`monitor_model` starts it through the asset `training-request`, when live traffic or a changed data file calls for it.
Press the triangle at the top to start it yourself. Each field may stay empty: then `pipeline.yaml` decides. A file of
your own goes into the folder `data/`; write `data/your-file.csv` as the data source, and its columns into a pipeline
file.

Running it again without new data, configuration or code changes nothing. A refusal (bad data, or the gate) is final and
not tried again; anything else that goes wrong in `train`, `promote` or `verify` is tried once more.
"""
LONGEST = timedelta(hours=2)


@dag(
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    schedule=[TRAINING_REQUEST],
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
    tags=["model"],
    doc_md=ABOUT,
    params={
        "data": Param(
            None,
            type=["null", "string"],
            maxLength=500,
            title="Data source",
            description="A CSV or Parquet file, or a glob, seen from the project's folder. Empty: as configured.",
        ),
        "trials": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=1000,
            title="Trials",
            description="How many candidates the search tries. Empty: as configured.",
        ),
        "gate": Param(
            None,
            type=["null", "string"],
            enum=[None, "enforce", "dry_run", "off"],
            title="Gate",
            description="What a challenger that is not better meets. Empty: as configured.",
        ),
        "name": NAME,
        "config": CONFIG,
    },
)
def train_model() -> None:
    """Four commands in a row; each finds what the one before left in the tracking server."""
    check = command("check", f"{PYTHON} scripts/pipeline.py check {OPTIONS}", retries=0)
    train = command(
        "train", f"{SPARK_SUBMIT} scripts/pipeline.py train {OPTIONS}", execution_timeout=timedelta(hours=2)
    )
    promote = command("promote", f"{PYTHON} scripts/pipeline.py promote {OPTIONS}")
    verify = command("verify", f"{PYTHON} scripts/pipeline.py verify {OPTIONS}", outlets=[PROMOTED_MODEL])
    check >> train >> promote >> verify


train_model()
