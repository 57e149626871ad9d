"""The DAG `score_table`: one command that predicts every row of a table."""

from datetime import timedelta

from airflow.sdk import DAG, Param
from tasks import SPARK_SUBMIT, command, pipelines

ABOUT = """
Predicts every row of a table with the model in production, or with another version of it.

| task | command | result |
| --- | --- | --- |
| `score` | `pipeline.py score` | a folder of Parquet or CSV files: every column of the table, and the predictions |

Put the table into the folder `data/` and press the triangle at the top. Rows that the model does not accept go to a
folder beside the result, each with its reasons; the last line of the log counts them. The result appears only when it
is complete, and replaces an earlier one only if you allow it.
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
        description="A CSV or Parquet file or a glob, relative to the project's folder, or an address: s3://…",
    ),
    "output": Param(
        "scored/new",
        type="string",
        pattern="^scored/[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        title="Result",
        description="A folder in scored/, the only one where this task may write.",
    ),
    "format": Param("parquet", type="string", enum=["parquet", "csv"], title="Format of the result"),
    "version": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Version",
        description="The model's version. Empty: the one in production.",
    ),
    "overwrite": Param(False, type="boolean", title="Replace an earlier result"),
}


for pipeline in pipelines():
    with DAG(**pipeline.settings("score_table", "Predict every row of a table", FIELDS), schedule=None, doc_md=ABOUT):
        command("score", SCORE, VARIABLES, execution_timeout=timedelta(hours=12))
