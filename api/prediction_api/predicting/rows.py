"""From the bytes of a request to rows that the model understands, or to complaints that name row and column."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails, from_json

from prediction_api.errors import Complaint, NotJson, WrongContent
from prediction_api.models.contract import CategoryFeature, Contract, Feature
from prediction_api.models.predictor import Row

FLOAT32_MAX = 3.4028234663852886e38
MOST_ROWS = 10_000
MOST_COMPLAINTS = 20  # enough to see the pattern; a hostile body must not make a report larger than itself
MOST_UNKNOWN = 1_000


class Batch(BaseModel):
    """The envelope of a batch; its rows are looked at one by one, so that other requests get their turn."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rows: list[Any] = Field(min_length=1, max_length=MOST_ROWS)


Place = tuple[str | int, ...]


class RowReader:
    """Reads request bodies for one contract. `model` is the Pydantic model of a row; it also gives the JSON schema."""

    def __init__(self, contract: Contract) -> None:
        self.features = contract.features
        self.accepted = {name: feature for feature in contract.features for name in (feature.name, feature.input)}
        self.model = row_model(contract)
        self._fields = tuple(self.model.model_fields)

    def one(self, body: bytes) -> Row:
        """The row in a body that is one JSON object. Raises NotJson or WrongContent."""
        try:
            return self._values(self.model.model_validate_json(body))
        except ValidationError as error:
            _raise_if_not_json(error)
            raise wrong_content(self._complaints(error, ())) from None

    def many(self, body: bytes) -> list[Row]:
        """The rows of a body {"rows": [...]}, 1 to 10,000. Raises NotJson or WrongContent."""
        return self.rows(read_envelope(Batch, body).rows, ("rows",))

    def rows(self, given: Iterable[Any], place: Place) -> list[Row]:
        """The rows in objects of feature and value; `place` is where they are in the body. Raises WrongContent."""
        complaints: list[Complaint] = []
        rows = self.read(enumerate(given), place, complaints)
        if complaints:
            raise wrong_content(complaints)
        return rows

    def read(
        self, numbered: Iterable[tuple[int, Any]], place: Place, complaints: list[Complaint], nothing: str = "null"
    ) -> list[Row]:
        """The rows that fit; for the others `complaints` grows, to its limit. `nothing` is a missing value's name."""
        validate, rows = self.model.model_validate, []
        for number, row in numbered:
            try:
                rows.append(self._values(validate(row)))
            except ValidationError as error:
                complaints += self._complaints(error, (*place, number), nothing)
                if len(complaints) >= MOST_COMPLAINTS:
                    break
        return rows

    def check_names(self, names: Sequence[str], place: Place) -> list[Complaint]:
        """What is wrong with the names of a table's columns: each feature is there once, by either of its names."""
        complaints, seen = [], set()
        for name in names:
            feature = self.accepted.get(name)
            if feature is None or feature.name in seen:
                complaints.append(Complaint((*place, name[:100]), self.unknown(name)))
                if len(complaints) >= MOST_COMPLAINTS:
                    return complaints
            else:
                seen.add(feature.name)
        for feature in self.features:
            if feature.name not in seen:
                complaints.append(Complaint((*place, feature.name), f"missing; expected {expectation(feature)}"))
        return complaints

    def unknown(self, name: str) -> str:
        """What is wrong with a name that is no feature's, or is one's a second time."""
        near = get_close_matches(name[:100], self.accepted, n=1)
        nearest = f"; the nearest is {near[0]!r}" if near and near[0] != name else ""
        return f"the model has no such feature, or it is given twice{nearest}"

    def _values(self, row: BaseModel) -> Row:
        values = row.__dict__
        return [values[field] for field in self._fields]

    def _complaints(self, error: ValidationError, prefix: Place, nothing: str = "null") -> list[Complaint]:
        unknown = error.error_count() - len(self.features)
        if unknown > MOST_UNKNOWN:  # listing them would take longer than everything else together
            return [Complaint(prefix, f"at least {unknown} names in this object are not features of the model")]
        found = error.errors(include_url=False)[:MOST_COMPLAINTS]
        return [Complaint((*prefix, *map(_short, one["loc"][:1])), self._message(one, nothing)) for one in found]

    def _message(self, error: ErrorDetails, nothing: str) -> str:
        """What was expected and what was found, in the words of the contract."""
        found = nothing if error["input"] is None else shown(error["input"])
        if not error["loc"]:
            return f"expected one JSON object of feature and value, found {found}"
        key = str(error["loc"][0])
        if error["type"] == "extra_forbidden":
            return self.unknown(key)
        expected = expectation(self.accepted[key], nothing)
        return f"missing; expected {expected}" if error["type"] == "missing" else f"expected {expected}, found {found}"


Envelope = TypeVar("Envelope", bound=BaseModel)


def read_json(body: bytes) -> Any:
    """The document in a body. Raises NotJson."""
    try:
        return from_json(body)
    except ValueError as error:
        raise NotJson(str(error)) from None


def read_envelope(kind: type[Envelope], body: bytes) -> Envelope:
    """What is around the rows of a body. Raises NotJson or WrongContent."""
    given = read_json(body)  # faster than the model's own reading, which keeps other requests waiting
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        if error.error_count() > MOST_UNKNOWN:
            what = f"{error.error_count()} names or values in this object are not as expected"
            raise wrong_content([Complaint((), what)]) from None
        found = error.errors(include_url=False)[:MOST_COMPLAINTS]
        complaints = [Complaint(tuple(map(_short, one["loc"][:4])), one["msg"]) for one in found]
        raise wrong_content(complaints) from None


def _short(key: str | int) -> str | int:
    return key[:100] if isinstance(key, str) else key


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


def wrong_content(complaints: list[Complaint]) -> WrongContent:
    """One error for all complaints: the first in its sentence, at most 20 in its list."""
    shown = tuple(complaints[:MOST_COMPLAINTS])
    first = shown[0]
    where = " ".join(map(str, first.loc)) or "body"
    least = "at least " if len(complaints) >= MOST_COMPLAINTS else ""
    more = f" (and {least}{len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return WrongContent(f"{where}: {first.msg}{more}", shown)


def _raise_if_not_json(error: ValidationError) -> None:
    for one in error.errors(include_url=False, include_input=False)[:1]:
        if one["type"] == "json_invalid":
            raise NotJson(one["msg"]) from None


def row_model(contract: Contract) -> type[BaseModel]:
    """A Pydantic model with a field per feature, in the contract's order, known by both of the feature's names.

    The fields' own names are neutral: a column may be called "copy" or "model_config".
    """
    fields = {f"feature_{number}": _field(feature) for number, feature in enumerate(contract.features)}
    example = {feature.name: feature.example for feature in contract.features}
    settings = ConfigDict(
        strict=True, extra="forbid", title="Features", json_schema_extra={"example": cast("Any", example)}
    )
    return create_model("Features", __config__=settings, **cast("Any", fields))


def _field(feature: Feature) -> tuple[Any, Any]:
    kind: Any
    limits: dict[str, Any] = {}
    if isinstance(feature, CategoryFeature):
        kind = Literal[tuple(feature.categories)]
    else:
        kind = float
        # a larger number would become infinite in the graph's float32
        limits = {"allow_inf_nan": False, "ge": -FLOAT32_MAX, "le": FLOAT32_MAX}
    kind = Annotated[kind, Field(**limits)]
    names = AliasChoices(*dict.fromkeys([feature.name, feature.input]))
    described = Field(validation_alias=names, title=feature.name, description=describe(feature))
    return (kind | None if feature.nullable else kind, described)


def describe(feature: Feature) -> str:
    """One line for people: unit and the range seen in training."""
    if isinstance(feature, CategoryFeature):
        return expectation(feature)
    seen = (
        "" if feature.low is None or feature.high is None else f"seen in training: {feature.low:g} to {feature.high:g}"
    )
    return ", ".join(part for part in (f"in {feature.unit}" if feature.unit else "", seen) if part) or "a number"


def expectation(feature: Feature, nothing: str = "null") -> str:
    """What a value of this feature must be, in words."""
    if isinstance(feature, CategoryFeature):
        shown = ", ".join(map(repr, feature.categories[:10])) + (", ..." if len(feature.categories) > 10 else "")
        what = f"one of {shown}"
    else:
        what = "a finite number"
    return f"{what} or {nothing}" if feature.nullable else what
