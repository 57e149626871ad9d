"""One reading of a cell: how a value of JSON, or the text of a CSV cell, becomes a feature's value.

What counts as missing, as a number, as true, as a date and as a category is written in the contract, so that training,
the service, scoring and the monitoring read alike. A JSON string is read as the text of a cell.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from prediction_api.models.contract import (
    BooleanFeature,
    CategoryFeature,
    DateFeature,
    Feature,
    NumberFeature,
    Reading,
    Value,
)

FLOAT32_MAX = 3.4028234663852886e38  # a larger number would become infinite in the graph's float32
SPACE = " \t\r\n\u00a0"  # trimmed from both ends of a cell

Reader = Callable[[Any], Value]


def reader_of(feature: Feature, reading: Reading) -> Reader:
    """A function from a JSON value or a cell's text to the feature's value; it raises ValueError where none fits."""
    from_text, from_json = _conversions(feature, reading)
    nullable, missing = feature.nullable, {"", *(word.casefold() for word in reading.missing)}
    missing_numbers = {number for word in reading.missing if (number := _number_or_none(word, reading)) is not None}

    as_is = isinstance(feature, NumberFeature) and not missing_numbers
    plain = as_is and reading.decimal == "." and not reading.thousands

    def read(value: Any) -> Value:
        if value.__class__ is float and as_is and -FLOAT32_MAX <= value <= FLOAT32_MAX:
            return float(value)
        if plain and value.__class__ is str and value.isascii() and value.isprintable() and "_" not in value:
            try:  # Python's own reading is the fastest, and under these conditions the same
                number = float(value)
            except ValueError:
                number = math.inf
            if -FLOAT32_MAX <= number <= FLOAT32_MAX:
                return number
        if isinstance(value, str):
            text = value.strip(SPACE)
            if text.casefold() not in missing:
                return from_text(text)
        elif not _is_missing(value, missing_numbers):
            return from_json(value)
        if nullable:
            return None
        raise ValueError("missing")

    return read


def _is_missing(value: Any, missing_numbers: set[float]) -> bool:
    """NaN is how pandas, NumPy and the clients that use them say that there is no value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value is None
    return value != value or (bool(missing_numbers) and value in missing_numbers)  # noqa: PLR0124


def _conversions(feature: Feature, reading: Reading) -> tuple[Callable[[str], Value], Reader]:
    """How the feature is read from a trimmed text that is not missing, and from any other value of JSON."""
    match feature:
        case NumberFeature():
            return _number_of(reading), _json_number
        case CategoryFeature():
            return _category_of(feature)
        case BooleanFeature():
            return _boolean_of(feature)
        case DateFeature():
            return _date_of(feature)


def _number_of(reading: Reading) -> Callable[[str], float]:
    decimal, thousands = re.escape(reading.decimal), re.escape(reading.thousands)
    whole = rf"\d{{1,3}}(?:{thousands}\d{{3}})+|\d+" if thousands else r"\d+"
    pattern = re.compile(rf"[+-]?(?:(?:{whole})(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?", re.ASCII)

    def number(text: str) -> float:
        text = text.replace("\u2212", "-")
        if not pattern.fullmatch(text):
            raise ValueError("not a number")
        if thousands:
            text = text.replace(reading.thousands, "")
        return _finite(float(text.replace(reading.decimal, ".")))

    return number


def _number_or_none(text: str, reading: Reading) -> float | None:
    try:
        return _number_of(reading)(text)
    except ValueError:
        return None


def _finite(number: float) -> float:
    if not -FLOAT32_MAX <= number <= FLOAT32_MAX:  # of NaN too
        raise ValueError("not finite in float32")
    return number


def _json_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > FLOAT32_MAX:
        raise ValueError("not a number")
    return _finite(float(value))


def _category_of(feature: CategoryFeature) -> tuple[Callable[[str], Value], Reader]:
    known, refuses = set(feature.categories), feature.unknown == "refuse"
    by_number: dict[float, str] = {}
    by_boolean: dict[str, str] = {}
    for text in sorted(known, reverse=True):  # of several spellings of one value the first stays
        by_boolean[text.casefold()] = text
        if (number := _number_or_none(text, Reading())) is not None:
            by_number[number] = text

    def from_text(text: str) -> str:
        if refuses and text not in known:
            raise ValueError("unknown")
        return text

    def from_json(value: Any) -> str:
        if isinstance(value, bool):
            found = by_boolean.get(str(value).casefold())
        else:
            number = _json_number(value)
            found = str(value) if str(value) in known else by_number.get(number)
        if found is None:
            raise ValueError("no category of this spelling")
        return found

    return from_text, from_json


def _boolean_of(feature: BooleanFeature) -> tuple[Callable[[str], Value], Reader]:
    words = {word.casefold(): False for word in feature.false} | {word.casefold(): True for word in feature.true}

    def from_text(text: str) -> bool:
        if text.casefold() not in words:
            raise ValueError("neither true nor false")
        return words[text.casefold()]

    def from_json(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        number = _json_number(value)
        text = f"{number:g}"
        if text not in words and number not in (0, 1):
            raise ValueError("neither true nor false")
        return words.get(text, number == 1)

    return from_text, from_json


def _date_of(feature: DateFeature) -> tuple[Callable[[str], Value], Reader]:
    def from_text(text: str) -> str:
        feature.moment(text)
        return text

    return from_text, lambda value: from_text(f"{_json_number(value):.0f}")  # a date may be written in digits alone


def expectation(feature: Feature, nothing: str = "null") -> str:
    """What a value of this feature must be, in words."""
    match feature:
        case NumberFeature():
            what = "a finite number"
        case CategoryFeature(unknown="accept"):
            what = "a text"
        case CategoryFeature():
            what = f"one of {', '.join(map(repr, feature.categories[:10]))}{', ...' if feature.categories[10:] else ''}"
        case BooleanFeature():
            what = f"true or false (in text: {', '.join(map(repr, [*feature.true, *feature.false][:10]))})"
        case DateFeature(format="iso"):
            what = "a date or time of ISO 8601, as '2026-01-31' or '2026-01-31T10:00:00Z'"
        case DateFeature():
            what = f"a date of the form {feature.format!r}, as {feature.example!r}"
    return f"{what} or {nothing}" if feature.nullable else what


def describe(feature: Feature) -> str:
    """One line for people: unit and the range seen in training, or what is expected."""
    if not isinstance(feature, NumberFeature):
        return expectation(feature)
    known = [f"in {feature.unit}"] if feature.unit else []
    if feature.low is not None and feature.high is not None:
        known.append(f"seen in training: {feature.low:g} to {feature.high:g}")
    return ", ".join(known) or "a number"


def shown(value: object) -> str:
    """The value found, short and named as in JSON."""
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return f"the text {value[:40]!r}" + ("..." if len(value) > 40 else "")
        case bool():
            return str(value).lower()
    number = isinstance(value, int | float) and not (isinstance(value, int) and abs(value) > FLOAT32_MAX)
    return f"{value:g}" if number else "an integer beyond the range of float32"
