"""The DAG `score_table`: one command, which predicts every row of a table."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import Param, dag
from tasks import SPARK_SUBMIT, Pipeline, command, pipelines

ABOUT = """
Predicts every row of a table with the model in production, or with another version of it.

| task | runs | leaves |
| --- | --- | --- |
| `score` | `pipeline.py score` | a folder of Parquet or CSV files: every column of the table, and the predictions |

Put the table into the folder `data/` and press the triangle at the top. The rows that the model does not take are set
aside in a folder beside the output, each with its reasons; the last line of the log says how many there are. Nothing is
written before all of it is, and an earlier result stays unless you say that it may be replaced.
"""

# Besides those of tasks.py.
VARIABLES = {
    "SCORE_INPUT": "{{ params.input }}",
    "SCORE_OUTPUT": "{{ params.output }}",
    "SCORE_FORMAT": "{{ params.format }}",
    "SCORE_VERSION": "{{ params.version or '' }}",
    "SCORE_OVERWRITE": "{{ 'yes' if params.overwrite else '' }}",
}
SCORE = (
    f"{SPARK_SUBMIT} score "
    '--config "$PIPELINE_CONFIG" ${MODEL_NAME:+--name "$MODEL_NAME"} '
    '--input "$SCORE_INPUT" --output "$SCORE_OUTPUT" --format "$SCORE_FORMAT" '
    '${SCORE_VERSION:+--version "$SCORE_VERSION"} ${SCORE_OVERWRITE:+--overwrite}'
)
FIELDS = {
    "input": Param(
        "data/new.csv",
        type="string",
        minLength=1,
        maxLength=500,
        title="Table",
        description="A CSV or Parquet file, or a glob, seen from the project's folder.",
    ),
    "output": Param(
        "scored/new",
        type="string",
        pattern="^scored/[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        title="Result",
        description="A folder in scored/, the one place where the tasks may write.",
    ),
    "format": Param("parquet", type="string", enum=["parquet", "csv"], title="Format of the result"),
    "version": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Version",
        description="Of the model. Empty: the one in production.",
    ),
    "overwrite": Param(False, type="boolean", title="Replace an earlier result"),
}


def score_table(pipeline: Pipeline) -> None:
    """One command, tried again after an accident; what it refuses it would refuse again."""

    @dag(
        dag_id=pipeline.dag_id("score_table"),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        schedule=None,
        catchup=False,
        max_active_runs=1,
        default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
        tags=["model"],
        doc_md=ABOUT,
        params={**FIELDS, **pipeline.params},
    )
    def define() -> None:
        command("score", SCORE, VARIABLES, execution_timeout=timedelta(hours=12))

    define()


for found in pipelines():
    score_table(found)
