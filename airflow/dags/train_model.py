"""Check the data, train, promote, verify: each task is one command that can be pasted into a terminal.

Nothing of the training job is imported here; it lives in an environment of its own, `$TRAINING_HOME`.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, Context, Param, RetryDecision, RetryPolicy, dag

PROMOTED_MODEL = Asset(name="production-model", uri="model://production")

ABOUT = """
### A CSV becomes a served model

| task | command | ends with |
| --- | --- | --- |
| `check` | `scripts/check_data.py` | every row read and judged; a bad file fails here, by row and column |
| `train` | `scripts/train.py`, through `spark-submit` | the winner as `model.onnx`, a new version in the registry |
| `promote` | `scripts/promote.py` | the alias `production` moved, or left, with the reasons written down |
| `verify` | `scripts/verify.py` | the prediction service answers with the promoted version |

Press the triangle at the top to start it. Each field may stay empty: then `pipeline.yaml` decides. A file of your own
goes into the folder `data/`; write `data/your-file.csv` as the data source, and its columns into a pipeline file.

Running it again without new data, configuration or code changes nothing. A refusal (bad data, or the gate) is final and
not tried again; anything else that goes wrong in `train`, `promote` or `verify` is tried once more.
"""

# Values from the form reach the shell as variables, never as text of the command: nothing in them can be run.
# All four commands get the same options, because these name the run that a later command looks for.
OPTIONS = (
    '--config "$PIPELINE_CONFIG" ${DATA_SOURCE:+--data "$DATA_SOURCE"} ${MODEL_NAME:+--name "$MODEL_NAME"} '
    '${TRIALS:+--trials "$TRIALS"} ${GATE:+--gate "$GATE"}'
)
ENVIRONMENT = {
    "PIPELINE_CONFIG": "{{ params.config or 'pipeline.yaml' }}",
    "DATA_SOURCE": "{{ params.data or '' }}",
    "MODEL_NAME": "{{ params.name or '' }}",
    "TRIALS": "{{ params.trials or '' }}",
    "GATE": "{{ params.gate or '' }}",
    # spark-submit takes the first python3 on PATH for its own, which would be Airflow's.
    "PYSPARK_PYTHON": str(Path(os.environ.get("TRAINING_HOME", "/opt/training"), "bin", "python")),
    "SPARK_CONF_DIR": str(Path(os.environ.get("PIPELINE_HOME", "/opt/pipeline"), "scripts", "conf")),
    "SPARK_MASTER": os.environ.get("SPARK_MASTER", "local[2]"),
}


class RetryUnlessRefused(RetryPolicy):
    """Exit codes 1 (refused) and 2 (wrong use) are final: the same input gets the same answer. Others are accidents."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        del try_number, max_tries, context  # the exception alone decides
        if str(exception).endswith(("exit code 1.", "exit code 2.")):
            return RetryDecision.fail("refused; the message above says why")
        return RetryDecision.default()

    def serialize(self) -> dict[str, object]:
        return {}


def command(task_id: str, bash_command: str, **options: Any) -> BashOperator:
    """A task that runs one command in the project's folder, stopped as a whole process group when the task is."""
    return BashOperator(
        task_id=task_id,
        bash_command=bash_command,
        cwd=os.environ.get("PIPELINE_HOME", "/opt/pipeline"),
        env=ENVIRONMENT,
        append_env=True,
        do_xcom_push=False,
        retry_policy=RetryUnlessRefused(),
        **options,
    )


@dag(
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    schedule=None,
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
        "name": Param(
            None,
            type=["null", "string"],
            pattern="^[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}$",
            title="Model name",
            description="The registered model. Empty: as configured.",
        ),
        "config": Param("pipeline.yaml", type="string", minLength=1, maxLength=500, title="Pipeline file"),
    },
)
def train_model() -> None:
    """Four commands in a row; each finds what the one before left in the tracking server."""
    python = '"$TRAINING_HOME/bin/python"'
    spark_submit = '"$TRAINING_HOME/bin/spark-submit" --master "$SPARK_MASTER"'
    check = command("check", f"{python} scripts/check_data.py {OPTIONS}", retries=0)
    train = command("train", f"{spark_submit} scripts/train.py {OPTIONS}", execution_timeout=timedelta(hours=2))
    promote = command("promote", f"{python} scripts/promote.py {OPTIONS}")
    verify = command("verify", f"{python} scripts/verify.py {OPTIONS}", outlets=[PROMOTED_MODEL])
    check >> train >> promote >> verify


train_model()
