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
        raise WrongFeedback(str(wrong[0]), wrong[:5]) from None
    labels, found = contract.labels, str(given.actual)[:40]
    if labels and given.actual not in labels:
        known = ", ".join(map(repr, labels[:10])) + (", ..." if len(labels) > 10 else "")
        mismatch = Complaint(("actual",), f"expected one of {known}, found {found!r}")
    elif not labels and isinstance(given.actual, str):
        mismatch = Complaint(("actual",), f"expected a number, found the text {found!r}")
    else:
        return given
    raise WrongFeedback(str(mismatch), [mismatch])


def feedback_schema(contract: Contract | None) -> dict[str, Any]:
    """The body's JSON schema: a number for regression, one of the labels for classification."""
    schema = Feedback.model_json_schema()
    if contract:
        schema["properties"]["actual"] = {"enum": contract.labels} if contract.labels else {"type": "number"}
    return schema
