"""What the prediction service logged: every prediction, and the true value where it was reported later.

JSON lines by day and process, below PREDICTION_LOG_DIR/<model>/ (default: var/predictions), of any number of replicas:

predictions-YYYY-MM-DD-*.jsonl   {"id", "at", "version", "row": {feature: value}, "prediction", "probabilities"}
feedback-YYYY-MM-DD-*.jsonl      {"id", "at", "actual"}

An id is any text. Lines that cannot be read (the last of a process that was killed may be torn) are left out; unknown
keys do not matter. A later format has its number in the file's name, as in predictions-….v2.jsonl.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training.data.spark import location
from training.errors import NewerFormat

LOG_DIR = "var/predictions"
SETTLING = timedelta(seconds=5)  # the prediction service writes its lines within one second; later, all are there
# By kind of line: its columns, and those that it must have. The row is text: which features there are, and which are
# numbers, is up to the model.
_LINES = {
    "predictions": (
        "id string, at string, version string, row map<string, string>, prediction string, "
        "probabilities map<string, double>",
        ["id", "at", "version", "row"],
    ),
    "feedback": ("id string, at string, actual string", ["id", "at", "actual"]),
}


@dataclass(frozen=True)
class Labelled:
    """Predictions with their truth: `rows` has row (feature to text) and actual (text). `digest` names their content,
    whatever the order."""

    rows: DataFrame
    digest: str


def files(name: str, kind: str, since: datetime | None = None) -> list[Path]:
    """The files of `kind` (predictions, feedback) on the model `name`, from the UTC day of `since` on.

    PREDICTION_LOG_DIR set to nothing switches the log off, for its readers too. Raises NewerFormat.
    """
    folder = os.environ.get("PREDICTION_LOG_DIR", LOG_DIR)
    paths = Path(folder, name).glob(f"{kind}-????-??-??-*.jsonl") if folder else ()
    first = f"{kind}-{since:%Y-%m-%d}" if since else ""
    found = sorted(path for path in paths if path.name >= first)
    if newer := [path for path in found if path.stem.count(".")]:
        raise NewerFormat(str(newer[0]), newer[0].suffixes[0].removeprefix(".v"), 1)
    return found


def read(spark: SparkSession, name: str, kind: str, since: datetime | None = None) -> tuple[DataFrame, int]:
    """The lines of `kind` from the UTC day of `since` on, with `at` as timestamp, and how many could not be read.

    An id of feedback may come more than once. An empty log is no error.
    """
    (schema, needed), paths = _LINES[kind], files(name, kind, since)
    if not paths:
        return spark.createDataFrame([], schema).withColumn("at", F.lit(None).cast("timestamp")), 0
    text = spark.read.text([location(path) for path in paths]).where(F.trim("value") != "")
    parsed = text.select(F.from_json("value", schema).alias("line")).select("line.*")
    parsed = parsed.withColumn("at", F.try_to_timestamp("at")).cache()
    whole = parsed.dropna(subset=needed)
    return whole, parsed.count() - whole.count()


def labelled(predictions: DataFrame, feedback: DataFrame) -> DataFrame:
    """Every prediction whose true value was reported: `actual`, at `actual_at` (timestamp); the last report counts."""
    last = feedback.groupBy("id").agg(F.max(F.struct("at", "actual")).alias("last"))
    truth = last.select("id", F.col("last.at").alias("actual_at"), F.col("last.actual").alias("actual"))
    return predictions.dropDuplicates(["id"]).join(truth, "id")


def labelled_rows(spark: SparkSession, name: str) -> Labelled:
    """What data.feedback adds to the training table: the truths reported until a moment ago. What arrives later, also
    on the same prediction, changes nothing here."""
    predictions, feedback = (read(spark, name, kind)[0] for kind in _LINES)
    settled = feedback.where(F.col("at") <= F.lit(datetime.now(UTC) - SETTLING))
    rows = labelled(predictions, settled).select("row", "actual")
    cells = F.map_from_entries(F.array_sort(F.map_entries("row")))
    content = F.sha2(F.to_json(F.struct(cells.alias("row"), "actual"), {"ignoreNullFields": "false"}), 256)
    digest = rows.agg(F.sha2(F.concat_ws("", F.array_sort(F.collect_list(content))), 256)).collect()
    return Labelled(rows, digest[0][0])
