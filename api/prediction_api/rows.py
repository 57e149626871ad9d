"""From the bytes of a request to rows that the model understands, or to complaints that name row and column."""

from difflib import get_close_matches
from typing import Annotated, Any, Literal, cast

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails

from prediction_api.contract import CategoryFeature, Contract, Feature
from prediction_api.errors import Complaint, NotJson, WrongContent
from prediction_api.predictor import Row

MOST_ROWS = 10_000
MOST_COMPLAINTS = 20  # enough to see the pattern; a hostile body must not make a report larger than itself
MOST_UNKNOWN = 1_000
_FLOAT32_MAX = 3.4028234663852886e38


class Batch(BaseModel):
    """The envelope of a batch; its rows are looked at one by one, so that other requests get their turn."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rows: list[Any] = Field(min_length=1, max_length=MOST_ROWS)


class RowReader:
    """Reads request bodies for one contract. `model` is the Pydantic model of a row; it also gives the JSON schema."""

    def __init__(self, contract: Contract) -> None:
        self._features = contract.features
        self._accepted = [name for feature in contract.features for name in {feature.name, feature.input}]
        self.model = _row_model(contract)
        self._fields = tuple(self.model.model_fields)

    def one(self, body: bytes) -> Row:
        """The row in a body that is one JSON object. Raises NotJson or WrongContent."""
        try:
            return self._values(self.model.model_validate_json(body))
        except ValidationError as error:
            _raise_if_not_json(error)
            raise WrongContent(*_summary(self._complaints(error, ()))) from None

    def many(self, body: bytes) -> list[Row]:
        """The rows of a body {"rows": [...]}, 1 to 10,000. Raises NotJson or WrongContent."""
        try:
            given = Batch.model_validate_json(body).rows
        except ValidationError as error:
            _raise_if_not_json(error)
            complaints = [Complaint(one["loc"], one["msg"]) for one in error.errors(include_url=False)]
            raise WrongContent(*_summary(complaints)) from None
        rows: list[Row] = []
        complaints = []
        for number, row in enumerate(given):
            try:
                rows.append(self._values(self.model.model_validate(row)))
            except ValidationError as error:
                complaints += self._complaints(error, ("rows", number))
                if len(complaints) >= MOST_COMPLAINTS:
                    break
        if complaints:
            raise WrongContent(*_summary(complaints))
        return rows

    def _values(self, row: BaseModel) -> Row:
        values = row.__dict__
        return [values[field] for field in self._fields]

    def _complaints(self, error: ValidationError, prefix: tuple[str | int, ...]) -> list[Complaint]:
        unknown = error.error_count() - len(self._features)
        if unknown > MOST_UNKNOWN:  # listing them would take longer than everything else together
            return [Complaint(prefix, f"at least {unknown} names in this object are not features of the model")]
        found = error.errors(include_url=False)[:MOST_COMPLAINTS]
        return [Complaint((*prefix, *map(_short, one["loc"][:1])), self._message(one)) for one in found]

    def _message(self, error: ErrorDetails) -> str:
        """What was expected and what was found, in the words of the contract."""
        found = _shown(error["input"])
        if not error["loc"]:
            return f"expected one JSON object of feature and value, found {found}"
        key = str(error["loc"][0])
        if error["type"] == "extra_forbidden":
            near = get_close_matches(key[:100], self._accepted, n=1)
            return "the model has no such feature, or it is given twice" + (
                f"; the nearest is {near[0]!r}" if near else ""
            )
        expected = _expected(next(one for one in self._features if key in (one.name, one.input)))
        return f"missing; expected {expected}" if error["type"] == "missing" else f"expected {expected}, found {found}"


def _row_model(contract: Contract) -> type[BaseModel]:
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
        limits = {"allow_inf_nan": False, "ge": -_FLOAT32_MAX, "le": _FLOAT32_MAX}
    kind = Annotated[kind, Field(**limits)]
    names = AliasChoices(*dict.fromkeys([feature.name, feature.input]))
    described = Field(validation_alias=names, title=feature.name, description=describe(feature))
    return (kind | None if feature.nullable else kind, described)


def describe(feature: Feature) -> str:
    """One line for people: unit and the range seen in training."""
    if isinstance(feature, CategoryFeature):
        return _expected(feature)
    seen = (
        "" if feature.low is None or feature.high is None else f"seen in training: {feature.low:g} to {feature.high:g}"
    )
    return ", ".join(part for part in (f"in {feature.unit}" if feature.unit else "", seen) if part) or "a number"


def _expected(feature: Feature) -> str:
    if isinstance(feature, CategoryFeature):
        shown = ", ".join(map(repr, feature.categories[:10])) + (", ..." if len(feature.categories) > 10 else "")
        what = f"one of {shown}"
    else:
        what = "a finite number"
    return f"{what} or null" if feature.nullable else what


def _short(key: str | int) -> str | int:
    return key[:100] if isinstance(key, str) else key


def _shown(value: object) -> str:
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
    number = isinstance(value, int | float) and not (isinstance(value, int) and abs(value) > _FLOAT32_MAX)
    return f"{value:g}" if number else "an integer beyond the range of float32"


def _summary(complaints: list[Complaint]) -> tuple[str, tuple[Complaint, ...]]:
    shown = tuple(complaints[:MOST_COMPLAINTS])
    first = shown[0]
    where = " ".join(map(str, first.loc)) or "body"
    least = "at least " if len(complaints) >= MOST_COMPLAINTS else ""
    more = f" (and {least}{len(complaints) - 1} more)" if len(complaints) > 1 else ""
    return f"{where}: {first.msg}{more}", shown


def _raise_if_not_json(error: ValidationError) -> None:
    for one in error.errors(include_url=False, include_input=False)[:1]:
        if one["type"] == "json_invalid":
            raise NotJson(one["msg"]) from None
