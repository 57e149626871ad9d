"""Check the data, train, promote, verify: each task is one command that can be pasted into a terminal."""

from datetime import timedelta

from airflow.sdk import DAG, Param
from tasks import OPTIONS, PYTHON, SPARK_SUBMIT, command, pipelines

ABOUT = """
### A CSV becomes a served model

| task | command | ends with |
| --- | --- | --- |
| `check` | `pipeline.py check` | every row read and judged; a bad file fails here, by row and column |
| `train` | `pipeline.py train`, through `spark-submit` | the winner, signed: a new version in the registry |
| `promote` | `pipeline.py promote` | the alias moved; skipped where the gate refuses: its *Storage* says why |
| `verify` | `pipeline.py verify` | the service serves that version, or refused it and the alias is back |

The monitor starts it through the asset `training-request`, when live traffic or a changed data file calls for it.
Press the triangle at the top to start it yourself. Each field may stay empty: then the pipeline file decides. A file of
your own goes into the folder `data/`; write `data/your-file.csv` as the data source, and its columns into a pipeline
file. Each file in `pipelines/` has DAGs of its own.

Running it again without new data, configuration or code changes nothing. A refusal (bad data, or the gate) is final and
not tried again; anything else that goes wrong, such as a part that was killed, is tried up to three times more. The
asset `production-model` is updated when a run moved the alias and the service took the version; where the alias was
there already, `verify` checks and is skipped.
"""

FIELDS = {
    "data": Param(
        None,
        type=["null", "string"],
        maxLength=500,
        title="Data source",
        description="A CSV or Parquet file or a glob, seen from the project's folder, or an address: s3://… Empty: as "
        "configured.",
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
        description="What happens to a challenger that is not better. Empty: as configured.",
    ),
}


for pipeline in pipelines():
    with DAG(**pipeline.settings("train_model", FIELDS), schedule=[pipeline.asset("training-request")], doc_md=ABOUT):
        check = command("check", f"{PYTHON} check {OPTIONS}")
        train = command("train", f"{SPARK_SUBMIT} train {OPTIONS}", execution_timeout=timedelta(hours=2))
        promote = command("promote", f"{PYTHON} promote {OPTIONS} --skip")
        verify = command("verify", f"{PYTHON} verify {OPTIONS} --skip", outlets=[pipeline.asset("production-model")])
        check >> train >> promote >> verify  # each finds what the one before left in the tracking server
