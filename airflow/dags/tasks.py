"""How a task runs one command of the project: the options it gets, its environment, and what is tried again.

Nothing of the training job is imported here; it lives in an environment of its own, `$TRAINING_HOME`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, Context, Param, RetryDecision, RetryPolicy

# Updated when training is asked for; what the event carries says of which model.
TRAINING_REQUEST = Asset(name="training-request", uri="model://training-request")

CONFIG = Param("pipeline.yaml", type="string", minLength=1, maxLength=500, title="Pipeline file")
NAME = Param(
    None,
    type=["null", "string"],
    pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
    title="Model name",
    description="The registered model. Empty: as configured.",
)

# Values from the form reach the shell as variables, never as text of the command: nothing in them can be run.
# All commands of train_model and monitor_model get the same options: they name the run that a later one looks for.
OPTIONS = (
    '--config "$PIPELINE_CONFIG" ${DATA_SOURCE:+--data "$DATA_SOURCE"} ${MODEL_NAME:+--name "$MODEL_NAME"} '
    '${TRIALS:+--trials "$TRIALS"} ${GATE:+--gate "$GATE"}'
)
# A run that a request started has no form: which model it is about comes with the request.
REQUESTED = "(triggering_asset_events.values() | map('last') | map(attribute='extra') | list + [params])[0]"
ENVIRONMENT = {
    # `get`, because not every DAG has all of these fields.
    "PIPELINE_CONFIG": f"{{{{ {REQUESTED}.get('config') or 'pipeline.yaml' }}}}",
    "MODEL_NAME": f"{{{{ {REQUESTED}.get('name') or '' }}}}",
    "DATA_SOURCE": "{{ params.get('data') or '' }}",
    "TRIALS": "{{ params.get('trials') or '' }}",
    "GATE": "{{ params.get('gate') or '' }}",
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


PYTHON = '"$TRAINING_HOME/bin/python"'
SPARK_SUBMIT = '"$TRAINING_HOME/bin/spark-submit" --master "$SPARK_MASTER"'


def command(
    task_id: str, bash_command: str, variables: Mapping[str, str] | None = None, **options: Any
) -> BashOperator:
    """A task that runs one command in the project's folder, stopped as a whole process group when the task is.

    `variables` are in its environment besides the usual ones.
    """
    return BashOperator(
        task_id=task_id,
        bash_command=bash_command,
        cwd=os.environ.get("PIPELINE_HOME", "/opt/pipeline"),
        env={**ENVIRONMENT, **(variables or {})},
        append_env=True,
        do_xcom_push=False,
        retry_policy=RetryUnlessRefused(),
        **options,
    )
