"""Look at the live traffic every hour; ask for training where it drifted, predictions went wrong, or new data came."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context, Param, dag
from tasks import CONFIG, NAME, OPTIONS, PYTHON, SPARK_SUBMIT, TRAINING_REQUEST, command

SCHEDULE = os.environ.get("MONITOR_SCHEDULE") or "@hourly"  # a cron expression or preset; none: only by hand

ABOUT = """
### Live traffic asks for training

| task | command | ends with |
| --- | --- | --- |
| `monitor` | `scripts/pipeline.py monitor`, through `spark-submit` | the newest window measured; a report in MLflow |
| `request_training` | `scripts/pipeline.py retraining` | the asset `training-request` updated, or skipped |

The asset starts `train_model`. The reports are in MLflow, in the experiment whose name ends with `-monitor`: one run
for each window, one for each request. What it takes is in `pipeline.yaml` under `monitor`, and in docs/monitoring.md.

A dry run measures and says what it would do, and writes nothing.
"""


def name_the_model(context: Context, _: Any) -> None:
    """The request says which model it is about: train_model then runs with the same pipeline file and name."""
    params = context["params"]
    context["outlet_events"][TRAINING_REQUEST].extra = {"config": params["config"], "name": params["name"]}


@dag(
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    schedule=None if SCHEDULE == "none" else SCHEDULE,
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
    tags=["model"],
    doc_md=ABOUT,
    params={
        "dry_run": Param(False, type="boolean", title="Dry run", description="Measure and decide, write nothing."),
        "name": NAME,
        "config": CONFIG,
    },
)
def monitor_model() -> None:
    """The second command finds in the tracking server what the first decided, by the id of this run."""
    monitor = command(
        "monitor",
        f"{SPARK_SUBMIT} scripts/pipeline.py monitor {OPTIONS} ${{DRY_RUN:+--dry-run}}",
        {"DRY_RUN": "{{ params.dry_run or '' }}"},
        execution_timeout=timedelta(hours=1),
    )
    request = command(
        "request_training",
        f"{PYTHON} scripts/pipeline.py retraining {OPTIONS}",
        outlets=[TRAINING_REQUEST],
        post_execute=name_the_model,
    )
    monitor >> request


monitor_model()
