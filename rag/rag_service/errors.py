"""Everything that can go wrong, and what to do about it.

RagError
├── NotReady              503  the models are still loading, or could not be had
│   └── OtherEmbedder     503  the stored vectors were made by another embedding model
├── TooBusy               429  more questions at once than the service takes
├── ForeignPage           403  a page of another site asks to change something
├── BodyTooLarge          413  the request is larger than the limit
├── TooManyFiles          413  more files in one request than the limit
├── EmptyCollection       404  the collection holds no document
├── UnknownDocument       404  no document with this id in the collection
├── UnknownJob            404  no job with this id
├── TooManyJobs           429  more jobs at once than the service takes
├── AlreadyReindexing     409  the vectors are being made anew already
├── BadSnapshotName       422  a snapshot's name must also do as a file's
├── UnknownSnapshot       404  no snapshot of this name
├── BadSnapshot           409  a snapshot's file is damaged
├── BadQuestions          422  a set of questions cannot be read, or none can be made
├── BadGate               422  a threshold names no figure, or is no number
├── TrackingFailed        502  the tracking server did not take the figures
├── ModelUnavailable      503  a model could be found neither here nor on its hub
├── UnfitModel            503  a model's folder is there but cannot be used
├── BadSettings                a variable has a wrong value (the program does not start)
├── PortTaken                  somebody else listens on the port (the program does not start)
└── LoadFailed                 one file could not be read; becomes that file's verdict, never an HTTP error
"""

from __future__ import annotations

from typing import ClassVar


class RagError(Exception):
    """The root: `detail` says what happened, `hint` what to do; `title` and `status` are fixed by the class."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.headers: dict[str, str] = {}


class NotReady(RagError):
    status, title = 503, "Not ready yet"

    def __init__(self, detail: str, hint: str = "Ask /readyz until it answers 200, then try again.") -> None:
        super().__init__(detail, hint)
        self.headers = {"Retry-After": "5"}


class OtherEmbedder(NotReady):
    title = "The stored vectors are another model's"

    def __init__(self, stored: str, current: str) -> None:
        super().__init__(
            f"The store's vectors were made by {stored}, but the embedder is now {current}. They cannot be compared.",
            "Run `python -m rag_service reindex`, or POST /reindex: it makes the vectors anew from the stored text. "
            "Or set RAG_EMBEDDER (and RAG_EMBEDDER_REVISION) back.",
        )


class TooBusy(RagError):
    status, title = 429, "Too busy"

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} questions are being worked on already.", "Try again in a few seconds.")
        self.headers = {"Retry-After": "2"}


class ForeignPage(RagError):
    status, title = 403, "Not from another site's page"

    def __init__(self) -> None:
        super().__init__(
            "A page of another site asked for this; only this service's own page, and programs, may.",
            "Open the service's own page, or use the command line.",
        )


class BodyTooLarge(RagError):
    status, title = 413, "The request is too large"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The request's body is larger than {limit:,} bytes.",
            "Send less at once: documents in several requests, and questions of at most 2,000 characters.",
        )


class TooManyFiles(RagError):
    status, title = 413, "Too many files at once"

    def __init__(self, count: int, limit: int) -> None:
        super().__init__(f"{count} files were sent; one request takes at most {limit}.", "Send them in several parts.")


class EmptyCollection(RagError):
    status, title = 404, "The collection holds no document"

    def __init__(self, collection: str, others: list[str]) -> None:
        known = f"Collections with documents: {', '.join(others)}." if others else "No document has been added yet."
        super().__init__(
            f"There is no document in the collection '{collection}'.",
            f"{known} Add documents with POST /documents or `python -m rag_service ingest PATH`.",
        )


class UnknownDocument(RagError):
    status, title = 404, "No such document"

    def __init__(self, document_id: str, collection: str) -> None:
        super().__init__(
            f"There is no document {document_id[:80]} in the collection '{collection}'.",
            "GET /documents lists the documents of a collection with their ids.",
        )


class UnknownJob(RagError):
    status, title = 404, "No such job"

    def __init__(self, job: str) -> None:
        super().__init__(
            f"There is no job {job[:80]}.",
            "GET /jobs lists them; a restart forgets them. GET /documents tells what is there.",
        )


class TooManyJobs(RagError):
    status, title = 429, "Too many jobs"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} jobs are running already.", "Wait until GET /jobs shows that one has ended.")
        self.headers = {"Retry-After": "10"}


class AlreadyReindexing(RagError):
    status, title = 409, "Reindexing already"

    def __init__(self) -> None:
        super().__init__("The vectors are being made anew already.", "GET /jobs shows how far it is.")


class BadSnapshotName(RagError):
    status, title = 422, "A snapshot cannot have this name"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"A snapshot cannot be called {name[:80]!r}.",
            "Use at most 64 letters, digits, '.', '_' and '-', beginning with a letter or a digit.",
        )


class UnknownSnapshot(RagError):
    status, title = 404, "No such snapshot"

    def __init__(self, name: str, others: list[str]) -> None:
        known = f"Snapshots: {', '.join(others)}." if others else "No snapshot has been taken yet."
        super().__init__(f"There is no snapshot {name}.", f"{known} POST /snapshots takes one.")


class BadSnapshot(RagError):
    status, title = 409, "The snapshot is damaged"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"The snapshot {name} cannot be read ({reason}). The documents are as they were.", "Restore another one."
        )


class BadQuestions(RagError):
    status, title = 422, "There is nothing to ask"

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(
            f"No questions can be had from {source}: {reason}.",
            "A file must be in SQuAD's format (data, paragraphs, context, qas); a collection needs whole sentences.",
        )


class BadGate(RagError):
    status, title = 422, "A threshold is wrong"

    def __init__(self, given: str, reason: str) -> None:
        super().__init__(
            f"{given[:80]}: {reason[:300]}.",
            "Give figure=number, such as auroc=0.9, or a JSON file with an object of such.",
        )


class TrackingFailed(RagError):
    status, title = 502, "The tracking server did not take the figures"

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"{address} did not take the figures ({reason}).",
            "Set MLFLOW_TRACKING_URI to a running MLflow server, or leave it empty.",
        )


class ModelUnavailable(RagError):
    status, title = 503, "A model cannot be had"

    def __init__(self, name: str, reason: str, variable: str) -> None:
        super().__init__(
            f"The model {name} is neither on this machine nor to be had from its hub ({reason}).",
            f"Set {variable} to a folder that holds the model, or connect this machine to the hub once; "
            "after that it works offline.",
        )


class UnfitModel(RagError):
    status, title = 503, "A model cannot be used"

    def __init__(self, name: str, reason: str, variable: str) -> None:
        super().__init__(
            f"The model {name} cannot be used: {reason}.",
            f"Set {variable} to a BERT-like sentence encoder or a T5-like generator, with its model.safetensors, "
            "config.json and tokenizer.json.",
        )


class BadSettings(RagError):
    title = "A setting is wrong"


class PortTaken(RagError):
    title = "The port is taken"

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"Cannot listen on {host} port {port}: {reason}.",
            "Set RAG_PORT to a free port, or stop the program that holds it.",
        )


class LoadFailed(RagError):
    """One file could not be read. `code` is one of a few fixed words, `detail` the reason for people."""

    title = "The file cannot be read"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
