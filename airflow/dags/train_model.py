"""The DAG `train_model`: check, train, promote, verify. Each task is one command that also runs in a terminal."""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, TriggerRule
from tasks import OPTIONS, PYTHON, SPARK_SUBMIT, command, pipelines

ABOUT = """
### Train a model on a table, and serve it if it is better

| task | command | result |
| --- | --- | --- |
| `check` | `pipeline.py check` | every row is checked; a bad file fails here, with rows and columns |
| `train` | `pipeline.py train`, through `spark-submit` | the best candidate is a new, signed version in the registry |
| `promote` | `pipeline.py promote` | the alias moves; skipped if the gate refuses: *Storage* shows the reasons |
| `not_promoted` | | runs only then, so that such a run is known by its look: the model in production stays |
| `verify` | `pipeline.py verify` | the service serves the version; if it refused it, the alias moves back |

The monitor starts this DAG through the asset `training-request` if live traffic or a changed data file requires it.
To start it yourself, press the triangle at the top. An empty field means: as configured in the pipeline file. To train
on your own file, put it into the folder `data/`, enter `data/your-file.csv` as the data source, and describe its
columns in a pipeline file. Each file in `pipelines/` has its own DAGs.

Another run without new data, configuration or code changes nothing. A refusal (bad data, or the gate) is final; any
other failure, such as a killed process, is tried up to three times more. The asset `production-model` is updated if a
run moved the alias and the service accepted the version. If the alias named it before, `verify` checks the service and
is skipped.
"""

FIELDS = {
    "data": Param(
        None,
        type=["null", "string"],
        maxLength=500,
        title="Data source",
        description="A CSV or Parquet file or a glob, relative to the project's folder, or an address: s3://… Empty: "
        "as configured.",
    ),
    "trials": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        maximum=1000,
        title="Trials",
        description="The number of candidates that the search tries. Empty: as configured.",
    ),
    "gate": Param(
        None,
        type=["null", "string"],
        enum=[None, "enforce", "dry_run", "off"],
        values_display={"null": "as configured"},
        title="Gate",
        description="enforce: promote only a better model; dry_run: judge, move nothing; off: promote always.",
    ),
}


for pipeline in pipelines():
    with DAG(
        **pipeline.settings("train_model", "Train a model on a table, and serve it if it is better", FIELDS),
        schedule=[pipeline.asset("training-request")],
        doc_md=ABOUT,
    ):
        check = command("check", f"{PYTHON} check {OPTIONS}")
        train = command("train", f"{SPARK_SUBMIT} train {OPTIONS}", execution_timeout=timedelta(hours=2))
        promote = command("promote", f"{PYTHON} promote {OPTIONS} --skip")
        verify = command("verify", f"{PYTHON} verify {OPTIONS} --skip", outlets=[pipeline.asset("production-model")])
        check >> train >> promote >> verify  # each reads the results of the one before from the tracking server
        promote >> EmptyOperator(task_id="not_promoted", trigger_rule=TriggerRule.ALL_SKIPPED)
