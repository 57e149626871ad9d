"""score: a table of any size becomes a table with predictions, and one of the rows that the model does not take.

Nothing is collected. Each output is one pass over the input. A row's prediction is the prediction service's: the same
file, checked by the same digest, and the same rounding.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import onnxruntime
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
from training.errors import ConfigError, DataError, OutputBusy, OutputExists, SparkFailed
from training.model import contract as contracts
from training.model import onnx_runtime
from training.model.contract import Contract
from training.scoring import acceptance
from training.scoring.acceptance import MALFORMED, UNKNOWN, FeatureReading
from training.tracking.registry import Registry

log = logging.getLogger(__name__)

REASONS = "rejected"
PROGRESS_SECONDS = 10.0
# What a spreadsheet program would run; a number is no formula, though it may begin with a sign.
FORMULA = r"^(?![+-][0-9.,]+([eE][+-]?[0-9]+)?$)[=+\-@\t\r]"
_PREDICTED, _WRONG = "__predicted", "__wrong"

_sessions: dict[str, onnxruntime.InferenceSession] = {}


@dataclass(frozen=True)
class Places:
    """Where a table comes from and where the two results go: folders of part files, as Spark writes them.

    `safe` puts an apostrophe before each text of a CSV result that a spreadsheet program would run as a formula.
    """

    input: str
    output: Path
    rejected: Path
    format: Literal["parquet", "csv"] = "parquet"
    overwrite: bool = False
    safe: bool = False


@dataclass(frozen=True)
class Model:
    """A registered version: its verified file, the file's digest, and the contract inside."""

    name: str
    version: str
    content: bytes
    sha256: str
    contract: Contract


@dataclass(frozen=True)
class Judged:
    """A table with what is wrong with each row, its own `columns`, and how the model's features are read from it."""

    table: DataFrame
    columns: list[Column]
    readings: list[FeatureReading]


def score(config: Config, places: Places, version: str | None = None) -> dict[str, Any]:
    """Scores `places.input` with a version of the model, by default the one in production; returns a summary.

    Raises DataError, OutputExists, ConfigError for a version that is not there, WrongModel, SparkFailed.
    """
    with _spark_errors(), staged(places) as (scored_folder, rejected_folder):
        source = find(config.data.model_copy(update={"source": places.input, "sample": None}))
        model = _model(config, version)
        log.info("model: %s version %s, SHA-256 %s", model.name, model.version, model.sha256[:16])
        spark = session(f"score {config.name}")
        ship_code(spark)
        judged = _judge(spark, source, model.contract)
        with _progress(spark, "1 of 2, rows that the model does not take"):
            rejected = _write_rejected(judged, rejected_folder, places)
        with _progress(spark, f"2 of 2, {rejected['rows'] - rejected['rejected']:,} rows to predict"):
            scored = _write_scored(spark, judged, model, scored_folder, places)
    log.info("%s rows scored, %s rejected", f"{scored['scored']:,}", f"{rejected['rejected']:,}")
    return {
        "status": "scored",
        "model": model.name,
        "version": model.version,
        "model_sha256": model.sha256,
        "input": source.name,
        "output": str(places.output),
        "rejected_output": str(places.rejected),
        **rejected,
        **scored,
    }


def _model(config: Config, number: str | None) -> Model:
    with Registry(config.name, config.serving.alias).speaking() as registry:
        version = registry.numbered(number) if number else registry.holder()
        if version is None:
            wanted = f"version {number}" if number else f"version with the alias '{registry.alias}'"
            raise ConfigError(
                f"'{registry.name}' has no {wanted}", "Train and promote one first, or name one: --version."
            )
        content = registry.verified_content(version)
    sha256 = hashlib.sha256(content).hexdigest()
    return Model(registry.name, str(version.version), content, sha256, contracts.read(content))


def _judge(spark: SparkSession, source: Source, contract: Contract) -> Judged:
    table = cells.read(spark, source, MALFORMED if source.format != "parquet" else None)
    columns = [name for name in table.columns if name != MALFORMED]
    added = [*predicted_columns(contract), UNKNOWN, "model_name", "model_version", REASONS]
    if clash := [name for name in added if name in columns]:
        raise DataError(
            f"{source.name}: column '{clash[0]}' has the name of a column that scoring adds", "Rename or remove it."
        )
    readings = acceptance.readings(contract, table, source)
    wrong = acceptance.reasons(readings, len(columns), source.format != "parquet")
    return Judged(table.withColumn(_WRONG, wrong), [F.col(f"`{name}`") for name in columns], readings)


def _write_rejected(judged: Judged, folder: Path, places: Places) -> dict[str, Any]:
    """Writes the rows with something wrong; returns how many there are, and how often each thing was wrong."""
    wrong = [(reading.column, reading.expected) for reading in judged.readings]
    wrong.append(("", acceptance.line_of(len(judged.columns))))
    counts = Observation("rejected")
    # Observed before they are filtered: Spark would otherwise judge every row twice.
    observed = judged.table.observe(
        counts,
        F.count(F.lit(1)).alias("rows"),
        F.count_if(F.size(_WRONG) > 0).alias("rejected"),
        *[F.count_if(_names(column)).alias(f"reason {place}") for place, (column, _) in enumerate(wrong)],
    )
    reasons = F.to_json(_WRONG) if places.format == "csv" else F.col(_WRONG)
    rows = observed.where(F.size(_WRONG) > 0).select(*judged.columns, reasons.alias(REASONS))
    _write(rows, folder, places)
    seen = counts.get
    reasons_seen = [
        {"column": column, "expected": expected, "rows": seen[f"reason {place}"]}
        for place, (column, expected) in enumerate(wrong)
        if seen[f"reason {place}"]
    ]
    return {"rows": seen["rows"], "rejected": seen["rejected"], "reasons": reasons_seen}


def _names(column: str) -> Column:
    """Whether a row's reasons name the column."""
    return F.exists(_WRONG, lambda reason: reason["column"] == column)


def _write_scored(spark: SparkSession, judged: Judged, model: Model, folder: Path, places: Places) -> dict[str, Any]:
    """Writes the rows that the model takes with its predictions; returns how many, and how many cells of each feature
    hold a category that training did not know."""
    unknown = {
        reading.feature.name: reading.cell.unknown for reading in judged.readings if reading.cell.unknown is not None
    }
    counts, took = Observation("scored"), F.size(_WRONG) == 0
    rows = judged.table.observe(
        counts,
        F.count_if(took).alias("rows"),
        *[F.count_if(took & is_unknown).alias(f"unknown {i}") for i, is_unknown in enumerate(unknown.values())],
    ).where(took)
    values = F.struct(*[value.alias(name) for reading in judged.readings for name, value in reading.inputs.items()])
    predicted = rows.withColumn(_PREDICTED, _predict(spark, model)(values))
    named = enumerate(predicted_columns(model.contract))
    answer = [F.col(f"{_PREDICTED}.column_{i}").alias(name) for i, name in named]
    flags = [F.when(is_unknown, F.lit(name)) for name, is_unknown in unknown.items()]
    note = [F.concat_ws(", ", *flags).alias(UNKNOWN)] if flags else []
    identity = [F.lit(model.name).alias("model_name"), F.lit(model.version).alias("model_version")]
    _write(predicted.select(*judged.columns, *answer, *note, *identity), folder, places)
    seen = counts.get
    times = {name: int(seen[f"unknown {i}"]) for i, name in enumerate(unknown)}
    return {"scored": int(seen["rows"]), "unknown": {name: rows for name, rows in times.items() if rows}}


def _predict(spark: SparkSession, model: Model) -> Any:
    """A column of features to a column of predictions, on the executors.

    Only the features go to Python: what else is in the table stays in the JVM and comes out as it went in, where
    mapInPandas would turn whole numbers with gaps into floating ones.
    """
    content, sha256, contract = spark.sparkContext.broadcast(model.content), model.sha256, model.contract
    # Numbered, because a label may hold any character and Spark reads a dot in a name as a step into it.
    fields = [f"column_{i}" for i in range(len(predicted_columns(contract)))]
    kinds = [T.StringType() if contract.labels and not i else T.DoubleType() for i in range(len(fields))]

    def predict(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        opened = _session(sha256, lambda: content.value)
        for batch in batches:
            yield predictions(opened, contract, batch).set_axis(fields, axis="columns")

    schema = T.StructType(list(map(T.StructField, fields, kinds)))
    return pandas_udf(predict, schema)  # type: ignore[call-overload]  # the stubs want the kind, which the hints say


def _session(sha256: str, content: Callable[[], bytes]) -> onnxruntime.InferenceSession:
    """The session of a model, made once in a process. One thread: as many processes as cores predict already."""
    if sha256 not in _sessions:
        _sessions.clear()
        _sessions[sha256] = onnx_runtime.open_session(content(), threads=1)
    return _sessions[sha256]


def predicted_columns(contract: Contract) -> list[str]:
    """The names of the columns of a prediction: prediction; and its interval, or a probability for each label."""
    if contract.labels:
        return ["prediction", *[f"probability_{label}" for label in contract.labels]]
    return ["prediction", *(["prediction_low", "prediction_high"] if contract.interval else [])]


def predictions(session: onnxruntime.InferenceSession, contract: Contract, features: pd.DataFrame) -> pd.DataFrame:
    """What the prediction service returns for these rows, in the order of `predicted_columns`. `features` are named by
    the graph's inputs, NaN and "" where missing. Raises ValueError where the model's output is not a finite number."""
    values, probabilities = onnx_runtime.served(session, features)
    if probabilities is not None:
        columns = [values.astype(str).astype(object), *probabilities.T]
    elif contract.interval:
        half = contract.interval.half_width
        columns = [values, *(onnx_runtime.seven_digits(bound) for bound in (values - half, values + half))]
    else:
        columns = [values]
    return pd.DataFrame(dict(zip(predicted_columns(contract), columns, strict=True)))


def _write(table: DataFrame, folder: Path, places: Places) -> None:
    if places.format == "parquet":
        table.write.parquet(folder.as_uri())
        return
    if places.safe:
        table = table.select(*[_without_formulas(name, kind) for name, kind in table.dtypes])
    # Spark would trim the cells, and write nothing as a pair of quotes.
    exact: dict[str, Any] = {"ignoreLeadingWhiteSpace": False, "ignoreTrailingWhiteSpace": False, "emptyValue": ""}
    table.write.csv(folder.as_uri(), header=True, quote='"', escape='"', **exact)


def _without_formulas(name: str, kind: str) -> Column:
    cell = F.col(f"`{name}`")
    safe = F.when(cell.rlike(FORMULA), F.concat(F.lit("'"), cell)).otherwise(cell) if kind == "string" else cell
    return safe.alias(f"'{name}" if re.match(FORMULA, name) else name)


@contextmanager
def _spark_errors() -> Iterator[None]:
    """Turns Spark's failures into SparkFailed."""
    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise SparkFailed(" ".join(str(error).split())[:500]) from error


@contextmanager
def _progress(spark: SparkSession, step: str) -> Iterator[None]:
    """Logs the step, and every PROGRESS_SECONDS how many of its parts are done."""
    log.info(step)
    ended, tracker = threading.Event(), spark.sparkContext.statusTracker()

    def report() -> None:
        while not ended.wait(PROGRESS_SECONDS):
            stages = [stage for number in tracker.getActiveStageIds() if (stage := tracker.getStageInfo(number))]
            done, parts = (sum(map(attrgetter(one), stages)) for one in ("numCompletedTasks", "numTasks"))
            log.info("%s: %d of %d parts done", step, done, parts)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def staged(places: Places) -> Iterator[tuple[Path, Path]]:
    """Where to write the scored and the rejected rows: in a folder .NAME.scoring beside each place. At the end of the
    block the rejected rows are moved to their place, then the scored ones: who finds these finds both whole.

    A process that was killed leaves its .NAME.scoring, which the next scoring into the same place removes. Raises
    OutputExists where something lies in a place that is not to be replaced, or another scoring is writing there.
    """
    targets = [places.output.resolve(), places.rejected.resolve()]
    if targets[0] == targets[1]:
        raise ConfigError(f"--output and --rejected are both {places.output}", "Name two places.")
    staging = [target.with_name(f".{target.name}.scoring") for target in targets]
    killed = staging[0].exists() and not targets[0].exists()  # between its two moves, perhaps
    replaceable = [places.overwrite, places.overwrite or killed]
    _require_free(targets, replaceable)
    with _alone(staging[0]), _alone(staging[1]):
        yield staging[0] / "new", staging[1] / "new"
        _require_free(targets, replaceable)
        for folder, target in zip(reversed(staging), reversed(targets), strict=True):
            if target.exists():
                target.rename(folder / "old")
            (folder / "new").rename(target)


def _require_free(targets: list[Path], replaceable: list[bool]) -> None:
    """Raises OutputExists. Only an earlier result is ever replaced, which Spark marks by a file of its own."""
    for target, may_go in zip(targets, replaceable, strict=True):
        finished = (target / "_SUCCESS").is_file()
        if target.exists() and not (finished and may_go):
            raise OutputExists(target, finished)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """An empty folder, locked until the end of the block or of the process, and then gone. Raises OutputBusy."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputBusy(folder) from None
        except OSError:  # some network file systems lock no folders
            pass
        if not folder.exists():  # another scoring ended a moment ago
            raise OutputBusy(folder)
        try:
            for left in folder.iterdir():
                shutil.rmtree(left)
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
