"""The contract that a model carries inside its ONNX file: what goes in, what comes out, and what it must answer."""

from collections import Counter
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Part(BaseModel):
    """Strict about types; keys that a later version of training adds are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", protected_namespaces=())


class NumberHistogram(Part):
    edges: list[float]
    counts: list[int]
    missing: int = 0


class CategoryHistogram(Part):
    counts: list[int]
    missing: int = 0


class NumberFeature(Part):
    """A column of finite numbers; `low` and `high` are the range seen in training, not a limit."""

    name: str = Field(min_length=1)
    input: str = Field(min_length=1)
    type: Literal["number"]
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    median: float | None = None
    example: float | None = None
    nullable: bool = False
    histogram: NumberHistogram | None = None


class CategoryFeature(Part):
    """A column of texts, each one of `categories`."""

    name: str = Field(min_length=1)
    input: str = Field(min_length=1)
    type: Literal["category"]
    unit: str | None = None
    categories: list[str] = Field(min_length=1)
    example: str | None = None
    nullable: bool = False
    histogram: CategoryHistogram | None = None


Feature = Annotated[NumberFeature | CategoryFeature, Field(discriminator="type")]
Value = float | str | None


class Interval(Part):
    """prediction ± half_width holds the truth in the share `coverage` of cases."""

    coverage: float = Field(gt=0, lt=1)
    half_width: float = Field(ge=0, allow_inf_nan=False)


class Golden(Part):
    """Rows (keyed by `input`) with the predictions that training computed; `tolerance` is absolute."""

    rows: list[dict[str, Value]] = Field(min_length=1)
    predictions: list[float | str]
    probabilities: list[list[float]] | None = None
    tolerance: float = Field(default=1e-4, gt=0, allow_inf_nan=False)


class DataOrigin(Part):
    source: str
    digest: str
    rows: int
    synthetic: bool = False


class Contract(Part):
    """Version 1 of the contract. Lists are in the order of the graph's inputs and of its probabilities."""

    version: Literal[1]
    name: str
    task: Literal["regression", "classification"]
    target: str
    labels: list[str] = []
    features: list[Feature] = Field(min_length=1)
    prediction_histogram: dict[str, list[float]] | None = None
    interval: Interval | None = None
    golden: Golden
    metrics: dict[str, float] = {}
    data: DataOrigin | None = None
    run_id: str | None = None
    trained_at: datetime | None = None
    code_version: str | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        accepted = Counter(key for feature in self.features for key in {feature.name, feature.input})
        if twice := [key for key, count in accepted.items() if count > 1]:
            raise ValueError(f"these names stand for more than one feature: {twice}")
        if (self.task == "classification") != bool(self.labels):
            raise ValueError("classification needs labels, and regression has none")
        golden = self.golden
        if len(golden.predictions) != len(golden.rows):
            raise ValueError(f"{len(golden.rows)} golden rows have {len(golden.predictions)} predictions")
        if golden.probabilities is not None and len(golden.probabilities) != len(golden.rows):
            raise ValueError(f"{len(golden.rows)} golden rows have {len(golden.probabilities)} lists of probabilities")
        inputs = {feature.input for feature in self.features}
        if wrong := [number for number, row in enumerate(golden.rows) if row.keys() != inputs]:
            raise ValueError(f"golden row {wrong[0]} does not give each input once")
        return self
