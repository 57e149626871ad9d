"""From the bytes of a request to rows that the model understands, or to complaints that name row and column.

How a value of JSON, or the text of a CSV cell, becomes a feature's value is written in the contract: what counts as
missing, as a number, as true, as a date and as a category. So training, the service, scoring and the monitoring read
alike. A JSON string is read as the text of a cell.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic_core import from_json

from prediction_api.errors import MOST_COMPLAINTS, Complaint, NotJson, Place, WrongContent
from prediction_api.models.contract import (
    BooleanFeature,
    CategoryFeature,
    Contract,
    DateFeature,
    Feature,
    NumberFeature,
    Reading,
    Value,
)
from prediction_api.models.predictor import Row

MOST_ROWS = 10_000
MOST_UNKNOWN = 1_000
_SPARE_ROW_BYTES = 64_000
_LISTS = (list, tuple)
FLOAT32_MAX = 3.4028234663852886e38  # a larger number would become infinite in the graph's float32
SPACE = " \t\r\n\u00a0"  # trimmed from both ends of a cell

Reader = Callable[[Any], Value]


def reader_of(feature: Feature, reading: Reading) -> Reader:
    """A function from a JSON value or a cell's text to the feature's value; it raises ValueError where none fits."""
    from_text: Callable[[str], Value]
    from_json: Reader
    match feature:
        case NumberFeature():
            from_text, from_json = _number_of(reading), _json_number
        case CategoryFeature():
            from_text, from_json = _category_of(feature)
        case BooleanFeature():
            from_text, from_json = _boolean_of(feature)
        case DateFeature():
            from_text, from_json = _date_of(feature)
    nullable, missing = feature.nullable, {"", *(word.lower() for word in reading.missing)}
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
            if text.lower() not in missing:
                return from_text(text)
        elif not _is_missing(value, missing_numbers):
            return from_json(value)
        if nullable:
            return None
        raise ValueError("missing")

    return read


def _is_missing(value: Any, missing_numbers: set[float]) -> bool:
    """NaN is the missing value of pandas, NumPy and their clients."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value is None
    return value != value or (bool(missing_numbers) and value in missing_numbers)  # noqa: PLR0124


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
        value = float(text.replace(reading.decimal, "."))
        if abs(value) > FLOAT32_MAX:
            raise ValueError("not finite in float32")
        return value

    return number


def _number_or_none(text: str, reading: Reading) -> float | None:
    try:
        return _number_of(reading)(text)
    except ValueError:
        return None


def _json_number(value: Any) -> float:
    """Of a value that is not missing, so not NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > FLOAT32_MAX:
        raise ValueError("not a number")
    return float(value)


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


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows that are lists are read: each feature's reader and place in the row, and the length of a row.

    `each` says in words what a row is, `nothing` what a missing value is called.
    """

    columns: list[tuple[Reader, int]]
    length: int
    each: str = ""
    nothing: str = "null"


class RowReader:
    """Reads request bodies for one contract, from several threads at once."""

    def __init__(self, contract: Contract) -> None:
        self.features, self._target = contract.features, contract.target
        self.names = [feature.name for feature in contract.features]
        self.accepted = {name: feature for feature in contract.features for name in (feature.name, feature.input)}
        self._readers = {feature.name: reader_of(feature, contract.reading) for feature in contract.features}
        self._last: tuple[tuple[str, ...] | None, list[tuple[Reader, int]]] = None, []  # names that most rows share
        self._open = [
            (place, one.name, frozenset(one.categories))
            for place, one in enumerate(contract.features)
            if isinstance(one, CategoryFeature) and one.unknown == "accept"
        ]
        longest = [max(map(len, getattr(one, "categories", [""]))) for one in contract.features]
        names = [max(len(one.name), len(one.input)) for one in contract.features]
        self.most_row_bytes = _SPARE_ROW_BYTES + sum(64 + 6 * (a + b) for a, b in zip(names, longest, strict=True))

    def one(self, body: bytes) -> Row:
        """The row in a body that is one JSON object. Raises NotJson or WrongContent."""
        row = read_json(body)
        try:
            return self._values(row, None)
        except (ValueError, LookupError, TypeError):
            raise WrongContent(self._complaints(row, (), None)) from None

    def many(self, body: bytes) -> list[Row]:
        """The rows of a body {"rows": [...]}, 1 to 10,000. Raises NotJson or WrongContent."""
        document = read_json(body)
        if not isinstance(document, dict) or "rows" not in document:
            raise WrongContent.at((), f'expected a JSON object {{"rows": [...]}}, found {shown(document)}')
        if others := document.keys() - {"rows"}:
            raise WrongContent.at((min(others)[:100],), "expected `rows` and nothing else")
        return self.rows(some_rows(document["rows"], ("rows",)), ("rows",))

    def rows(self, found: Iterable[Any], place: Place, layout: Layout | None = None) -> list[Row]:
        """The rows in objects of feature and value, or in lists of this layout. Raises WrongContent.

        `place` is where they are in the body.
        """
        complaints: list[Complaint] = []
        rows = self.read(enumerate(found), place, complaints, layout)
        if complaints:
            raise WrongContent(complaints)
        return rows

    def layout(
        self, names: Sequence[str], place: Place, each: str = "", nothing: str = "null", others: bool = False
    ) -> Layout:
        """Of lists whose values stand in the order of `names`; with `others`, there may be names that are no feature.

        Raises WrongContent, with the names at `place`.
        """
        checked = [name for name in names if name in self.accepted] if others else names
        if complaints := self.check_names(checked, place):
            raise WrongContent(complaints)
        return Layout(self._columns(names), len(names), each, nothing)

    def read(
        self, numbered: Iterable[tuple[int, Any]], place: Place, complaints: list[Complaint], layout: Layout | None
    ) -> list[Row]:
        """The rows that fit; for the others `complaints` grows, to its limit."""
        rows: list[Row] = []
        for number, row in numbered:
            try:
                rows.append(self._values(row, layout))
            except (ValueError, LookupError, TypeError):
                complaints += self._complaints(row, (*place, number), layout)
                if len(complaints) >= MOST_COMPLAINTS:
                    break
        return rows

    def unknown(self, row: Row) -> list[str]:
        """The features whose category is not one of the training table's; the model predicts without it."""
        return [name for place, name, known in self._open if row[place] not in known and row[place] is not None]

    def check_names(self, names: Iterable[str], place: Place) -> list[Complaint]:
        """What is wrong with the names of a row or of a table: each feature is there once, by either of its names."""
        complaints, seen = [], set()
        for name in names:
            feature = self.accepted.get(name)
            if feature is None or feature.name in seen:
                what = self._surplus(name)
                complaints.append(Complaint((*place, name[:100]), what))
                if len(complaints) >= MOST_COMPLAINTS:
                    return complaints
            else:
                seen.add(feature.name)
        absent = [feature for feature in self.features if feature.name not in seen]
        found = [Complaint((*place, one.name), f"missing; expected {expectation(one)}") for one in absent]
        return (complaints + found)[:MOST_COMPLAINTS]

    def _surplus(self, name: str) -> str:
        """What is wrong with a name that is not of a feature which is still missing."""
        if name in self.accepted:
            return f"the feature {self.accepted[name].name!r} is given twice"
        if name == self._target:
            return "this is the target, which the model predicts: leave it out"
        near = get_close_matches(name[:100], self.accepted, n=1)
        return "the model has no such feature" + (f"; the nearest is {near[0]!r}" if near else "")

    def _values(self, row: Any, layout: Layout | None) -> Row:
        """Raises ValueError, LookupError or TypeError; `_complaints` says why."""
        if layout is not None:
            if not isinstance(row, _LISTS) or len(row) != layout.length:
                raise TypeError
            return [read(row[place]) for read, place in layout.columns]
        if row.__class__ is not dict:
            raise TypeError
        names, values = tuple(row), list(row.values())
        known, columns = self._last
        if names != known:
            if len(names) != len(self.features):
                raise LookupError
            columns = self._columns(names)
            self._last = names, columns
        return [read(values[place]) for read, place in columns]

    def _columns(self, names: Sequence[str]) -> list[tuple[Reader, int]]:
        """Each feature's reader, and its place among these names. Raises LookupError where one is missing."""
        places = {self.accepted[name].name: place for place, name in enumerate(names) if name in self.accepted}
        return [(read, places[name]) for name, read in self._readers.items()]

    def _complaints(self, row: Any, place: Place, layout: Layout | None) -> list[Complaint]:
        """What was expected and what was found, in the words of the contract."""
        if layout is None:
            if not isinstance(row, dict):
                return [Complaint(place, f"expected one JSON object of feature and value, found {shown(row)}")]
            if len(row) - len(self.features) > MOST_UNKNOWN:  # naming them would take longer than everything else
                many = f"at least {len(row) - len(self.features)} names in this object are not features of the model"
                return [Complaint(place, many)]
            given = [(feature, value, name) for name, value in row.items() if (feature := self.accepted.get(name))]
            wrong_names, nothing = self.check_names(row, place), "null"
        elif not isinstance(row, _LISTS) or len(row) != layout.length:
            found = len(row) if isinstance(row, _LISTS) else shown(row)
            return [Complaint(place, f"expected {layout.each}, found {found}")]
        else:
            pairs = zip(self.features, layout.columns, strict=True)
            given = [(feature, row[key], feature.name) for feature, (_, key) in pairs]
            wrong_names, nothing = [], layout.nothing
        complaints = []
        for feature, value, name in given:
            try:
                self._readers[feature.name](value)
            except ValueError as error:
                what = nothing if value is None or value == "" else shown(value)
                if value and str(error) == "missing":
                    what += ", which means no value"
                complaints.append(Complaint((*place, name), f"expected {expectation(feature, nothing)}, found {what}"))
        return (complaints + wrong_names)[:MOST_COMPLAINTS]


_SPACE_BEFORE_COLON = re.compile(rb"\s:")


def read_json(body: bytes) -> Any:
    """The document in a body. Raises NotJson, or WrongContent for a name that an object holds twice."""
    try:
        document = from_json(body)
    except ValueError as error:
        raise NotJson(str(error)) from None
    # Each name ends in `":`. Where as many are counted as names were read, none was repeated; else look closely.
    if body.count(b'":') != _names_in(document) or _SPACE_BEFORE_COLON.search(body):
        json.loads(body.decode(), object_pairs_hook=_refuse_repeated, parse_int=str, parse_float=str)
    return document


def some_rows(rows: Any, place: Place) -> list[Any]:
    """These rows if they are a list of 1 to 10,000. Raises WrongContent."""
    if not isinstance(rows, list):
        raise WrongContent.at(place, f"expected a list of rows, found {shown(rows)}")
    if not 1 <= len(rows) <= MOST_ROWS:
        what = f"expected 1 to {MOST_ROWS} rows, found {len(rows)}; more fit into one call as CSV"
        raise WrongContent.at(place, what)
    return rows


def _names_in(document: Any) -> int:
    if isinstance(document, dict):
        inner = [one for one in document.values() if one.__class__ is dict or one.__class__ is list]
        return len(document) + sum(map(_names_in, inner))
    if isinstance(document, list):
        return sum(_names_in(one) for one in document if one.__class__ is dict or one.__class__ is list)
    return 0


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    names = set[str]()
    for name, _ in pairs:
        if name in names:
            raise WrongContent.at((name[:100],), "this name occurs twice in one object")
        names.add(name)
