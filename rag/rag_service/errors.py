"""Everything that can go wrong, and what to do about it.

RagError
├── NotReady              503  the models are still loading, or could not be had
│   └── OtherEmbedder     503  the stored vectors were made by another embedding model
├── TooBusy               429  more questions at once than the service takes
├── BodyTooLarge          413  the request is larger than the limit
├── TooManyFiles          413  more files in one request than the limit
├── EmptyCollection       404  the collection holds no document
├── UnknownDocument       404  no document with this id in the collection
├── ModelUnavailable      503  a model could be found neither here nor on its hub
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
            "Set RAG_EMBEDDER (and RAG_EMBEDDER_REVISION) back, or set RAG_DATA_DIR to an empty folder and ingest "
            "the documents again.",
        )


class TooBusy(RagError):
    status, title = 429, "Too busy"

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} questions are being worked on already.", "Try again in a few seconds.")
        self.headers = {"Retry-After": "2"}


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


class ModelUnavailable(RagError):
    status, title = 503, "A model cannot be had"

    def __init__(self, name: str, reason: str, variable: str) -> None:
        super().__init__(
            f"The model {name} is neither on this machine nor to be had from its hub ({reason}).",
            f"Set {variable} to a folder that holds the model, or connect this machine to the hub once; "
            "after that it works offline.",
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
