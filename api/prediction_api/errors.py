"""Everything that can go wrong in this service, as one tree.

PredictionApiError
├── StartRefused              the process cannot start; one line, exit code 2
├── RequestRefused            one request is answered with application/problem+json
│   ├── MalformedRequest      400  not HTTP as its specification has it
│   ├── ForeignOrigin         403  a page of another site asks
│   ├── UnknownModel          404  a model that is not served, or a version that is not live
│   ├── WrongKey              401  the service asks for a key, and none or another one was given
│   ├── TooSlow               408  the request did not arrive in time
│   ├── BodyTooLarge          413
│   ├── WrongContentType      415
│   ├── UnknownHost           421  the Host is none of this service's names
│   ├── NotJson               422  the body is not JSON at all, or an object has a name twice
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
├── RegistryAway              the registry did not answer
├── NotThere                  the registry answers that it does not have what was asked for
└── ModelRefused              a version is not served, and the live one goes on
    ├── ArtifactUnavailable   its file cannot be fetched or kept
    ├── DigestMissing         the registry holds no digest to check it against
    ├── DigestMismatch        its bytes are not those that were promoted
    ├── SignatureMissing      nobody signed it
    ├── SignatureWrong        the training side did not sign this file under this name
    ├── NoPublicKey           the service has no key to check signatures with
    ├── UnsafeGraph           not an ONNX file, or one that would read other files
    ├── WrongContract         its contract is missing, malformed or at odds with its graph
    ├── GoldenMismatch        it does not give the predictions that training computed
    ├── NoRoomForModel        it does not fit into the memory for models, alone or with the others
    └── SandboxKilled         something else ended the process that tried it
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

MOST_COMPLAINTS = 20  # enough to see the pattern; a hostile body must not make a report larger than itself
Place = tuple[str | int, ...]  # keys and row numbers from the outside in


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong with the input: where and what."""

    loc: Place
    msg: str

    def __str__(self) -> str:
        return f"{' '.join(map(str, self.loc)) or 'body'}: {self.msg}"


class PredictionApiError(Exception):
    """The root. `detail` says what happened this time."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @classmethod
    def code(cls) -> str:
        """The class's name in kebab case; the stable name of this kind of error in metrics and problem types."""
        return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in cls.__name__).lstrip("-")


class StartRefused(PredictionApiError):
    """The process cannot start as configured."""


class RequestRefused(PredictionApiError):
    """A request that is answered with a problem document; `hint` says what to do about this kind of error."""

    status: ClassVar[int]
    title: ClassVar[str]
    hint: ClassVar[str]
    headers: ClassVar[dict[str, str]] = {}

    def __init_subclass__(cls, *, status: int, title: str) -> None:
        cls.status, cls.title = status, title

    def __init__(
        self, detail: str, complaints: Sequence[Complaint] = (), members: Mapping[str, object] | None = None
    ) -> None:
        """`members` are further members of the problem document."""
        super().__init__(detail)
        self.complaints = complaints
        self.members = members or {}


class MalformedRequest(RequestRefused, status=400, title="Malformed request"):
    hint = "Send HTTP/1.1 as RFC 9110 and RFC 9112 describe it."


class ForeignOrigin(RequestRefused, status=403, title="Calls from other sites' pages are refused"):
    hint = "If that page may call this service, set API_ALLOWED_HOSTS on the server to its host name."


class UnknownHost(RequestRefused, status=421, title="Unknown host name"):
    hint = "Call the service by an IP address or as localhost, or set API_ALLOWED_HOSTS on the server to this name."


class UnknownModel(RequestRefused, status=404, title="This model is not served"):
    hint = "GET /models lists what is served. Without a version in the path, whichever is live answers."


class WrongKey(RequestRefused, status=401, title="No valid key"):
    hint = "Send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'; whoever runs the service gives it out."
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="prediction service"'}


class TooSlow(RequestRefused, status=408, title="The request took too long to arrive"):
    hint = "Send it again over a better connection, in smaller parts, or raise API_REQUEST_SECONDS on the server."


class TooBusy(RequestRefused, status=429, title="Too busy"):
    hint = "Wait for the seconds in Retry-After and send it again; for many rows use fewer, larger batches."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class TooManyConnections(RequestRefused, status=429, title="Too many connections"):
    hint = "Send several requests over one connection."
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class HeadTooLarge(RequestRefused, status=431, title="Request head too large"):
    hint = "Send fewer or shorter headers; what is to be predicted belongs into the body."


class BodyTooLarge(RequestRefused, status=413, title="Body too large"):
    hint = "Send fewer rows per call, or raise API_MAX_BODY_BYTES (for CSV: API_MAX_CSV_BYTES) on the server."


class WrongContentType(RequestRefused, status=415, title="Unsupported content type"):
    hint = (
        "Send JSON in UTF-8, uncompressed, with the header 'Content-Type: application/json'; "
        "/predict/batch and /invocations take 'text/csv' too."
    )


class NotJson(RequestRefused, status=422, title="The body is not valid JSON"):
    hint = "Send one JSON document in UTF-8, each name once in an object; /docs shows an example that fits the model."


class NotCsv(RequestRefused, status=422, title="The body is not valid CSV"):
    hint = "Send UTF-8 text: a line with the names of the features, then a line per row; quote as RFC 4180 says."


class WrongContent(RequestRefused, status=422, title="The input does not fit the model"):
    hint = "Give every feature of the model once, with its type; GET /model lists them and /docs shows an example."

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        """The first complaint makes the sentence; at most 20 are listed."""
        least = "at least " if len(complaints) >= MOST_COMPLAINTS else ""
        more = f" (and {least}{len(complaints) - 1} more)" if len(complaints) > 1 else ""
        super().__init__(f"{complaints[0]}{more}", complaints[:MOST_COMPLAINTS])

    @classmethod
    def at(cls, place: Place, what: str) -> Self:
        return cls([Complaint(place, what)])


class WrongFeedback(RequestRefused, status=422, title="The feedback does not fit"):
    hint = (
        'Send {"id": the id of the answer, "actual": the true value}; row n of a batch has the id "<id>.<n>", from 0.'
    )


class PredictionFailed(RequestRefused, status=500, title="The model gave no usable prediction"):
    hint = "The input was accepted, so the model is at fault: roll back to an earlier version."


class NoModel(RequestRefused, status=503, title="No model is loaded"):
    hint = "Train and promote a model; GET /readyz says what the registry answers and what was refused."


class NoRoom(RequestRefused, status=503, title="No room to work on the table"):
    hint = "Send it again later or in parts; on the server, see that the folder for temporary files (TMPDIR) has room."


class FeedbackNotKept(RequestRefused, status=503, title="Feedback cannot be kept now"):
    hint = "Send it again later; on the server, see that PREDICTION_LOG_DIR is set, is writable and has room."


class HistoryUnavailable(RequestRefused, status=503, title="The model's history cannot be read"):
    hint = "Predictions go on. Check that the tracking server runs and that MLFLOW_TRACKING_URI names it."


class RegistryAway(PredictionApiError):
    """The registry did not answer, or not in its own protocol."""


class NotThere(PredictionApiError):
    """The registry answers that it does not have what was asked for."""


class ModelRefused(PredictionApiError):
    """A model version that is not served; /docs shows each kind with its docstring and hint."""

    hint: ClassVar[str]


class ArtifactUnavailable(ModelRefused):
    """The version's file cannot be fetched, or not be kept."""

    hint = "Check that the version holds model.onnx, that the server proxies artifacts and that MODELS_DIR is writable."


class DigestMissing(ModelRefused):
    """The version has no tag model_sha256."""

    hint = "Register versions through the training job, which sets the tag model_sha256."


class DigestMismatch(ModelRefused):
    """The file's SHA-256 differs from the registry's tag."""

    hint = "The file was changed or damaged after training: train and promote again."


class SignatureMissing(ModelRefused):
    """The version has no tag model_signature."""

    hint = "If you know where the version comes from, sign it (`make sign VERSION=`); training signs what it registers."


class SignatureWrong(ModelRefused):
    """The signature belongs to another file or name, or to a key that is not valid here."""

    hint = (
        "The file or a tag was changed after training, or the key was retired. Find out who did it; "
        "a version that you vouch for can be signed again (`make sign VERSION=`)."
    )


class NoPublicKey(ModelRefused):
    """There is no public key, so no signature can be checked."""

    hint = "Set SIGNING_PUBLIC_KEYS to the folder with the training side's public keys; it is read at each look."


class UnsafeGraph(ModelRefused):
    """The file is no ONNX model, cannot run, or refers to other files."""

    hint = "Export the model as one self-contained ONNX file."


class WrongContract(ModelRefused):
    """The contract inside the file is missing, malformed or does not describe the graph."""

    hint = "Export the model with the training job, which writes the contract."


class GoldenMismatch(ModelRefused):
    """Replaying the golden rows gave other predictions than training did."""

    hint = (
        "The graph and its contract belong to different models, or this ONNX Runtime computes differently: train again."
    )


class NoRoomForModel(ModelRefused):
    """It would take more memory than there is for models."""

    hint = "Train a smaller model (fewer or shallower trees), serve fewer models, or raise API_MODELS_MB and the limit."

    @classmethod
    def code(cls) -> str:
        return "no-room"


class SandboxKilled(ModelRefused):
    """The process that tried the model was killed from outside, mostly for want of memory: no verdict on the model."""

    hint = "It is tried again by itself. If it happens again, give the service more memory."
