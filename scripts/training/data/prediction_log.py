"""What the prediction service logged: every prediction, and the true value where it was reported later.

JSON lines by day and process, below PREDICTION_LOG_DIR/<model>/ (default: var/predictions), of any number of replicas:

predictions-YYYY-MM-DD-*.jsonl   {"id", "at", "version", "row": {feature: value}, "prediction", "probabilities"}
feedback-YYYY-MM-DD-*.jsonl      {"id", "at", "actual"}

An id is any text. Lines that cannot be read (the last of a process that was killed may be torn) are left out; unknown
keys do not matter.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

LOG_DIR = "var/predictions"
SETTLING = timedelta(seconds=5)  # the prediction service writes its lines within one second; later, all are there
# The row is text: which features there are, and which are numbers, is up to the model.
_PREDICTIONS = (
    "id string, at string, version string, row map<string, string>, prediction string, "
    "probabilities map<string, double>"
)
_FEEDBACK = "id string, at string, actual string"


@dataclass(frozen=True)
class Traffic:
    """`predictions`: id, at (timestamp), version, row (name to text), prediction (text), probabilities (by label).

    `feedback`: id, at (timestamp), actual (text); an id may come more than once. `unreadable` lines were left out.
    """

    predictions: DataFrame
    feedback: DataFrame
    unreadable: int


def files(name: str, kind: str, since: datetime | None = None) -> list[Path]:
    """The files of `kind` (predictions, feedback) on the model `name`, from the UTC day of `since` on.

    PREDICTION_LOG_DIR set to nothing switches the log off, for its readers too.
    """
    folder = os.environ.get("PREDICTION_LOG_DIR", LOG_DIR)
    paths = Path(folder, name).glob(f"{kind}-????-??-??-*.jsonl") if folder else ()
    first = f"{kind}-{since:%Y-%m-%d}" if since else ""
    return sorted(path for path in paths if path.name >= first)


def read(spark: SparkSession, name: str, since: datetime | None = None) -> Traffic:
    """The traffic of the model `name` from the UTC day of `since` on. An empty log is no error."""
    predictions, torn = _lines(spark, files(name, "predictions", since), _PREDICTIONS, ["id", "at", "version", "row"])
    feedback, torn_too = _lines(spark, files(name, "feedback", since), _FEEDBACK, ["id", "at", "actual"])
    return Traffic(predictions, feedback, torn + torn_too)


def with_predictions(spark: SparkSession, name: str, traffic: Traffic, since: datetime | None) -> Traffic:
    """The same feedback, with the predictions from the UTC day of `since` on."""
    predictions, _ = _lines(spark, files(name, "predictions", since), _PREDICTIONS, ["id", "at", "version", "row"])
    return replace(traffic, predictions=predictions)


def labelled(traffic: Traffic) -> DataFrame:
    """Every prediction whose true value was reported: `actual`, at `actual_at` (timestamp); the last report counts."""
    last = traffic.feedback.groupBy("id").agg(F.max(F.struct("at", "actual")).alias("last"))
    truth = last.select("id", F.col("last.at").alias("actual_at"), F.col("last.actual").alias("actual"))
    return traffic.predictions.dropDuplicates(["id"]).join(truth, "id")


def _lines(spark: SparkSession, paths: list[Path], schema: str, needed: list[str]) -> tuple[DataFrame, int]:
    """The lines as columns, and how many could not be read."""
    if not paths:
        return spark.createDataFrame([], schema).withColumn("at", F.lit(None).cast("timestamp")), 0
    text = spark.read.text([path.resolve().as_uri() for path in paths]).where(F.trim("value") != "")
    parsed = text.select(F.from_json("value", schema).alias("line")).select("line.*")
    parsed = parsed.withColumn("at", F.try_to_timestamp("at")).cache()
    whole = parsed.dropna(subset=needed)
    return whole, parsed.count() - whole.count()
