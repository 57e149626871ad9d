"""From the bytes of a request to rows that the model understands, or to complaints that name row and column."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from prediction_api.errors import MOST_COMPLAINTS, Complaint, NotJson, Place, WrongContent
from prediction_api.models.contract import CategoryFeature, Contract
from prediction_api.models.predictor import Row
from prediction_api.predicting.cells import Reader, expectation, reader_of, shown

MOST_ROWS = 10_000
MOST_UNKNOWN = 1_000
_SPARE_ROW_BYTES = 64_000
_LISTS = (list, tuple)


class Batch(BaseModel):
    """The envelope of a batch; its rows are read one by one, so that other requests get their turn."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rows: list[Any] = Field(min_length=1, max_length=MOST_ROWS)


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows that are lists are read: each feature's reader and place in the row, and the length of a row.

    `each` says in words what a row is, `nothing` what a missing value is called.
    """

    columns: list[tuple[Reader, int]]
    length: int
    each: str
    nothing: str


class RowReader:
    """Reads request bodies for one contract, from several threads at once."""

    def __init__(self, contract: Contract) -> None:
        self.features = contract.features
        self.names = [feature.name for feature in contract.features]
        self.accepted = {name: feature for feature in contract.features for name in (feature.name, feature.input)}
        self._readers = {feature.name: reader_of(feature, contract.reading) for feature in contract.features}
        self._last: tuple[tuple[str, ...] | None, list[tuple[Reader, str]]] = None, []  # names that most rows share
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
        return self.rows(read_envelope(Batch, read_json(body)).rows, ("rows",))

    def rows(self, found: Iterable[Any], place: Place, layout: Layout | None = None) -> list[Row]:
        """The rows in objects of feature and value, or in lists of this layout. Raises WrongContent.

        `place` is where they are in the body.
        """
        complaints: list[Complaint] = []
        rows = self.read(enumerate(found), place, complaints, layout)
        if complaints:
            raise WrongContent(complaints)
        return rows

    def layout(self, names: Sequence[str], place: Place, each: str = "", nothing: str = "null") -> Layout:
        """Of lists whose values stand in the order of `names`. Raises WrongContent, with the names at `place`."""
        if complaints := self.check_names(names, place):
            raise WrongContent(complaints)
        keys = {self.accepted[name].name: key for key, name in enumerate(names)}
        columns = [(self._readers[feature.name], keys[feature.name]) for feature in self.features]
        return Layout(columns, len(keys), each, nothing)

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
                near = get_close_matches(name[:100], self.accepted, n=1)
                nearest = f"; the nearest is {near[0]!r}" if near and near[0] != name else ""
                what = f"the model has no such feature, or it is given twice{nearest}"
                complaints.append(Complaint((*place, name[:100]), what))
                if len(complaints) >= MOST_COMPLAINTS:
                    return complaints
            else:
                seen.add(feature.name)
        absent = [feature for feature in self.features if feature.name not in seen]
        found = [Complaint((*place, one.name), f"missing; expected {expectation(one)}") for one in absent]
        return (complaints + found)[:MOST_COMPLAINTS]

    def _values(self, row: Any, layout: Layout | None) -> Row:
        """Raises ValueError, LookupError or TypeError; `_complaints` says why."""
        if layout is not None:
            if not isinstance(row, _LISTS) or len(row) != layout.length:
                raise TypeError
            return [read(row[key]) for read, key in layout.columns]
        if row.__class__ is not dict:
            raise TypeError
        names = tuple(row)
        known, columns = self._last
        if names != known:
            if len(names) != len(self.features):
                raise LookupError
            by_feature = {self.accepted[name].name: name for name in names}
            columns = [(self._readers[feature.name], by_feature[feature.name]) for feature in self.features]
            self._last = names, columns
        return [read(row[name]) for read, name in columns]

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


Envelope = TypeVar("Envelope", bound=BaseModel)
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
            raise WrongContent.at((name[:100],), "this name is given twice in one object")
        names.add(name)


def read_envelope(kind: type[Envelope], document: Any) -> Envelope:
    """What is around the rows of a body, which `read_json` reads faster than the model would. Raises WrongContent."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        if error.error_count() > MOST_UNKNOWN:
            what = f"{error.error_count()} names or values in this object are not as expected"
            raise WrongContent.at((), what) from None
        found = error.errors(include_url=False)[:MOST_COMPLAINTS]
        places = [tuple(key[:100] if isinstance(key, str) else key for key in one["loc"][:4]) for one in found]
        raise WrongContent([Complaint(at, one["msg"]) for at, one in zip(places, found, strict=True)]) from None
