"""Runs a command of the project as a task, and finds the pipeline files.

Nothing of the training job is imported here; it has its own environment, `$TRAINING_HOME`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from airflow.providers.standard.hooks.subprocess import SubprocessHook, SubprocessResult
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, Context, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from webhook import task_failed

PIPELINE_HOME = os.environ.get("PIPELINE_HOME", "/opt/pipeline")
TRAINING_HOME = os.environ.get("TRAINING_HOME", "/opt/training")
FINAL = (1, 2)  # exit codes: refused, wrong use. Trying again would not help; other codes are temporary faults.
NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
NAME = Param(
    None,
    type=["null", "string"],
    pattern=NAME_PATTERN,
    title="Model name",
    description="The registered model. Empty: as configured.",
)


@dataclass(frozen=True)
class Pipeline:
    """A pipeline file, by its path in the project's folder. `name` is None for the project's own `pipeline.yaml`."""

    config: str
    name: str | None = None

    def settings(self, usual: str, description: str, fields: Mapping[str, Param]) -> dict[str, Any]:
        """The arguments that all DAGs share. The caller makes the `DAG`: Airflow shows its file as the DAG's source.

        `train_model` is the DAG of `pipeline.yaml`, `train_<name>` that of another file. None has a start date:
        with one, the first start would run each schedule at once, for the time before.
        """
        file = Param(self.config, type="string", minLength=1, maxLength=500, title="Pipeline file")
        return {
            "dag_id": f"{usual.partition('_')[0]}_{self.name}" if self.name else usual,
            "description": f"{description} ({self.config})",  # in the list of DAGs
            "catchup": False,
            "max_active_runs": 1,
            "default_args": {"retries": 3, "retry_delay": timedelta(seconds=5), "on_failure_callback": task_failed},
            "tags": ["model"],
            "params": {**fields, "name": NAME, "config": file},
        }

    def asset(self, usual: str) -> Asset:
        """`training-request` is updated when training is requested, `production-model` when the alias moved."""
        name = f"{usual}-{self.name}" if self.name else usual
        return Asset(name=name, uri=f"model://{name}")


def pipelines() -> list[Pipeline]:
    """`pipeline.yaml`, and each file of the folder `pipelines/` (PIPELINES_DIR).

    A file without a name, or with a name that is taken, goes by its file's name: its DAGs exist, and their `check`
    reports what is wrong.
    """
    home = Path(PIPELINE_HOME)
    found, taken = [Pipeline("pipeline.yaml")], {"model", "table"}
    folder = os.environ.get("PIPELINES_DIR") or "pipelines"
    for path in sorted((home / folder).glob("*.yaml")):
        stem = re.sub("[^A-Za-z0-9_.-]", "-", path.stem)
        name = _name(path) or stem
        if name in taken:
            name = stem
        while name in taken:
            name = f"{name}-2"
        taken.add(name)
        found.append(Pipeline(f"{folder}/{path.name}", name))
    return found


def _name(path: Path) -> str | None:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    name = content.get("name") if isinstance(content, dict) else None
    return name if isinstance(name, str) and re.match(NAME_PATTERN, name) else None


# Values from the form reach the shell as variables, never as text of the command: nothing in them can be run.
# All commands of one pipeline get the same options: they name the run that a later one looks for.
OPTIONS = (
    '--config "$PIPELINE_CONFIG" ${DATA_SOURCE:+--data "$DATA_SOURCE"} ${MODEL_NAME:+--name "$MODEL_NAME"} '
    '${TRIALS:+--trials "$TRIALS"} ${GATE:+--gate "$GATE"}'
)
# A run that a request started has no form: the request names the model and the table.
REQUESTED = "(triggering_asset_events.values() | map('last') | map(attribute='extra') | list + [params])[0]"
ENVIRONMENT = {
    # `get`, because not every DAG has all of these fields.
    "PIPELINE_CONFIG": f"{{{{ {REQUESTED}.get('config') or params.config }}}}",
    "MODEL_NAME": f"{{{{ {REQUESTED}.get('name') or '' }}}}",
    "DATA_SOURCE": f"{{{{ {REQUESTED}.get('data') or '' }}}}",
    "TRIALS": "{{ params.get('trials') or '' }}",
    "GATE": "{{ params.get('gate') or '' }}",
    # spark-submit takes the first python3 on PATH for its own, which would be Airflow's.
    "PYSPARK_PYTHON": f"{TRAINING_HOME}/bin/python",
    # How Spark logs, and its classes as `make setup` (or the image) has archived them.
    "SPARK_SUBMIT_OPTS": f'"-Dlog4j2.configurationFile={PIPELINE_HOME}/scripts/conf/log4j2.properties" '
    f'"-XX:SharedArchiveFile={TRAINING_HOME}/spark-classes.jsa" -Xlog:cds*=off',
    "SPARK_MASTER": os.environ.get("SPARK_MASTER", "local[2]"),
    "PYTHONUNBUFFERED": "1",  # otherwise the result on stdout would come after the reason on stderr
}
PYTHON = '"$TRAINING_HOME/bin/python" scripts/pipeline.py'
SPARK_SUBMIT = '"$TRAINING_HOME/bin/spark-submit" --master "$SPARK_MASTER" scripts/pipeline.py'


class _Hook(SubprocessHook):
    """Keeps the exit code and the last line, which the operator's exceptions do not have."""

    result = SubprocessResult(exit_code=-1, output="")  # of a command that was not started

    def run_command(self, *arguments: Any, **options: Any) -> SubprocessResult:
        self.result = super().run_command(*arguments, **options)
        return self.result


class Command(BashOperator):
    """A command of the project: exit code 99 skips the task and those after it, 1 and 2 are never tried again.

    The reason for skipping, the last line of its output, is `skipped` in the task state store (*Storage* on the task's
    page), because Airflow's Task SDK has no call that writes a note.
    """

    @cached_property
    def subprocess_hook(self) -> _Hook:
        return _Hook()

    def execute(self, context: Context) -> Any:
        store = context["task_state_store"]
        store.delete("skipped")  # of an earlier try
        try:
            return super().execute(context)
        except AirflowSkipException:
            store.set("skipped", self.subprocess_hook.result.output.removeprefix("skipped: "))
            raise
        except AirflowException as error:
            if self.subprocess_hook.result.exit_code in FINAL:
                raise AirflowFailException("Refused and not tried again; the reason is above.") from error
            raise


def command(task_id: str, bash_command: str, variables: Mapping[str, str] | None = None, **options: Any) -> Command:
    """A task that runs one command in the project's folder, stopped as a whole process group when the task is.

    `variables` are added to its environment.
    """
    return Command(
        task_id=task_id,
        bash_command=bash_command,
        cwd=PIPELINE_HOME,
        env={**ENVIRONMENT, **(variables or {})},
        append_env=True,
        do_xcom_push=False,
        **options,
    )
