"""Which rows a model takes, by the contract inside it, and what is wrong with the others: expressions for Spark SQL.

The verdict is that of the prediction service on the same row. A CSV cell is read as training reads it: trimmed, with
nothing in it where it says so in a word. Parquet's columns have types, and text in a column of numbers is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training.data.cells import Reading as CellReading
from training.data.files import Source
from training.errors import DataError

FLOAT32_MAX = 3.4028234663852886e38  # a larger number would become infinite in the graph's float32
MOST_SHOWN = 40
READING = CellReading(("?", "n/a", "na", "nan", "none", "null"))
MALFORMED = "__malformed"

Feature = dict[str, Any]  # one of the contract's


@dataclass(frozen=True)
class Reading:
    """A feature in a table: its column there, the value for the graph, and whether a row has a wrong one."""

    feature: Feature
    column: str
    value: Column
    wrong: Column

    @property
    def expected(self) -> str:
        """What the service would say that it expects."""
        what = "a finite number"
        if self.feature["type"] == "category":
            known = self.feature["categories"]
            what = f"one of {', '.join(map(repr, known[:10]))}" + (", ..." if len(known) > 10 else "")
        return f"{what} or nothing" if self.feature.get("nullable") else what

    @property
    def reason(self) -> Column:
        """What is wrong with a row here; null where nothing is."""
        cell = F.substring(F.col(f"`{self.column}`").cast("string"), 1, MOST_SHOWN)
        found = F.coalesce(F.concat(F.lit("'"), cell, F.lit("'")), F.lit("nothing"))
        return F.when(self.wrong, _reason(self.column, F.lit(self.expected), found))


def readings(features: list[Feature], table: DataFrame, source: Source) -> list[Reading]:
    """Each feature of the contract in the table, under either of its names. Raises DataError where one is not there."""
    types = {field.name: field.dataType for field in table.schema}
    found = {
        feature["name"]: [name for name in types if name in (feature["name"], feature["input"])] for feature in features
    }
    if absent := [name for name, columns in found.items() if not columns]:
        raise DataError(
            f"{source.name}: expected a column for each feature of the model; missing: {', '.join(absent)}",
            f"Add them; a name may also be written as an identifier. Found: {', '.join(types)}.",
        )
    if twice := [columns for columns in found.values() if len(columns) > 1]:
        raise DataError(
            f"{source.name}: columns '{twice[0][0]}' and '{twice[0][1]}' are the same feature", "Remove one of the two."
        )
    return [_reading(feature, found[feature["name"]][0], types, source.format == "csv") for feature in features]


def _reading(feature: Feature, column: str, types: dict[str, T.DataType], as_text: bool) -> Reading:
    """The expressions are kept small: Spark compiles them, and a method of its Java code must not exceed 64 kB."""
    cell = READING.text(F.col(f"`{column}`")) if as_text else F.col(f"`{column}`")
    numeric = isinstance(types[column], T.NumericType)
    nothing = F.lit(None)
    if feature["type"] == "number":
        value = cell.cast("double") if numeric else nothing.cast("double")
        value = READING.value(cell) if as_text else value
        right = F.abs(value) <= FLOAT32_MAX  # not so for NaN, which Spark orders behind every number
    else:
        value = nothing.cast("string") if numeric else cell.cast("string")
        right = value.isin(feature["categories"])
        value = F.coalesce(value, F.lit(""))
    may_be_nothing = cell.isNull() if feature.get("nullable") else F.lit(False)
    return Reading(feature, column, value, ~F.coalesce(right, may_be_nothing))


def reasons(found: list[Reading], columns: int, malformed: bool) -> Column:
    """All that is wrong with a row: an array of (column, expected, found), empty for a row that the model takes.

    `columns` is how many cells a CSV line should have.
    """
    wrong = F.array_compact(F.array(*[reading.reason for reading in found]))
    if not malformed:
        return wrong
    line = F.concat(F.lit("'"), F.substring(F.col(MALFORMED), 1, MOST_SHOWN), F.lit("'"))
    whole = F.array(_reason("", F.lit(line_of(columns)), line))
    return F.when(F.col(MALFORMED).isNotNull(), whole).otherwise(wrong)


def line_of(columns: int) -> str:
    """What a malformed line should have been."""
    return f"a line of {columns} cells"


def _reason(column: str, expected: Column, found: Column) -> Column:
    return F.struct(F.lit(column).alias("column"), expected.alias("expected"), found.alias("found"))
