"""Feedback: the later truth about a prediction, which the monitoring compares with it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from prediction_api.errors import Complaint, WrongFeedback
from prediction_api.models.contract import Contract
from prediction_api.telemetry.prediction_log import ID_PATTERN

MOST_BYTES = 4_096


class Feedback(BaseModel):
    """The id of an answer (`<id>.<n>` for row n of a batch, from 0) and what turned out to be true."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(pattern=ID_PATTERN)
    actual: FiniteFloat | str


class FeedbackAnswer(BaseModel):
    status: str


def read_feedback(body: bytes, contract: Contract) -> Feedback:
    """The feedback in this body. Raises WrongFeedback, also when the truth does not fit the contract's task."""
    try:
        given = Feedback.model_validate_json(body)
    except ValidationError as error:
        wrong = [Complaint(one["loc"][:1], one["msg"]) for one in error.errors(include_url=False, include_input=False)]
        raise _refused(wrong[:5]) from None
    known = contract.labels
    if known and given.actual not in known:
        raise _refused([Complaint(("actual",), f"expected one of {_shown(known)}, found {str(given.actual)[:40]!r}")])
    if not known and isinstance(given.actual, str):
        raise _refused([Complaint(("actual",), f"expected a number, found the text {given.actual[:40]!r}")])
    return given


def feedback_schema(contract: Contract | None) -> dict[str, Any]:
    """The body's JSON schema: a number for regression, one of the labels for classification."""
    schema = Feedback.model_json_schema()
    if contract:
        schema["properties"]["actual"] = {"enum": contract.labels} if contract.labels else {"type": "number"}
    return schema


def _refused(complaints: list[Complaint]) -> WrongFeedback:
    first = complaints[0]
    return WrongFeedback(f"{' '.join(map(str, first.loc)) or 'body'}: {first.msg}", tuple(complaints))


def _shown(labels: list[str]) -> str:
    return ", ".join(map(repr, labels[:10])) + (", ..." if len(labels) > 10 else "")
