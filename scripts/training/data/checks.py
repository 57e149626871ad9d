"""What a table must satisfy; every failure names file, row, column, what was expected, what was found, and the mend."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training.config import Config
from training.data.files import Source, identifier, locate
from training.errors import DataError, ValueProblem

MOSTLY_NUMBERS = 0.5  # above this share of numbers, a column is one of numbers with mistakes in it
MOST_CATEGORIES = 100
MOST_LOCAL_ROWS = 1_000_000
DECIMAL_COMMA = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+$"
LARGEST = 3.4e38  # float32, in which the model computes


def as_number(name: str) -> Column:
    return F.col(f"`{name}`").try_cast("double")


def is_number(name: str) -> Column:
    """Whether the text is a number. 2D and 7f are none, though Java takes the letter for the number's type."""
    return as_number(name).isNotNull() & ~F.col(f"`{name}`").rlike(r"[\d.][dDfF]$")


def columns(columns: list[str], source: Source, config: Config) -> None:
    data = config.data
    wanted = {"data.target": [data.target], "data.ignore": data.ignore, "checks.ranges": list(config.checks.ranges)}
    wanted["data.units"] = list(data.units)
    wanted["data.segment"] = [data.segment] if data.segment else []
    for key, names in wanted.items():
        for name in names:
            if name not in columns:
                raise DataError(
                    f"{source.name}: expected a column '{name}' ({key}), found: {', '.join(columns)}",
                    f"Add the column to the file, or change {key} in pipeline.yaml.",
                )
    if data.target in data.ignore or data.segment in data.ignore:
        raise DataError(f"{source.name}: data.ignore names the target or the segment", "Take it out of data.ignore.")
    if quoted := [name for name in columns if "`" in name]:  # Spark's own quotation mark for names
        raise DataError(f"{source.name}: the name of column '{quoted[0]}' has a backtick in it", "Rename the column.")
    if not set(columns) - {data.target, *data.ignore}:
        raise DataError(f"{source.name}: no column is left to predict '{data.target}' from", "Shorten data.ignore.")
    identifiers: dict[str, str] = {}
    for name in columns:
        other = identifiers.setdefault(identifier(name), name)
        if other != name:
            raise DataError(f"{source.name}: columns '{other}' and '{name}' are alike", "Rename one of the two.")


def types(
    text: DataFrame, source: Source, config: Config, profile: dict[str, dict[str, int]], names: list[str]
) -> tuple[set[str], set[str]]:
    """Which features are numbers and which categories; a column of numbers with text in it is refused."""
    data = config.data
    labels = data.target if data.task == "classification" else None
    _decimal_commas(text, source, profile, [name for name in names if name != labels])
    if data.task == "regression" and profile[data.target]["numeric"] < profile[data.target]["present"]:
        count = profile[data.target]["present"] - profile[data.target]["numeric"]
        _refuse_text(
            text, source, data.target, count, "Regression needs numbers; for labels set data.task: classification."
        )
    numbers, categories = set(), set()
    for name in names:
        column = profile[name]
        if name == data.target:
            if labels:
                _labels(source, name, column["distinct"])
            continue
        if column["present"] == 0:
            raise DataError(f"{source.name}: column '{name}' is empty", "Remove it or add it to data.ignore.")
        if column["numeric"] == column["present"]:
            numbers.add(name)
        elif column["numeric"] > MOSTLY_NUMBERS * column["present"]:
            hint = "Mend the cell (or leave it empty if the value is not known)."
            _refuse_text(text, source, name, column["present"] - column["numeric"], hint)
        elif column["distinct"] > MOST_CATEGORIES:
            raise DataError(
                f"{source.name}: column '{name}': expected at most {MOST_CATEGORIES} categories, "
                f"found about {column['distinct']} different texts",
                f"Free text, identifiers and dates are no features: add '{name}' to data.ignore.",
            )
        else:
            categories.add(name)
    return numbers, categories


def _labels(source: Source, name: str, distinct: int) -> None:
    """`distinct` is an estimate, exact for the few that decide here."""
    if distinct < 2:
        raise DataError(
            f"{source.name}: column '{name}': expected at least two labels, found {distinct}", "Check data.target."
        )
    if distinct > MOST_CATEGORIES:
        raise DataError(
            f"{source.name}: column '{name}': expected at most {MOST_CATEGORIES} labels, found about {distinct}",
            "To predict a number, set data.task: regression; otherwise join rare labels to one.",
        )


def _decimal_commas(text: DataFrame, source: Source, profile: dict[str, dict[str, int]], names: list[str]) -> None:
    """Refuses a column of numbers that are written with a comma: as text they would be categories without an order."""
    counts = {name: profile[name]["present"] - profile[name]["numeric"] for name in names}
    counts = {name: count for name, count in counts.items() if count}
    others = [F.count_if(_no_number(name) & ~F.col(f"`{name}`").rlike(DECIMAL_COMMA)) for name in counts]
    for (name, count), other in zip(counts.items(), text.agg(*others).first() or () if others else (), strict=True):
        if not other:
            hint = (
                "Write it with a point: spreadsheets do in an English locale, pandas with read_csv(..., decimal=',')."
            )
            _refuse_text(text, source, name, count, hint)


def _no_number(name: str) -> Column:
    return F.col(f"`{name}`").isNotNull() & ~is_number(name)


def _refuse_text(text: DataFrame, source: Source, name: str, count: int, hint: str) -> None:
    _refuse(text, source, name, _no_number(name), count, "a number", hint)


def wrong(name: str, config: Config) -> Column:
    """Whether a cell that is a number is outside checks.ranges, or not finite where they do not name its column."""
    value = as_number(name)
    if name not in config.checks.ranges:
        return F.abs(value) > LARGEST
    low, high = config.checks.ranges[name]
    return (value < low) | (value > high)


def numbers(
    cells: DataFrame, source: Source, config: Config, profile: dict[str, dict[str, int]], numbers: set[str]
) -> None:
    """Infinite values and values outside checks.ranges."""
    for name in sorted(numbers):
        if profile[name]["wrong"]:
            expected, hint = "a finite number", "Mend the cell, or leave it empty."
            if name in config.checks.ranges:
                low, high = config.checks.ranges[name]
                expected, hint = f"{low:g} to {high:g}", "Mend the cell, or widen checks.ranges in pipeline.yaml."
            _refuse(cells, source, name, wrong(name, config), profile[name]["wrong"], expected, hint)


def _refuse(cells: DataFrame, source: Source, name: str, wrong: Column, count: int, expected: str, hint: str) -> None:
    """Raises ValueProblem for the first of `count` cells of column `name` where `wrong` holds."""
    first = cells.where(wrong).select(F.col(f"`{name}`").cast("string")).first()
    cell = first[0] if first else ""
    file, row = locate(source, name, cell)
    more = f" (and {count - 1} more in this column)" if count > 1 else ""
    raise ValueProblem(str(file), row, name, expected, f"'{cell}'{more}", hint)


def missing(source: Source, config: Config, profile: dict[str, dict[str, int]], rows: int, features: list[str]) -> None:
    allowed = config.checks.max_missing
    for name in features:
        share = 1 - profile[name]["present"] / rows
        if share > allowed:
            raise DataError(
                f"{source.name}: column '{name}': expected at most {allowed:.0%} missing values, found {share:.0%}",
                "Add the column to data.ignore, or raise checks.max_missing.",
            )


def rows(source: Source, config: Config, report: dict[str, Any]) -> None:
    if report["rows_used"] < config.checks.min_rows:
        raise DataError(
            f"{source.name}: expected at least {config.checks.min_rows} usable rows, found {report['rows_used']} "
            f"({report['rows']} rows, {report['rows_without_target']} without a target, "
            f"{report['rows_repeated']} repeated)",
            "Give more rows, or lower checks.min_rows.",
        )
    if config.search.engine == "local" and report["rows_used"] > MOST_LOCAL_ROWS:
        raise DataError(
            f"{source.name}: expected at most {MOST_LOCAL_ROWS:,} usable rows for search.engine: local, "
            f"found {report['rows_used']:,}",
            "Set search: {engine: spark, candidates: [xgboost]} in pipeline.yaml, or train on a sample of the rows.",
        )
