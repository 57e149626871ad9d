"""What one row must hold, made from the contract: a Pydantic model, and the same in words."""

from typing import Annotated, Any, Literal, cast

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, create_model

from prediction_api.models.contract import CategoryFeature, Contract, Feature

FLOAT32_MAX = 3.4028234663852886e38


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
