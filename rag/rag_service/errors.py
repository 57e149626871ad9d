"""Everything that can go wrong, and what to do about it.

RagError
├── NotReady              503  the models are still loading, or could not be had
│   └── OtherEmbedder     503  the stored vectors were made by another embedding model
├── TooBusy               429  more questions at once than the service takes
├── MalformedRequest      400  not HTTP as its specification has it
├── WrongKey              401  the service asks for a key, and none or another one was given
├── ForeignPage           403  a page of another site asks
├── NotGranted            403  the key is valid, and not for this call or collection
├── TooSlow               408  the request did not arrive in time
├── BodyTooLarge          413  the request is larger than the limit
├── UnknownHost           421  the Host is none of this service's names
├── TooManyConnections    429  more connections than the service keeps open
├── HeadTooLarge          431  the request's head is larger than the limit
├── TooManyFiles          413  more files in one request than the limit
├── EmptyCollection       404  the collection holds no document
├── UnknownDocument       404  no document with this id in the collection
├── NoPageImage           404  of this page of a document no image can be had
├── UnknownJob            404  no job with this id
├── JobCancelled          409  a job was cancelled; its own end, never an HTTP error
├── TooManyUploads        429  more uploads at once than the service takes
├── TooManyImages         429  more images of pages at once than the service draws
├── TooManyJobs           429  more jobs at once than the service takes
├── AlreadyReindexing     409  the documents are being reindexed already
├── Watched               409  the collection is a watched folder's: the folder is the truth
├── StoreFull             507  the disk is full, or the store cannot be written
├── RatingsFull           507  the file of rated questions has reached its limit
├── BadQuestions          422  a set of questions cannot be read, or none can be made
├── BadGate               422  a threshold names no figure, or is no number
├── TrackingFailed        502  the tracking server did not take the figures
├── ModelUnavailable      503  a model could be found neither here nor on its hub
├── UnfitModel            503  a model's folder is there but cannot be used
├── EngineMissing         503  PyTorch is asked for, and is not installed
├── GeneratorFailed       502  the generator's server did not answer; becomes a quotation, never an HTTP error
│   └── RemoteAddress          it is not in a private network, and the settings allow no other
├── BadSettings                a variable has a wrong value (the program does not start)
├── StoreDamaged               the store's file cannot be read (the program does not start)
├── StoreTooNew                a newer release wrote the store (the program does not start)
├── PortTaken                  somebody else listens on the port (the program does not start)
└── LoadFailed                 one file could not be read; becomes that file's verdict, never an HTTP error
"""

from __future__ import annotations

from typing import ClassVar


def counted(number: int, what: str) -> str:
    """counted(1, "file") -> "1 file"; counted(1200, "file") -> "1,200 files"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


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
            "Run `python -m rag_service reindex`, or POST /reindex: it makes the vectors again from the stored text. "
            "Or set RAG_EMBEDDER (and RAG_EMBEDDER_REVISION) back.",
        )


class TooBusy(RagError):
    status, title = 429, "Too busy"

    def __init__(self, waiting: int) -> None:
        super().__init__(
            f"The service is at work on {counted(waiting, 'question')} already.", "Try again in a few seconds."
        )
        self.headers = {"Retry-After": "2"}


class MalformedRequest(RagError):
    status, title = 400, "Malformed request"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, "Send HTTP/1.1 as RFC 9110 and RFC 9112 describe it.")


class WrongKey(RagError):
    status, title = 401, "No valid key"

    def __init__(self) -> None:
        super().__init__(
            "The request carries no valid key.",
            "Send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'; whoever runs the service gives it out.",
        )
        self.headers = {"WWW-Authenticate": 'Bearer realm="question answering"'}


class ForeignPage(RagError):
    status, title = 403, "Calls from other sites' pages are refused"

    def __init__(self, origin: str | None) -> None:
        """`origin` None or "null": the browser does not say which site it is."""
        site = "of another site" if origin in (None, "null") else f"at {origin!r:.100}, which is another site"
        super().__init__(
            f"The request was sent by a page {site}. Only this service's own page may change anything.",
            "If that page may call this service, set RAG_ALLOWED_HOSTS on the server to its host name.",
        )


class NotGranted(RagError):
    status, title = 403, "The key does not allow this"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The key {reason}.", "Use another key; whoever runs the service sets what each one allows.")


class TooSlow(RagError):
    status, title = 408, "The request took too long to arrive"

    def __init__(self) -> None:
        super().__init__(
            "The request was not complete in time.",
            "Send it again over a better connection, in smaller parts, or raise RAG_REQUEST_SECONDS on the server.",
        )


class UnknownHost(RagError):
    status, title = 421, "Unknown host name"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"The Host {host[:100]!r} is not one of this service's names.",
            "Call the service by an IP address or as localhost, or set RAG_ALLOWED_HOSTS on the server to this name.",
        )


class TooManyConnections(RagError):
    status, title = 429, "Too many connections"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{counted(limit, 'connection')} are open, and one was needed for another client.",
            "Send several requests over one connection.",
        )
        self.headers = {"Retry-After": "1"}


class HeadTooLarge(RagError):
    status, title = 431, "Request head too large"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The request's head has more than {limit:,} bytes.",
            "Send fewer or shorter headers; a question belongs into the body.",
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
        super().__init__(
            f"The request has {counted(count, 'file')}; it may have at most {limit:,}.", "Send them in several parts."
        )


class EmptyCollection(RagError):
    status, title = 404, "The collection holds no document"

    def __init__(self, collection: str, others: list[str]) -> None:
        self.collection, self.others = collection, others
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


class NoPageImage(RagError):
    status, title = 404, "No image of this page"

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "GET /documents/{id}/text reads the document's text, where every quote stands.")


class UnknownJob(RagError):
    status, title = 404, "No such job"

    def __init__(self, job: str) -> None:
        super().__init__(
            f"There is no job {job[:80]}.",
            "GET /jobs lists them; a restart forgets them. GET /documents lists what is there.",
        )


class TooManyJobs(RagError):
    status, title = 429, "Too many jobs"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The service runs {counted(limit, 'job')} already.", "Wait until GET /jobs shows that one has ended."
        )
        self.headers = {"Retry-After": "10"}


class JobCancelled(RagError):
    status, title = 409, "Cancelled"

    def __init__(self) -> None:
        super().__init__("The job was cancelled. What it had done stays.")


class TooManyUploads(RagError):
    status, title = 429, "Too many uploads"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The service reads {counted(limit, 'upload')} already.", "Send the files again in a few seconds."
        )
        self.headers = {"Retry-After": "5"}


class TooManyImages(RagError):
    status, title = 429, "Too many images"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The service draws {counted(limit, 'page')} already.", "Ask for the page again in a second.")
        self.headers = {"Retry-After": "1"}


class AlreadyReindexing(RagError):
    status, title = 409, "Reindexing already"

    def __init__(self) -> None:
        super().__init__("The documents are being reindexed already.", "GET /jobs shows how far it is.")


class Watched(RagError):
    status, title = 409, "The collection follows a folder"

    def __init__(self, collection: str, folder: str) -> None:
        super().__init__(
            f"The collection '{collection}' follows the folder {folder}, which says what is in it.",
            "Change the files in the folder, or start the service without RAG_WATCH.",
        )


class StoreFull(RagError):
    status, title = 507, "The store cannot be written"

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(
            f"The store {path} cannot be written ({reason}). Nothing was changed.",
            "Free some disk space, or give the service the right to write there; then try again.",
        )


class RatingsFull(RagError):
    status, title = 507, "No more ratings are kept"

    def __init__(self, path: object, limit: int) -> None:
        super().__init__(
            f"The file of rated questions {path} has reached {limit:,} bytes.",
            "Whoever runs the service can move it away: a new one is begun.",
        )


class StoreDamaged(RagError):
    status, title = 503, "The store is damaged"

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(
            f"The store {path} cannot be read ({reason}).",
            "Put a backup in its place; or move the file away and add the documents again.",
        )


class StoreTooNew(RagError):
    status, title = 503, "The store is a newer release's"

    def __init__(self, path: object, version: int, known: int) -> None:
        super().__init__(
            f"The store {path} has the schema {version}; this release knows {known} at most.",
            "Start the newer release again, or put a backup of before its first start in place.",
        )


class BadQuestions(RagError):
    status, title = 422, "There is nothing to ask"

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(
            f"No questions can be had from {source}: {reason}.",
            "A file must be in SQuAD's format (data, paragraphs, context, qas) or, named .jsonl, hold rated answers "
            "as POST /ratings keeps them; a collection needs whole sentences.",
        )


class BadGate(RagError):
    status, title = 422, "A threshold is wrong"

    def __init__(self, given: str, reason: str) -> None:
        super().__init__(
            f"{given[:80]}: {reason[:300]}.",
            "Give figure=number, such as auroc=0.9, or a JSON file with an object of such.",
        )


class BadSweep(RagError):
    title = "A sweep is wrong"

    def __init__(self, given: str, reason: str) -> None:
        super().__init__(
            f"{given[:80]}: {reason[:300]}.",
            "Give a name and values, such as top_k=1,2,4, depth=16,32, weights=1:0:0,0.9:0:0.1 (late interaction, "
            "cosine, BM25), chunk_tokens=96,160 or overlap_tokens=0,32.",
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
            "config.json and tokenizer.json; or set RAG_ENGINE=torch, which runs what transformers can load.",
        )


class EngineMissing(RagError):
    status, title = 503, "The engine is not installed"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"RAG_ENGINE is torch, and PyTorch cannot be imported ({reason}).",
            "Install it (docs/engines.md), build the image's target torch, or set RAG_ENGINE=ctranslate2.",
        )


class GeneratorFailed(RagError):
    """Neither the key nor a passage stands in `detail`: it is logged."""

    status, title = 502, "The generator's server did not answer"


class RemoteAddress(GeneratorFailed):
    def __init__(self, host: str, address: str) -> None:
        super().__init__(
            f"The model's server {host} has the address {address}, which is not in a private network.",
            "Set RAG_LLM_ALLOW_REMOTE=true if questions and passages of your documents may be sent there.",
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
