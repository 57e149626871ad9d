"""Everything that can go wrong in this service, as one tree.

PredictionApiError
├── StartRefused              the process cannot start; one line, exit code 2
├── RequestRefused            one request is answered with application/problem+json
│   ├── UnknownModel          404  a model that is not served, or a version that is not live
│   ├── WrongKey              401  the service asks for a key, and none or another one was given
│   ├── TooSlow               408  the request did not arrive in time
│   ├── BodyTooLarge          413
│   ├── WrongContentType      415
│   ├── NotJson               422  the body is not JSON at all
│   ├── NotCsv                422  the body cannot be read as CSV
│   ├── WrongContent          422  the rows do not fit the model's contract; names row and column
│   ├── WrongFeedback         422  it names no prediction, or its truth is none for the model's task
│   ├── TooBusy               429  more is waiting than can be answered soon
│   ├── TooManyConnections    429
│   ├── HeadTooLarge          431
│   ├── PredictionFailed      500  the model ran and gave nothing usable
│   ├── NoModel               503  no model has been promoted yet, or none could be loaded
│   ├── NoRoom                503  a CSV body or its answer cannot be kept as a file
│   ├── FeedbackNotKept       503  the prediction log is off, full or cannot be written
│   └── HistoryUnavailable    503  the ledger cannot be read, and was never read before
└── RegistryAway, NoChampion, ModelRefused   what keeps a model from going live: `model_errors`
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong with the input: where (keys and row numbers from the outside in) and what."""

    loc: tuple[str | int, ...]
    msg: str


class PredictionApiError(Exception):
    """The root. `detail` says what happened this time; `hint` says what to do about this kind of error."""

    title: ClassVar[str] = "Error"
    hint: ClassVar[str] = ""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @classmethod
    def code(cls) -> str:
        """The class's name in kebab case; the stable name of this kind of error in metrics and problem types."""
        return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in cls.__name__).lstrip("-")


class StartRefused(PredictionApiError):
    """The process cannot start as configured."""

    title = "The service cannot start"


class RequestRefused(PredictionApiError):
    """A request that is answered with a problem document."""

    status: ClassVar[int] = 400
    headers: ClassVar[dict[str, str]] = {}

    def __init__(
        self, detail: str, complaints: tuple[Complaint, ...] = (), members: Mapping[str, object] | None = None
    ) -> None:
        """`members` are further members of the problem document."""
        super().__init__(detail)
        self.complaints = complaints
        self.members = members or {}


class UnknownModel(RequestRefused):
    """The path names a model that is not served, or another version of it than the one that is live."""

    status = 404
    title = "This model is not served"
    hint = "GET /models lists what is served. Without a version in the path, whichever is live answers."


class WrongKey(RequestRefused):
    """No key was given, or none that is known."""

    status = 401
    title = "No valid key"
    hint = "Send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'; whoever runs the service gives it out."
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="prediction service"'}


class TooSlow(RequestRefused):
    """A client began a request and did not end it."""

    status = 408
    title = "The request took too long to arrive"
    hint = "Send it again over a better connection, in smaller parts, or raise API_REQUEST_SECONDS on the server."


class TooBusy(RequestRefused):
    """The answer would come too late, so none is attempted."""

    status = 429
    title = "Too busy"
    hint = "Wait for the seconds in Retry-After and send it again; for many rows use fewer, larger batches."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class TooManyConnections(RequestRefused):
    """One connection more than the process takes."""

    status = 429
    title = "Too many connections"
    hint = "Send several requests over one connection."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class HeadTooLarge(RequestRefused):
    """The request line and headers are larger than the service takes."""

    status = 431
    title = "Request head too large"
    hint = "Send fewer or shorter headers; what is to be predicted belongs into the body."


class BodyTooLarge(RequestRefused):
    """The body is larger than the service takes."""

    status = 413
    title = "Body too large"
    hint = "Send fewer rows per call, or raise API_MAX_BODY_BYTES (for CSV: API_MAX_CSV_BYTES) on the server."


class WrongContentType(RequestRefused):
    """The body is not announced as JSON, or where the call takes it as CSV, in UTF-8."""

    status = 415
    title = "Unsupported content type"
    hint = (
        "Send JSON in UTF-8, uncompressed, with the header 'Content-Type: application/json'; "
        "/predict/batch and /invocations take 'text/csv' too."
    )


class NotJson(RequestRefused):
    """The body cannot be read as JSON."""

    status = 422
    title = "The body is not valid JSON"
    hint = "Send one JSON document in UTF-8; /docs shows an example that fits the model."


class NotCsv(RequestRefused):
    """The body cannot be read as CSV."""

    status = 422
    title = "The body is not valid CSV"
    hint = "Send UTF-8 text: a line with the names of the features, then a line per row; quote as RFC 4180 says."


class WrongContent(RequestRefused):
    """The rows do not fit the contract of the model that is loaded."""

    status = 422
    title = "The input does not fit the model"
    hint = "Give every feature of the model once, with its type; GET /model lists them and /docs shows an example."


class WrongFeedback(RequestRefused):
    """The feedback names no prediction, or its truth does not fit the model's task."""

    status = 422
    title = "The feedback does not fit"
    hint = (
        'Send {"id": the id of the answer, "actual": the true value}; row n of a batch has the id "<id>.<n>", from 0.'
    )


class PredictionFailed(RequestRefused):
    """The model gave an error or a value that is no finite number."""

    status = 500
    title = "The model gave no usable prediction"
    hint = "The input was accepted, so the model is at fault: roll back to an earlier version."


class NoModel(RequestRefused):
    """There is nothing to predict with."""

    status = 503
    title = "No model is loaded"
    hint = "Train and promote a model; GET /readyz says what the registry answers and what was refused."


class NoRoom(RequestRefused):
    """The disk that holds temporary files is full, or cannot be written."""

    status = 503
    title = "No room to work on the table"
    hint = "Send it again later or in parts; on the server, see that the folder for temporary files (TMPDIR) has room."


class FeedbackNotKept(RequestRefused):
    """The feedback would be lost."""

    status = 503
    title = "Feedback cannot be kept now"
    hint = "Send it again later; on the server, see that PREDICTION_LOG_DIR is set, is writable and has room."


class HistoryUnavailable(RequestRefused):
    """The ledger cannot be read, and was never read before."""

    status = 503
    title = "The model's history cannot be read"
    hint = "Predictions go on. Check that the tracking server runs and that MLFLOW_TRACKING_URI names it."
