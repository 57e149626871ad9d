"""score: a table of any size becomes a table with predictions, and one of the rows that the model does not take.

Nothing is collected. Each output is one pass over the input; both appear under their names only when both are whole.
A row's prediction is the prediction service's: the same file, checked by the same digest, and the same rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.functions import pandas_udf

from training.config import Config
from training.data import cells
from training.data.files import Source, find
from training.data.spark import session, ship_code
from training.errors import ConfigError, DataError, SparkFailed
from training.model import onnx_runtime
from training.scoring import acceptance, predictions
from training.scoring.acceptance import MALFORMED, Reading
from training.scoring.predictions import Model
from training.scoring.staging import Places, require_free, staging
from training.tracking.registry import Registry

log = logging.getLogger(__name__)

REASONS = "rejected"
_ANSWER, _WRONG = "__answer", "__wrong"


def score(config: Config, places: Places, version: str | None = None) -> dict[str, Any]:
    """Scores `places.input` with a version of the model, by default the one in production; gives a summary.

    Raises DataError, OutputExists, ConfigError for a version that is not there, WrongModel, SparkFailed.
    """
    require_free(places)
    source = find(config.data.model_copy(update={"source": places.input, "sample": None}))
    model = _model(config, version)
    log.info("model: %s version %s, SHA-256 %s", model.name, model.version, model.sha256[:16])
    spark = session(f"score {config.name}")
    ship_code(spark)
    with _speaking(), staging(places) as (scored_folder, rejected_folder):
        table = cells.read(spark, source, MALFORMED if source.format == "csv" else None)
        columns = [name for name in table.columns if name != MALFORMED]
        _require_no_clash(source, columns, predictions.columns(model.contract))
        found = acceptance.readings(model.contract["features"], table, source)
        wrong = acceptance.reasons(found, len(columns), source.format == "csv")
        judged = table.withColumn(_WRONG, wrong)
        log.info("rejected rows")
        rejected = _write_rejected(judged, columns, found, rejected_folder, places.format)
        log.info("predictions")
        scored = _write_scored(spark, judged, columns, found, model, scored_folder, places.format)
    log.info("%d rows scored, %d rejected", scored, rejected["rows"])
    return {
        "status": "scored",
        "model": model.name,
        "version": model.version,
        "model_sha256": model.sha256,
        "input": source.name,
        "output": str(places.output),
        "rejected_output": str(places.rejected),
        "rows": scored + rejected["rows"],
        "scored": scored,
        "rejected": rejected["rows"],
        "reasons": rejected["reasons"],
    }


def _model(config: Config, number: str | None) -> Model:
    registry = Registry(config.name, config.serving.alias)
    with registry.speaking():
        version = registry.numbered(number) if number else registry.holder()
        if version is None:
            wanted = f"version {number}" if number else f"version with the alias '{registry.alias}'"
            raise ConfigError(
                f"'{config.name}' has no {wanted}", "Train and promote one first, or name one: --version."
            )
        content = registry.verified_content(version)
    return Model(config.name, str(version.version), content, onnx_runtime.read_contract(content))


def _write_rejected(
    judged: DataFrame, columns: list[str], found: list[Reading], folder: Path, form: str
) -> dict[str, Any]:
    """Writes the rows with something wrong; gives how many there are, and how often each thing was wrong."""
    wrong = [(reading.column, reading.expected) for reading in found] + [("", acceptance.line_of(len(columns)))]
    counts = Observation("rejected")
    # Observed before they are filtered: Spark would otherwise judge every row twice.
    observed = judged.observe(
        counts,
        F.count_if(F.size(_WRONG) > 0).alias("rows"),
        *[F.count_if(_names(column)).alias(f"reason {place}") for place, (column, _) in enumerate(wrong)],
    )
    reasons = F.to_json(_WRONG) if form == "csv" else F.col(_WRONG)
    rows = observed.where(F.size(_WRONG) > 0).select(*_plain(columns), reasons.alias(REASONS))
    _write(rows, folder, form)
    seen = counts.get
    times = [(column, expected, seen[f"reason {place}"]) for place, (column, expected) in enumerate(wrong)]
    reasons_seen = [{"column": column, "expected": expected, "rows": rows} for column, expected, rows in times if rows]
    return {"rows": seen["rows"], "reasons": reasons_seen}


def _names(column: str) -> Column:
    """Whether a row's reasons name the column."""
    return F.exists(_WRONG, lambda reason: reason["column"] == column)


def _write_scored(
    spark: SparkSession,
    judged: DataFrame,
    columns: list[str],
    found: list[Reading],
    model: Model,
    folder: Path,
    form: str,
) -> int:
    """Writes the rows that the model takes with its answers; gives how many."""
    counts = Observation("scored")
    rows = judged.observe(counts, F.count_if(F.size(_WRONG) == 0).alias("rows")).where(F.size(_WRONG) == 0)
    values = F.struct(*[reading.value.alias(reading.feature["input"]) for reading in found])
    answered = rows.withColumn(_ANSWER, _answer(spark, model)(values))
    given = [F.col(f"{_ANSWER}.answer_{i}").alias(name) for i, name in enumerate(predictions.columns(model.contract))]
    identity = [F.lit(model.name).alias("model_name"), F.lit(model.version).alias("model_version")]
    _write(answered.select(*_plain(columns), *given, *identity), folder, form)
    return int(counts.get["rows"])


def _answer(spark: SparkSession, model: Model) -> Any:
    """A column of features to a column of answers, on the executors.

    Only the features go to Python: what else is in the table stays in the JVM and comes out as it went in, where
    mapInPandas would turn whole numbers with gaps into floating ones.
    """
    content = spark.sparkContext.broadcast(model.content)
    names, sha256, contract = predictions.columns(model.contract), model.sha256, model.contract
    kinds = [T.StringType() if contract["labels"] and not i else T.DoubleType() for i in range(len(names))]
    # Numbered, because a label may hold any character and Spark reads a dot in a name as a step into it.
    fields = [f"answer_{i}" for i in range(len(names))]

    def answer(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        session = predictions.kept_session(sha256, lambda: content.value)
        for batch in batches:
            yield predictions.of(session, contract, batch).set_axis(fields, axis="columns")

    schema = T.StructType([T.StructField(*pair) for pair in zip(fields, kinds, strict=True)])
    return pandas_udf(answer, schema)  # type: ignore[call-overload]  # the stubs want the kind, which the hints say


def _plain(columns: list[str]) -> list[Column]:
    return [F.col(f"`{name}`") for name in columns]


def _write(table: DataFrame, folder: Path, form: str) -> None:
    if form == "parquet":
        table.write.parquet(folder.as_uri())
        return
    # Spark would trim the cells, and write nothing as a pair of quotes.
    exact: dict[str, Any] = {"ignoreLeadingWhiteSpace": False, "ignoreTrailingWhiteSpace": False, "emptyValue": ""}
    table.write.csv(folder.as_uri(), header=True, quote='"', escape='"', **exact)


def _require_no_clash(source: Source, columns: list[str], added: list[str]) -> None:
    if clash := [name for name in [*added, "model_name", "model_version", REASONS] if name in columns]:
        raise DataError(
            f"{source.name}: column '{clash[0]}' has the name of a column that scoring adds", "Rename or remove it."
        )


@contextmanager
def _speaking() -> Iterator[None]:
    """Turns Spark's failures into SparkFailed."""
    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise SparkFailed(" ".join(str(error).split())[:500]) from error
