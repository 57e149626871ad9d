"""All errors of this service.

PredictionApiError
├── StartRefused     the process cannot start; one line, exit code 2
├── RequestRefused   one request is answered with application/problem+json; a subclass for each cause
├── RegistryAway     the registry did not answer, or not in its own protocol
│   └── NotThere     the registry answers that it does not have what was asked for
├── SourceAway       a part of the stack did not answer the overview; its sentence says what to do
└── ModelRefused     a version is not served, and the live one stays; a subclass for each cause
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import ValidationError

MOST_COMPLAINTS = 20  # enough to show a pattern; a hostile body must not cause a report larger than itself
Place = tuple[str | int, ...]  # keys and row numbers from the outside in


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong with the input: where and what."""

    loc: Place
    msg: str

    def __str__(self) -> str:
        return f"{' '.join(map(str, self.loc)) or 'body'}: {self.msg}"


def complaints_of(error: ValidationError, place: Place = (), depth: int = 4) -> list[Complaint]:
    """What Pydantic found in the document at `place`, at most 20 complaints, each with at most `depth` inner keys."""
    found = error.errors(include_url=False, include_input=False)[:MOST_COMPLAINTS]
    inner = [tuple(key[:100] if isinstance(key, str) else key for key in one["loc"][:depth]) for one in found]
    return [Complaint((*place, *keys), one["msg"]) for keys, one in zip(inner, found, strict=True)]


class PredictionApiError(Exception):
    """The root. `detail` says what happened; `title` and `hint` describe the kind of error and what to do."""

    title: ClassVar[str]
    hint: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @classmethod
    def code(cls) -> str:
        """The class's name in kebab case; the stable name of this kind of error in metrics and problem types."""
        return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in cls.__name__).lstrip("-")


class StartRefused(PredictionApiError):
    pass


class RegistryAway(PredictionApiError):
    pass


class NotThere(RegistryAway):
    pass


class SourceAway(PredictionApiError):
    pass


class RequestRefused(PredictionApiError):
    status: ClassVar[int]
    headers: Mapping[str, str]

    def __init_subclass__(cls, *, status: int, title: str, headers: Mapping[str, str] | None = None) -> None:
        cls.status, cls.title, cls.headers = status, title, headers or {}

    def __init__(self, detail: str, complaints: Sequence[Complaint] = (), **members: object) -> None:
        """`members` are further members of the problem document."""
        super().__init__(detail)
        self.complaints, self.members = complaints, members


class MalformedRequest(RequestRefused, status=400, title="Malformed request"):
    hint = "Send HTTP/1.1 as in RFC 9110 and RFC 9112."


class WrongKey(RequestRefused, status=401, title="No valid key", headers={"WWW-Authenticate": "Bearer"}):
    hint = "Send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'; the operator of the service has it."


class ForeignOrigin(RequestRefused, status=403, title="Calls from other sites' pages are refused"):
    hint = "To allow that page, set API_ALLOWED_HOSTS on the server to its host name."


class NotFound(RequestRefused, status=404, title="Not found"):
    hint = "/docs lists every call."


class UnknownModel(RequestRefused, status=404, title="This model is not served"):
    hint = "GET /models lists the served models. Without a version in the path, the live version answers."


class MethodNotAllowed(RequestRefused, status=405, title="Method not allowed"):
    hint = "/docs lists every call."


class TooSlow(RequestRefused, status=408, title="The request took too long to arrive"):
    hint = "Send it again in smaller parts or over a faster connection."


class BodyTooLarge(RequestRefused, status=413, title="Body too large"):
    hint = "Send fewer rows per call, or raise API_MAX_BODY_BYTES on the server (CSV may have four times as much)."


class WrongContentType(RequestRefused, status=415, title="Unsupported content type"):
    hint = (
        "Send uncompressed JSON in UTF-8 as 'application/json'; /predict/batch and /invocations also accept 'text/csv'."
    )


class UnknownHost(RequestRefused, status=421, title="Unknown host name"):
    hint = "Call the service by an IP address or as localhost, or set API_ALLOWED_HOSTS on the server to this name."


class NotJson(RequestRefused, status=422, title="The body is not valid JSON"):
    hint = "Send one JSON document in UTF-8, with each name once per object; /docs shows an example for the model."


class NotCsv(RequestRefused, status=422, title="The body is not valid CSV"):
    hint = "Send UTF-8 text: a line with the names of the features, then a line per row, quoted as in RFC 4180."


class WrongContent(RequestRefused, status=422, title="The input does not fit the model"):
    hint = (
        "Give every feature of the model once, with its type; a CSV may have other columns with ?passthrough=true. "
        "GET /model or /models/NAME/model lists the features, /docs shows an example."
    )

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        """The first complaint makes the sentence; at most 20 are listed."""
        least = "at least " if len(complaints) >= MOST_COMPLAINTS else ""
        more = f" (and {least}{len(complaints) - 1} more)" if len(complaints) > 1 else ""
        super().__init__(f"{complaints[0]}{more}", complaints[:MOST_COMPLAINTS])

    @classmethod
    def at(cls, place: Place, what: str) -> Self:
        return cls([Complaint(place, what)])


class WrongQuery(RequestRefused, status=422, title="A query parameter is wrong"):
    hint = "/docs lists the query parameters of each call."


class WrongFeedback(RequestRefused, status=422, title="The feedback does not fit"):
    hint = 'Send {"id": the id of the answer, "actual": the true value}; row n of a batch, from 0, has the id <id>.<n>.'


class TooBusy(RequestRefused, status=429, title="Too busy", headers={"Retry-After": "1"}):
    hint = "Wait the seconds in Retry-After and send it again; for many rows use fewer, larger batches."


class TooManyConnections(RequestRefused, status=429, title="Too many connections", headers={"Retry-After": "1"}):
    hint = "Send several requests over one connection."


class HeadTooLarge(RequestRefused, status=431, title="Request head too large"):
    hint = "Send fewer or shorter headers; the features belong in the body."


class InternalError(RequestRefused, status=500, title="Internal error"):
    hint = "This is a fault of the service; its log has the details under this request id."


class PredictionFailed(RequestRefused, status=500, title="The model returned no usable prediction"):
    hint = "The input was accepted, so the fault is in the model: roll back to an earlier version."


class NoModel(RequestRefused, status=503, title="No model is loaded"):
    hint = "Train and promote a model. GET /readyz shows what the registry answers and which version was refused."


class NoRoom(RequestRefused, status=503, title="No room for the table"):
    hint = "Send it again later or in parts; on the server, free space in the folder for temporary files (TMPDIR)."


class FeedbackNotKept(RequestRefused, status=503, title="Feedback cannot be stored now"):
    hint = "Send it again later; on the server, check that PREDICTION_LOG_DIR is set, is writable and has room."


class HistoryUnavailable(RequestRefused, status=503, title="The model's history cannot be read"):
    hint = "Predictions continue. Check that the tracking server runs and that MLFLOW_TRACKING_URI is its address."


class ModelRefused(PredictionApiError):
    def __init_subclass__(cls, *, title: str) -> None:
        cls.title = title


class ArtifactUnavailable(ModelRefused, title="Its file cannot be downloaded or stored."):
    hint = "Check that the version has model.onnx, that the server proxies artifacts and that MODELS_DIR is writable."


class DigestMissing(ModelRefused, title="It has no tag model_sha256."):
    hint = "Register versions with the training job, which sets the tag model_sha256."


class DigestMismatch(ModelRefused, title="The file's SHA-256 differs from the registry's tag."):
    hint = "The file was changed or damaged after training: train and promote again."


class SignatureMissing(ModelRefused, title="It has no tag model_signature."):
    hint = "If you trust the version, sign it (`make sign VERSION=`); training signs what it registers."


class SignatureWrong(ModelRefused, title="Its signature is for another file or name, or by an invalid key."):
    hint = "Find out who changed the file or a tag, or retired the key; sign what you trust (`make sign VERSION=`)."


class NoPublicKey(ModelRefused, title="There is no public key, so no signature can be checked."):
    hint = "Set SIGNING_PUBLIC_KEYS to the folder with training's public keys; the service reads it at each poll."


class UnsafeGraph(ModelRefused, title="The file is not an ONNX model, cannot run, or refers to other files."):
    hint = "Export the model as one self-contained ONNX file."


class WrongContract(ModelRefused, title="The contract in the file is missing, malformed or does not fit the graph."):
    hint = "Export the model with the training job, which writes the contract."


class GoldenMismatch(ModelRefused, title="Its predictions for the golden rows differ from those of training."):
    hint = "Graph and contract belong to different models, or this ONNX Runtime computes differently: train again."


class NoRoomForModel(ModelRefused, title="It needs more memory than is left for models."):
    hint = "Train a smaller model (fewer or shallower trees), serve fewer models, or raise API_MODELS_MB and the limit."

    @classmethod
    def code(cls) -> str:
        return "no-room"


class UnsafeName(ModelRefused, title="Its name cannot be used for a folder."):
    hint = "Register it under another name."


class SandboxKilled(ModelRefused, title="The process that checked it was killed from outside, so it was not judged."):
    hint = "The service checks it again by itself. If this repeats, give the service more memory."
