"""Which rows a model takes, by the contract inside it, and what is wrong with the others: expressions for Spark SQL.

The verdict is that of the prediction service on the same row: text is read as the contract says, and a typed column of
Parquet as the JSON value that it would be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training.data import cells
from training.data.cells import LARGEST, MINUS, Reading
from training.data.files import Source
from training.errors import DataError
from training.model.contract import (
    BooleanFeature,
    CategoryFeature,
    Contract,
    DateFeature,
    NumberFeature,
    TypedFeature,
)

MOST_SHOWN = 40
MALFORMED = "__malformed"
UNKNOWN = "unknown"  # the column that names the features with a category that training did not know
PLAIN = Reading(())  # a number as JSON has it


@dataclass(frozen=True)
class Cell:
    """A feature's cell as the graph's inputs, which are null where nothing fits. `missing` says whether it is empty.

    `unknown` says whether it holds a category that training did not know; None where no such category is taken.
    """

    inputs: dict[str, Column]
    missing: Column
    unknown: Column | None = None


@dataclass(frozen=True)
class FeatureReading:
    """A feature in a table: its column there and its cells."""

    feature: TypedFeature
    column: str
    cell: Cell

    @property
    def inputs(self) -> dict[str, Column]:
        """The values for the graph: a missing text is empty, a missing number null."""
        if isinstance(self.feature, CategoryFeature):
            return {name: F.coalesce(value, F.lit("")) for name, value in self.cell.inputs.items()}
        return self.cell.inputs

    @property
    def expected(self) -> str:
        """What the service would say that it expects."""
        match self.feature:
            case NumberFeature():
                what = "a finite number"
            case CategoryFeature(unknown="accept"):
                what = "a text"
            case CategoryFeature(categories=known):
                what = f"one of {', '.join(map(repr, known[:10]))}{', ...' if known[10:] else ''}"
            case BooleanFeature(true=true, false=false):
                what = f"true or false (in text: {', '.join(map(repr, [*true, *false][:10]))})"
            case DateFeature(format="iso"):
                what = "a date or time of ISO 8601, as '2026-01-31' or '2026-01-31T10:00:00Z'"
            case DateFeature(format=form):
                what = f"a date of the form {form!r}"
        return f"{what} or nothing" if self.feature.nullable else what

    @property
    def reason(self) -> Column:
        """What is wrong with a row here; null where nothing is."""
        cell = F.substring(F.col(f"`{self.column}`").cast("string"), 1, MOST_SHOWN)
        found = F.coalesce(F.concat(F.lit("'"), cell, F.lit("'")), F.lit("nothing"))
        fits = next(iter(self.cell.inputs.values())).isNotNull()
        wrong = ~(fits | (self.cell.missing & F.lit(self.feature.nullable)))
        return F.when(wrong, _reason(self.column, F.lit(self.expected), found))


def readings(contract: Contract, table: DataFrame, source: Source) -> list[FeatureReading]:
    """Each feature of the contract in the table, under either of its names. Raises DataError where one is not there."""
    types = {field.name: field.dataType for field in table.schema}
    found = {
        feature.name: [name for name in types if name in (feature.name, feature.input)] for feature in contract.features
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
    return [
        FeatureReading(feature, name, _cell(feature, F.col(f"`{name}`"), types[name], contract.reading))
        for feature in contract.features
        for name in found[feature.name]
    ]


def _cell(feature: TypedFeature, cell: Column, kind: T.DataType, reading: Reading) -> Cell:
    """The expressions are kept small: Spark compiles them, and a method of its Java code must not exceed 64 kB."""
    if isinstance(kind, T.NumericType):
        words = list(_numbers(reading.missing, reading))
        value = cell.cast("double")
        missing = cell.isNull() | F.isnan(value) | (value.isin(words) if words else F.lit(False))
        return _number(feature, F.when(~missing, cell.cast("string")), F.when(~missing, value), missing)
    if isinstance(kind, T.BooleanType):
        return _truth(feature, cell)
    if not isinstance(kind, T.StringType | T.DateType | T.TimestampType | T.TimestampNTZType):
        return _unfit(feature, cell)  # no value of a row is a list
    return _text(feature, reading.text(cell), reading)


def _numbers(words: Sequence[str], reading: Reading) -> dict[float, str]:
    """Those words that are numbers, the first of each number."""
    found = [word for word in words if re.match(reading.number, word)]
    return dict(zip(reversed(reading.values(found).tolist()), reversed(found), strict=True))


def _text(feature: TypedFeature, text: Column, reading: Reading) -> Cell:
    """A trimmed text, null where it is missing."""
    missing = text.isNull()
    match feature:
        case NumberFeature():
            value = reading.value(F.translate(text, MINUS, "-"))
            return Cell({feature.input: F.when(F.abs(value) <= LARGEST, value)}, missing)
        case BooleanFeature():
            return Cell({feature.input: cells.boolean(text, feature.true, feature.false)}, missing)
        case DateFeature():
            parts = cells.date(text, feature.format)
            return Cell({part.input: parts[part.part] for part in feature.parts}, missing)
        case CategoryFeature():
            known = text.isin(feature.categories)
            if feature.unknown == "refuse":
                return Cell({feature.input: F.when(known, text)}, missing)
            return Cell({feature.input: text}, missing, F.coalesce(~known, F.lit(False)))


def _number(feature: TypedFeature, text: Column, value: Column, missing: Column) -> Cell:
    """A number of JSON, with its text."""
    finite = F.when(F.abs(value) <= LARGEST, value)  # not so for NaN, which Spark orders behind every number
    match feature:
        case NumberFeature():
            return Cell({feature.input: finite}, missing)
        case BooleanFeature():
            words = {word.casefold(): 0.0 for word in feature.false} | {word.casefold(): 1.0 for word in feature.true}
            numbers = {0.0: 0.0, 1.0: 1.0}
            numbers |= {number: words[word] for number, word in _numbers(list(words), PLAIN).items()}
            return Cell({feature.input: _looked_up(finite, numbers)}, missing)
        case DateFeature():
            digits = F.when(finite.isNotNull(), F.format_string("%.0f", finite))
            return replace(_text(feature, digits, PLAIN), missing=missing)
        case CategoryFeature():
            found = F.when(text.isin(feature.categories), text)
            by_number = _looked_up(finite, _numbers(feature.categories, PLAIN))
            return Cell({feature.input: F.coalesce(found, by_number)}, missing)


def _truth(feature: TypedFeature, cell: Column) -> Cell:
    """true or false of JSON."""
    match feature:
        case BooleanFeature():
            return Cell({feature.input: cell.cast("double")}, cell.isNull())
        case CategoryFeature():
            spelt = {text.casefold(): text for text in reversed(feature.categories)}
            return Cell({feature.input: _looked_up(cell.cast("string"), spelt)}, cell.isNull())
        case _:
            return _unfit(feature, cell)


def _unfit(feature: TypedFeature, cell: Column) -> Cell:
    """A cell of a type that the feature never takes; only an empty one may be in order."""
    names = [part.input for part in feature.parts] if isinstance(feature, DateFeature) else [feature.input]
    kind = "string" if isinstance(feature, CategoryFeature) else "double"
    return Cell({name: F.lit(None).cast(kind) for name in names}, cell.isNull())


def _looked_up(value: Column, found: Mapping[Any, Any]) -> Column:
    pairs = [F.lit(one) for pair in found.items() for one in pair]
    return F.try_element_at(F.create_map(*pairs), value) if pairs else F.lit(None).cast("string")


def reasons(found: Sequence[FeatureReading], columns: int, malformed: bool) -> Column:
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
