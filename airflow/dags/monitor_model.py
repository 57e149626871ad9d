"""The DAG `monitor_model`: measures the live traffic every hour, and requests training after drift or with new data."""

import json
import os
from datetime import timedelta
from functools import partial
from typing import Any

from airflow.sdk import DAG, Asset, Context, Param
from tasks import OPTIONS, PYTHON, SPARK_SUBMIT, command, pipelines
from webhook import monitor_found

SCHEDULE = os.environ.get("MONITOR_SCHEDULE") or "@hourly"  # a cron expression or preset; none: only by hand

ABOUT = """
### Measure the live traffic, and request training if needed

| task | command | result |
| --- | --- | --- |
| `monitor` | `pipeline.py monitor`, through `spark-submit` | the newest window is measured, with a report in MLflow |
| `request_training` | `pipeline.py retraining` | the asset `training-request` is updated, or the task is skipped |

The asset starts the pipeline's training DAG. The reports are in MLflow, in the experiment whose name ends with
`-monitor`: one run for each window, one for each request. The rules are in the pipeline file under `monitor`, and in
docs/reference/monitoring.md.

A dry run measures and reports what it would do, and writes nothing.
"""
DRY_RUN = Param(False, type="boolean", title="Dry run", description="Measure and decide, but write nothing.")


def describe(request: Asset, context: Context, answer: Any) -> None:
    """Adds to the request which model to train, and on which table: its own. Raises ValueError if the command's last
    line is not JSON."""
    params, source = context["params"], json.loads(answer or "{}").get("source", "")
    context["outlet_events"][request].extra = {"config": params["config"], "name": params["name"], "data": source}


for pipeline in pipelines():
    request = pipeline.asset("training-request")
    with DAG(
        **pipeline.settings(
            "monitor_model", "Measure the live traffic, and request training if needed", {"dry_run": DRY_RUN}
        ),
        schedule=None if SCHEDULE == "none" else SCHEDULE,
        doc_md=ABOUT,
    ):
        monitor = command(
            "monitor",
            f"{SPARK_SUBMIT} monitor {OPTIONS} ${{DRY_RUN:+--dry-run}}",
            {"DRY_RUN": "{{ params.dry_run or '' }}", "MONITOR_SCHEDULE": SCHEDULE},
            execution_timeout=timedelta(hours=1),
            post_execute=monitor_found,
        )
        asked = command(
            "request_training",
            f"{PYTHON} retraining {OPTIONS}",
            outlets=[request],
            post_execute=partial(describe, request),
        )
        monitor >> asked  # it reads the decision from the tracking server, by the id of this run
