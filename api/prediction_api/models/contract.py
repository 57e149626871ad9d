"""The contract that a model carries inside its ONNX file: what goes in, what comes out, and what it must answer."""

import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

VERSION = 2  # of a contract, the newest that is read


class Part(BaseModel):
    """Strict about types; keys that a later version of training adds are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Reading(Part):
    """How a text cell is read. A missing word means no value, in any case; so does an empty cell."""

    missing: list[str] = ["na", "n/a", "nan", "null", "?"]
    decimal: Literal[".", ","] = "."
    thousands: str = Field(default="", max_length=1)


class Histogram(Part):
    """Rows between neighbouring `edges`."""

    edges: list[float]
    counts: list[int]
    missing: int = 0


class _Feature(Part):
    """Each has an `example` too: the median, or the most frequent value of training."""

    name: str = Field(min_length=1)
    input: str = Field(min_length=1)
    unit: str | None = None
    nullable: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """The graph's inputs that this feature fills."""
        return (self.input,)

    def cell(self, row: dict[str, "Value"]) -> "Value":
        """What a row of the graph's inputs has here, as a row of the table has it."""
        return row[self.input]


class NumberFeature(_Feature):
    """A column of finite numbers; `low` and `high` are the range seen in training, not a limit."""

    type: Literal["number"]
    low: float | None = None
    high: float | None = None
    example: float | None = None


class CategoryFeature(_Feature):
    """A column of texts. `categories` are those of the training table; `unknown` says whether others are accepted."""

    type: Literal["category"]
    categories: list[str] = Field(min_length=1)
    example: str | None = None
    unknown: Literal["accept", "refuse"] = "accept"


class BooleanFeature(_Feature):
    """A column of two values: `true` and `false` are their spellings in the file. The graph takes 1 and 0."""

    type: Literal["boolean"]
    true: list[str] = Field(min_length=1)
    false: list[str] = Field(min_length=1)
    example: bool | None = None

    def cell(self, row: dict[str, "Value"]) -> "Value":
        value = row[self.input]
        return None if value is None else bool(value)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
PARTS: dict[str, Callable[[datetime], float]] = {
    "days": lambda at: at.toordinal() - _EPOCH,
    "seconds": lambda at: at.hour * 3600 + at.minute * 60 + at.second,
    "month": lambda at: at.month,
    "weekday": lambda at: at.weekday(),
}
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?( ?(Z|[+-]\d\d(:?\d\d)?))?)?", re.ASCII)


class DatePart(Part):
    """A number the graph takes from a date in UTC: days since 1970-01-01, seconds of the day, weekday (Monday 0)."""

    input: str = Field(min_length=1)
    part: Literal["days", "seconds", "month", "weekday"]


class DateFeature(_Feature):
    """A column of dates or timestamps in a `format`: "iso", or a pattern of strptime. A time without a zone is UTC."""

    type: Literal["date"]
    format: str = "iso"
    parts: list[DatePart] = Field(min_length=1)
    low: str | None = None
    high: str | None = None
    example: str | None = None

    @field_validator("low", "high", "example")
    @classmethod
    def _in_format(cls, iso: str | None, known: ValidationInfo) -> str | None:
        """A date of the contract, which has them in ISO 8601, as a row of the table has it."""
        form = known.data.get("format", "iso")
        return iso if iso is None or form == "iso" else iso_moment(iso).strftime(form)

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(part.input for part in self.parts)

    def moment(self, text: str) -> datetime:
        """The moment in a text of this format, in UTC. Raises ValueError."""
        if self.format == "iso":
            return iso_moment(text)
        if not _shape(self.format).fullmatch(text):  # strptime takes fewer digits and those of other scripts, too
            raise ValueError(f"not of the form {self.format}")
        return _in_utc(datetime.strptime(text, self.format))

    def cell(self, row: dict[str, "Value"]) -> "Value":
        """The usual date where the graph takes no day."""
        found = {part.part: row[part.input] for part in self.parts}
        if None in found.values():
            return None
        if "days" not in found:
            return self.example
        days, seconds = (float(found.get(part) or 0) for part in ("days", "seconds"))
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days, seconds=seconds)
        if self.format != "iso":
            return at.strftime(self.format)
        return f"{at:%Y-%m-%dT%H:%M:%S}" if "seconds" in found else f"{at:%Y-%m-%d}"

    def numbers(self, text: Any) -> list[float]:
        """The parts' values for the graph; NaN where there is no date."""
        if text is None:
            return [math.nan] * len(self.parts)
        at = self.moment(text)
        return [PARTS[part.part](at) for part in self.parts]


@lru_cache
def _shape(form: str) -> re.Pattern[str]:
    """The texts of a format: four digits for a year; two for minutes, seconds and where nothing parts the numbers."""
    few = r"\d{1,2}" if re.search("%.[^%]", form) else r"\d\d"
    digits = {"Y": r"\d{4}", "m": few, "d": few, "H": few, "M": r"\d\d", "S": r"\d\d"}
    return re.compile(re.sub("%(.)", lambda found: digits.get(found[1], ".+"), re.escape(form)), re.ASCII)


def iso_moment(text: str) -> datetime:
    """The moment in an ISO 8601 text, in UTC. Raises ValueError."""
    if not _ISO.fullmatch(text):
        raise ValueError("not a date of ISO 8601")
    return _in_utc(datetime.fromisoformat(text.replace(" ", "T", 1).replace(" ", "").replace(",", ".")))


def _in_utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("before the year 1 or after 9999 in UTC") from None


Feature = Annotated[NumberFeature | CategoryFeature | BooleanFeature | DateFeature, Field(discriminator="type")]
Value = bool | float | str | None  # a date is its text


class Interval(Part):
    """prediction ± half_width holds the truth in the share `coverage` of cases."""

    coverage: float = Field(gt=0, lt=1)
    half_width: float = Field(ge=0, allow_inf_nan=False)


class Golden(Part):
    """Rows, by the graph's inputs, with training's predictions; `tolerance` is absolute."""

    rows: list[dict[str, Value]] = Field(min_length=1)
    predictions: list[float | str]
    probabilities: list[list[float]] | None = None
    tolerance: float = Field(default=1e-4, gt=0, allow_inf_nan=False)


class DataOrigin(Part):
    source: str
    digest: str
    rows: int
    synthetic: bool = False


def _reading_of(version: int | None) -> Reading:
    """The reading rules of a contract of version 1, which has none: "none" was a missing value too."""
    return Reading(missing=[*Reading().missing, "none"]) if version == 1 else Reading()


class Threshold(Part):
    """Of two labels, `label` is served where its probability is `value` or more; `chosen_for` says why there."""

    label: str
    value: float = Field(ge=0, le=1)
    chosen_for: str


class Description(Part):
    """What is public of a contract. Lists are in the order of the graph's inputs and of its probabilities."""

    name: str
    task: Literal["regression", "classification"]
    target: str
    labels: list[str] = []
    features: list[Feature] = Field(min_length=1)
    prediction_histogram: Histogram | None = None
    interval: Interval | None = None
    threshold: Threshold | None = None
    metrics: dict[str, float] = {}
    data: DataOrigin | None = None
    trained_at: datetime | None = None
    code_version: str | None = None


class Contract(Description):
    """What version 1 lacks has defaults."""

    version: int = Field(ge=1)
    reading: Reading = Field(default_factory=lambda known: _reading_of(known.get("version")))
    golden: Golden

    def rows(self) -> list[dict[str, Value]]:
        """The golden rows, which training takes from the test set, as rows of the table."""
        return [{feature.name: feature.cell(row) for feature in self.features} for row in self.golden.rows]

    @field_validator("version")
    @classmethod
    def _is_known(cls, version: int) -> int:
        if version > VERSION:
            raise ValueError(f"{version} is of a newer training job; this service reads up to {VERSION}: upgrade it")
        return version

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        accepted = Counter(key for one in self.features for key in {one.name, one.input, *one.inputs})
        if twice := [key for key, count in accepted.items() if count > 1]:
            raise ValueError(f"these names stand for more than one feature: {twice}")
        if (self.task == "classification") != bool(self.labels):
            raise ValueError("classification needs labels, and regression has none")
        golden = self.golden
        if len(golden.predictions) != len(golden.rows):
            raise ValueError(f"{len(golden.rows)} golden rows have {len(golden.predictions)} predictions")
        if golden.probabilities is not None and len(golden.probabilities) != len(golden.rows):
            raise ValueError(f"{len(golden.rows)} golden rows have {len(golden.probabilities)} lists of probabilities")
        inputs = {name for feature in self.features for name in feature.inputs}
        if wrong := [number for number, row in enumerate(golden.rows) if row.keys() != inputs]:
            raise ValueError(f"golden row {wrong[0]} does not give each input once")
        return self
