"""The cells of a table as its files have them, and what can be told of each column by one look at all of them."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training.config import Config
from training.data import checks
from training.data.checks import is_number
from training.data.files import Source

MISSING_WORDS = ("", "na", "n/a", "nan", "null", "none", "?")
EXACT_NUMBERS = ("tinyint", "smallint", "int", "bigint", "double")  # types whose text, read as a double, is the number


@dataclass(frozen=True)
class Cells:
    """The cells, null where one holds nothing, and which columns are numbers by their type; all others are text."""

    table: DataFrame
    numbers: frozenset[str]


def read(spark: SparkSession, source: Source, malformed: str | None = None) -> DataFrame:
    """The rows as they are: cells of CSV as text, columns of Parquet as they are typed.

    With `malformed`, a column of that name holds the line of a CSV row that has too few or too many cells.
    """
    files = [file.resolve().as_uri() for file in source.files]
    if source.format == "parquet":
        return spark.read.parquet(*files)
    names = [*source.columns, malformed] if malformed else source.columns
    schema = T.StructType([T.StructField(name, T.StringType()) for name in names])
    options: dict[str, str | bool] = {"sep": source.separator, "header": True, "quote": '"', "escape": '"'}
    if malformed:
        options["columnNameOfCorruptRecord"] = malformed
    return spark.read.csv(files, schema=schema, enforceSchema=True, mode="PERMISSIVE", multiLine=False, **options)  # type: ignore[arg-type]


def of(table: DataFrame, source: Source, names: list[str], labels: str | None) -> Cells:
    """The cells of the columns `names`; those of `labels` are text, whatever their type.

    Text is kept in memory, as it is looked at twice. Numbers of Parquet are quicker read again.
    """
    kinds = dict(table.dtypes)
    numbers = frozenset(name for name in names if kinds[name] in EXACT_NUMBERS and name != labels)
    number = {name: F.col(f"`{name}`") for name in numbers}
    number |= {name: F.when(~F.isnan(cell), cell) for name, cell in number.items() if kinds[name] == "double"}
    found = table.select(*[number.get(name, present(name)).alias(name) for name in names])
    return Cells(found.cache() if source.format == "csv" else found, numbers)


def present(name: str) -> Column:
    """The trimmed cell, null where it holds nothing or a word for nothing."""
    cell = F.trim(F.col(f"`{name}`").cast("string"))
    return F.when(~F.lower(cell).isin(*MISSING_WORDS), cell)


def profile(cells: Cells, config: Config) -> tuple[int, dict[str, dict[str, int]]]:
    """Rows, and per column: cells present, cells that are numbers, how many of these are `wrong`, and distinct values
    (estimated, and only of text)."""
    wanted = {("", "rows"): F.count(F.lit(1))}
    for name in cells.table.columns:
        wanted[name, "present"] = F.count(f"`{name}`")
        wanted[name, "wrong"] = F.count_if(checks.wrong(name, config))
        if name not in cells.numbers:
            wanted[name, "numeric"] = F.count_if(is_number(name))
            wanted[name, "distinct"] = F.approx_count_distinct(f"`{name}`")
    found = dict(zip(wanted, cells.table.agg(*wanted.values()).first() or (), strict=True))
    columns: dict[str, dict[str, int]] = {name: {} for name in cells.table.columns}
    for (name, figure), value in found.items():
        columns.setdefault(name, {})[figure] = value
    rows = columns.pop("")["rows"]
    for name in cells.numbers:
        columns[name]["numeric"] = columns[name]["present"]
    return rows, columns
