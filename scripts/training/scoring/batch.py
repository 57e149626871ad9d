"""score: a table of any size becomes a table with predictions, and one of the rows that the model does not take.

Nothing is collected: each row is judged once, and lies on the executors' disks until it is written. Its prediction is
the prediction service's: the same file, checked by the same digest, cells read by the same contract, and the same
rounding.
"""

import fcntl
import hashlib
import logging
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import onnxruntime
import pandas as pd
import pyarrow as pa
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.functions import arrow_udf
from pyspark.sql.pandas.types import to_arrow_schema

from training.config import Config
from training.data import cells
from training.data.files import Source, find
from training.data.spark import session, ship_code
from training.errors import ConfigError, DataError, OutputBusy, OutputExists, SparkFailed
from training.evaluation.metrics import Array
from training.model import contract as contracts
from training.model import frame_model, onnx_runtime
from training.model.contract import Contract, TypedFeature
from training.tracking.registry import Registry

log = logging.getLogger(__name__)

REASONS = "rejected"
UNKNOWN = "unknown"  # the column that names the features with a category that training did not know
MOST_SHOWN = 40
REMEMBERED = 200_000  # values of all features together, by each process: some 30 MB
# What a spreadsheet program would run; a number is no formula, though it may begin with a sign.
FORMULA = r"^(?![+-][0-9.,]+([eE][+-]?[0-9]+)?$)[=+\-@\t\r]"
_MALFORMED, _JUDGED = "__malformed", "__judged"
Answer = dict[str, Any]


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
class Task:
    """A table, its own columns, those that hold the model's features in the contract's order, and the version: its
    verified file and the contract inside."""

    table: DataFrame
    columns: list[str]
    features: list[str]
    version: str
    content: bytes
    contract: Contract


def score(config: Config, places: Places, version: str | None = None) -> Answer:
    """Scores `places.input` with a version of the model, by default the one in production; returns a summary.

    Raises DataError, OutputExists, ConfigError for a version that is not there, WrongModel, SparkFailed.
    """
    with staged(places) as (scored_folder, rejected_folder):
        source = find(config.data.model_copy(update={"source": places.input, "sample": None}))
        version, content = _model(config, version)
        sha256 = hashlib.sha256(content).hexdigest()
        log.info("model: %s version %s, SHA-256 %s", config.name, version, sha256[:16])
        try:
            spark = session(f"score {config.name}")
            ship_code(spark)
            task = _task(spark, source, version, content)
            found = _results(spark, task, places, scored_folder, rejected_folder)
        except (PySparkException, Py4JError) as error:
            raise SparkFailed(" ".join(str(error).split())[:500]) from error
    return {
        "status": "scored",
        "model": config.name,
        "version": version,
        "model_sha256": sha256,
        "input": source.name,
        "output": str(places.output),
        "rejected_output": str(places.rejected),
        **found,
    }


def _model(config: Config, number: str | None) -> tuple[str, bytes]:
    with Registry(config.name, config.serving.alias).speaking() as registry:
        version = registry.numbered(number) if number else registry.holder()
        if version is None:
            wanted = f"version {number}" if number else f"version with the alias '{registry.alias}'"
            raise ConfigError(
                f"'{registry.name}' has no {wanted}", "Train and promote one first, or name one: --version."
            )
        return str(version.version), registry.verified_content(version)


def _task(spark: SparkSession, source: Source, version: str, content: bytes) -> Task:
    """Raises DataError where a feature has no column, or two, or a column has a name that scoring adds."""
    contract = contracts.read(content)
    table = cells.read(spark, source, _MALFORMED if source.format != "parquet" else None)
    columns = [name for name in table.columns if name != _MALFORMED]
    added = [*predicted_columns(contract), UNKNOWN, "model_name", "model_version", REASONS]
    if clash := [name for name in added if name in columns]:
        raise DataError(
            f"{source.name}: column '{clash[0]}' has the name of a column that scoring adds", "Rename or remove it."
        )
    found = {one.name: [name for name in columns if name in (one.name, one.input)] for one in contract.features}
    if absent := [name for name, own in found.items() if not own]:
        raise DataError(
            f"{source.name}: expected a column for each feature of the model; missing: {', '.join(absent)}",
            f"Add them; a name may also be written as an identifier. Found: {', '.join(columns)}.",
        )
    if twice := [own for own in found.values() if len(own) > 1]:
        raise DataError(
            f"{source.name}: columns '{twice[0][0]}' and '{twice[0][1]}' are the same feature", "Remove one of the two."
        )
    return Task(table, columns, [own[0] for own in found.values()], version, content, contract)


def expected(feature: TypedFeature) -> str:
    """What the service would say that it expects."""
    match feature:
        case contracts.NumberFeature():
            what = "a finite number"
        case contracts.CategoryFeature(unknown="accept"):
            what = "a text"
        case contracts.CategoryFeature(categories=known):
            what = f"one of {', '.join(map(repr, known[:10]))}{', ...' if known[10:] else ''}"
        case contracts.BooleanFeature(true=true, false=false):
            what = f"true or false (in text: {', '.join(map(repr, [*true, *false][:10]))})"
        case contracts.DateFeature(format="iso"):
            what = "a date or time of ISO 8601, as '2026-01-31' or '2026-01-31T10:00:00Z'"
        case contracts.DateFeature(format=form):
            what = f"a date of the form {form!r}"
    return f"{what} or nothing" if feature.nullable else what


def _results(spark: SparkSession, task: Task, places: Places, scored_folder: Path, rejected_folder: Path) -> Answer:
    """Writes the rows that the model takes with its predictions, and the others with all that is wrong; returns how
    many there are of each, how often each thing was wrong, and how often each feature had an unknown category."""
    contract, judged = task.contract, _judged(spark, task).persist(StorageLevel.DISK_ONLY)
    reasons, unknown = F.col(f"{_JUDGED}.{REASONS}"), F.col(f"{_JUDGED}.{UNKNOWN}")
    takes, table = F.size(reasons) == 0, [_column(name) for name in task.columns]
    rows, scored = judged.agg(F.count(F.lit(1)), F.count_if(takes)).collect()[0]
    wrong = judged.select(F.explode(reasons).alias("one")).groupBy("one.column", "one.expected").count().collect()
    times = {(row["column"], row["expected"]): row["count"] for row in wrong}
    of_unknown: dict[str, int] = dict(judged.where(takes).select(F.explode(unknown)).groupBy("col").count().collect())
    log.info("%s of %s rows were scored", f"{scored:,}", f"{rows:,}")
    shown = F.to_json(reasons) if places.format == "csv" else reasons
    _write(judged.where(~takes).select(*table, shown.alias(REASONS)), rejected_folder, places)
    answer = [F.col(f"{_JUDGED}.column_{i}").alias(name) for i, name in enumerate(predicted_columns(contract))]
    open_features = [one.name for one in contract.features if getattr(one, "unknown", "") == "accept"]
    note = [F.array_join(unknown, ", ").alias(UNKNOWN)] if open_features else []
    identity = [F.lit(contract.name).alias("model_name"), F.lit(task.version).alias("model_version")]
    _write(judged.where(takes).select(*table, *answer, *note, *identity), scored_folder, places)
    judged.unpersist()
    return {
        "rows": rows,
        "rejected": rows - scored,
        "reasons": [
            {"column": column, "expected": what, "rows": times[column, what]}
            for column, what in _wanted(task)
            if (column, what) in times
        ],
        "scored": scored,
        "unknown": {name: of_unknown[name] for name in open_features if name in of_unknown},
    }


def _wanted(task: Task) -> list[tuple[str, str]]:
    """The column of each feature and what it should hold, and at last what a line should be."""
    line = f"a line of {len(task.columns)} cells"
    return [*zip(task.features, map(expected, task.contract.features), strict=True), ("", line)]


def _judged(spark: SparkSession, task: Task) -> DataFrame:
    """The table with what the model says of each row: what does not fit, which features have an unknown category, and
    the predictions.

    Only the features go to Python: what else is in the table stays in the JVM and comes out as it went in.
    """
    model, contract, wanted = spark.sparkContext.broadcast(task.content), task.contract, _wanted(task)
    terms = asdict(contract)
    # Numbered, because a label may hold any character and Spark reads a dot in a name as a step into it.
    named = [f"column_{i}" for i in range(len(predicted_columns(contract)))]
    kinds = ["string" if contract.labels and not i else "double" for i in range(len(named))]
    reason = "array<struct<column string, expected string, found string>>"
    answers = "".join(f", {name} {kind}" for name, kind in zip(named, kinds, strict=True))
    schema: Any = T.StructType.fromDDL(f"{REASONS} {reason}, {UNKNOWN} array<string>{answers}")

    def judge(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        opened = onnx_runtime.open_session(model.value, threads=1)
        remembered = lru_cache(REMEMBERED // len(terms["features"]), typed=True)  # most values come again
        readers = [remembered(frame_model.reader(feature, terms["reading"])) for feature in terms["features"]]
        for batch in batches:
            *columns, lines = (batch.field(place).to_pylist() for place in range(len(wanted)))
            given: dict[str, Any] = {}
            wrong: list[list[Any]] = [[] for _ in lines]
            unknown: list[list[str]] = [[] for _ in lines]
            for values, place, feature, read in zip(columns, wanted, terms["features"], readers, strict=False):
                cells_read = _cells(feature, read, values, place, wrong)
                given |= frame_model.inputs(feature, cells_read)
                if feature.get("unknown") == "accept":
                    known = {"", *feature["categories"]}
                    for row in (row for row, value in enumerate(cells_read) if value not in known):
                        unknown[row].append(feature["name"])
            wrong = [
                own if line is None else [_reason(*wanted[-1], line)] for own, line in zip(wrong, lines, strict=True)
            ]
            found: list[Any] = [wrong, unknown, *predictions(opened, contract, pd.DataFrame(given))]
            arrays = [pa.array(one, field.type) for one, field in zip(found, to_arrow_schema(schema), strict=True)]
            yield pa.StructArray.from_arrays(arrays, schema.names)

    types = {field.name: field.dataType for field in task.table.schema}
    shipped = [_shipped(name, types[name]) for name in task.features]
    shipped.append(F.col(_MALFORMED) if _MALFORMED in types else F.lit(None).cast("string"))
    judged = arrow_udf(judge, schema)  # type: ignore[call-overload]  # the stubs want the kind, which the hints say
    return task.table.withColumn(_JUDGED, judged(F.struct(*[one.alias(f"c{i}") for i, one in enumerate(shipped)])))


def _shipped(name: str, kind: T.DataType) -> Column:
    """A cell as the JSON value that it would be: a number, a boolean, a text, or for any other kind a list of its name,
    which never fits."""
    cell = _column(name)
    if isinstance(kind, T.IntegralType | T.DoubleType | T.BooleanType):
        return cell
    if isinstance(kind, T.NumericType):  # by its digits: 0.1 of float32 is 0.1
        return cell.cast("string").try_cast("double")
    if isinstance(kind, T.StringType | T.DateType | T.TimestampType | T.TimestampNTZType):
        return cell.cast("string")
    return F.when(cell.isNotNull(), F.array(F.lit(kind.simpleString())))


def _cells(
    feature: dict[str, Any], read: frame_model.Reader, values: list[Any], wanted: tuple[str, str], wrong: Any
) -> list[Any]:
    """What the reader makes of the values; `wrong` gets a reason in the rows where it does not fit."""
    found = []
    for row, value in enumerate(values):
        try:
            found.append(read(value))
        except frame_model.NO_VALUE:
            found.append(frame_model.NOTHING.get(feature["type"], math.nan))
            wrong[row].append(_reason(*wanted, value))
    return found


def _reason(column: str, what: str, value: Any) -> dict[str, str]:
    text = value[0] if isinstance(value, list) else value
    found = "nothing" if text is None else f"'{str(text)[:MOST_SHOWN]}'"
    return {"column": column, "expected": what, "found": found}


def _column(name: str) -> Column:
    return F.col(f"`{name}`")


def predicted_columns(contract: Contract) -> list[str]:
    """The names of the columns of a prediction: prediction; and its interval, or a probability for each label."""
    if contract.labels:
        return ["prediction", *[f"probability_{label}" for label in contract.labels]]
    return ["prediction", *(["prediction_low", "prediction_high"] if contract.interval else [])]


def predictions(session: onnxruntime.InferenceSession, contract: Contract, features: pd.DataFrame) -> list[Array]:
    """What the prediction service returns for these rows, in the order of `predicted_columns`. `features` are named by
    the graph's inputs, NaN and "" where missing. Raises ValueError where the model's output is not a finite number."""
    values, probabilities = onnx_runtime.served(session, features)
    if probabilities is not None:
        return [values.astype(object), *probabilities.T]
    half = contract.interval.half_width if contract.interval else None
    bounds = [] if half is None else [onnx_runtime.seven_digits(bound) for bound in (values - half, values + half)]
    return [values, *bounds]


def _write(table: DataFrame, folder: Path, places: Places) -> None:
    if places.format == "parquet":
        table.write.parquet(f"file:{folder}")
        return
    if places.safe:
        table = table.select(*[_without_formulas(name, kind) for name, kind in table.dtypes])
    # Spark would trim the cells, and write nothing as a pair of quotes.
    exact: dict[str, Any] = {"ignoreLeadingWhiteSpace": False, "ignoreTrailingWhiteSpace": False, "emptyValue": ""}
    table.write.csv(f"file:{folder}", header=True, quote='"', escape='"', **exact)


def _without_formulas(name: str, kind: str) -> Column:
    cell = _column(name)
    safe = F.when(cell.rlike(FORMULA), F.concat(F.lit("'"), cell)).otherwise(cell) if kind == "string" else cell
    return safe.alias(f"'{name}" if re.match(FORMULA, name) else name)


@contextmanager
def staged(places: Places) -> Iterator[tuple[Path, Path]]:
    """Where to write the scored and the rejected rows: in a folder .NAME.scoring beside each place. At the end of the
    block the rejected rows are moved to their place, then the scored ones: who finds these finds both whole.

    A process that was killed leaves its .NAME.scoring, which the next scoring into the same place removes. Raises
    OutputExists where something lies in a place that is not to be replaced, OutputBusy where another scoring writes.
    """
    targets = [places.output.resolve(), places.rejected.resolve()]
    if targets[0] == targets[1]:
        raise ConfigError(f"--output and --rejected are both {places.output}", "Name two places.")
    staging = [target.with_name(f".{target.name}.scoring") for target in targets]
    _require_free(targets, places.overwrite)
    with _alone(staging[0]), _alone(staging[1]):
        yield staging[0] / "new", staging[1] / "new"
        _require_free(targets, places.overwrite)
        for folder, target in zip(reversed(staging), reversed(targets), strict=True):
            if target.exists():
                target.rename(folder / "old")
            (folder / "new").rename(target)


def _require_free(targets: list[Path], overwrite: bool) -> None:
    """Raises OutputExists. Only an earlier result is ever replaced, which Spark marks by a file of its own."""
    for target in filter(Path.exists, targets):
        if not ((finished := (target / "_SUCCESS").is_file()) and overwrite):
            raise OutputExists(target, finished)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """An empty folder, locked until the end of the block or of the process, and then gone. Raises OutputBusy."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock no folders
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputBusy(folder) from None
        if not folder.exists():  # another scoring ended a moment ago
            raise OutputBusy(folder)
        for left in folder.iterdir():
            shutil.rmtree(left)
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
