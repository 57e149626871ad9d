"""All errors of the service, each with what to do about it.

Each is a RagError with its HTTP status. Errors that stop the start, end a command, or become the verdict of a file or
a part of an answer have no status of their own. A subclass that takes facts makes its sentences of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar


def counted(number: int, what: str) -> str:
    """counted(1, "file") -> "1 file"; counted(1200, "file") -> "1,200 files"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


class RagError(Exception):
    """The root: `detail` says what happened, `hint` what to do. The class fixes `title`, `status` and `headers`."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


def kinds_of(error: type[RagError]) -> Iterator[type[RagError]]:
    """Those below `error` that a request can be refused with."""
    for kind in error.__subclasses__():
        if kind.status != RagError.status and "title" in vars(kind):
            yield kind
        yield from kinds_of(kind)


class _Worded(RagError):
    """The class fixes both sentences; `{0}`, `{1}` … are the facts."""

    words: ClassVar[str]
    advice: ClassVar[str] = ""

    def __init__(self, *facts: object) -> None:
        super().__init__(self.words.format(*facts), self.advice.format(*facts))


# ---- The service is not there yet, or has too much to do


class NotReady(RagError):
    status, title, headers = 503, "Not ready yet", {"Retry-After": "5"}

    def __init__(self, detail: str, hint: str = "Wait until /readyz answers 200, then try again.") -> None:
        super().__init__(detail, hint)


class OtherEmbedder(NotReady):
    title = "The stored vectors are from another model"

    def __init__(self, stored: str, current: str) -> None:
        super().__init__(
            f"The store's vectors were made by {stored}, but the embedder is now {current}. They cannot be compared.",
            "Run `python -m rag_service reindex`, or POST /reindex, to make the vectors again from the stored text. "
            "Or set RAG_EMBEDDER back.",
        )


class TooBusy(_Worded):
    status, title, headers = 429, "Too busy", {"Retry-After": "2"}
    words, advice = "The service is already processing {0}.", "Try again in a few seconds."


class TooManyUploads(_Worded):
    status, title, headers = 429, "Too many uploads", {"Retry-After": "5"}
    words, advice = "The service is already reading {0}.", "Send the files again in a few seconds."


class TooManyImages(_Worded):
    status, title, headers = 429, "Too many images", {"Retry-After": "1"}
    words, advice = "The service is already drawing {0}.", "Request the page again in a second."


class TooManyJobs(_Worded):
    status, title, headers = 429, "Too many jobs", {"Retry-After": "10"}
    words, advice = "The service is already running {0}.", "Wait until GET /jobs shows that one has ended."


class TooManyConnections(_Worded):
    status, title, headers = 429, "Too many connections", {"Retry-After": "1"}
    words = "{0} are open, and one was needed for another client."
    advice = "Send several requests over one connection."


# ---- A request that is not answered


class MalformedRequest(_Worded):
    status, title = 400, "Malformed request"
    words, advice = "The request is not HTTP/1.1: {0}.", "Send HTTP/1.1 as in RFC 9110 and RFC 9112."


class TooSlow(_Worded):
    status, title = 408, "The request took too long to arrive"
    words = "The request was not complete in time."
    advice = "Send it again in smaller parts or over a faster connection."


class HeadTooLarge(_Worded):
    status, title = 431, "Request head too large"
    words = "The request's head has more than {0:,} bytes."
    advice = "Send fewer or shorter headers; the question belongs in the body."


class BodyTooLarge(_Worded):
    status, title = 413, "The request is too large"
    words = "The request's body is larger than {0:,} bytes."
    advice = "Send less at once: documents in several requests, and questions of at most 2,000 characters."


class TooManyFiles(_Worded):
    status, title = 413, "Too many files at once"
    words, advice = "The request has {0}; at most {1:,} are allowed.", "Send them in several requests."


class UnknownHost(_Worded):
    status, title = 421, "Unknown host name"
    words = "The Host {0!r:.102} is not one of this service's names."
    advice = "Call the service by an IP address or as localhost, or set RAG_ALLOWED_HOSTS on the server to this name."


class ForeignPage(_Worded):
    status, title = 403, "Calls from other sites' pages are refused"
    words = "The request was sent by a page {0}. Only this service's own page may change anything."
    advice = "To allow that page, set RAG_ALLOWED_HOSTS on the server to its host name."


class WrongKey(_Worded):
    status, title, headers = 401, "No valid key", {"WWW-Authenticate": 'Bearer realm="question answering"'}
    words = "The request has no valid key."
    advice = "Send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'; the operator of the service has it."


class NotGranted(_Worded):
    status, title = 403, "The key does not allow this"
    words, advice = "The key {0}.", "Use another key; the operator of the service sets what each key allows."


# ---- Documents, collections, jobs


class EmptyCollection(RagError):
    status, title = 404, "The collection holds no document"

    def __init__(self, collection: str, others: list[str]) -> None:
        self.collection, self.others = collection, others
        known = f"Collections with documents: {', '.join(others)}." if others else "No document has been added yet."
        super().__init__(
            f"There is no document in the collection '{collection}'.",
            f"{known} Add documents with POST /documents or `python -m rag_service ingest PATH`.",
        )


class UnknownDocument(_Worded):
    status, title = 404, "No such document"
    words = "There is no document {0:.80} in the collection '{1}'."
    advice = "GET /documents lists the documents of a collection with their ids."


class NoPageImage(_Worded):
    status, title = 404, "No image of this page"
    words, advice = "{0}", "GET /documents/{{id}}/text returns the document's text with all quotes."


class UnknownJob(_Worded):
    status, title = 404, "No such job"
    words = "There is no job {0:.80}."
    advice = "GET /jobs lists the jobs since the last restart. GET /documents lists the documents."


class AlreadyReindexing(_Worded):
    status, title = 409, "Already reindexing"
    words = "The documents are already being reindexed or embedded in bulk."
    advice = "GET /jobs shows the progress of a reindexing; `python -m rag_service embed` shows its own."


class Watched(_Worded):
    status, title = 409, "The collection follows a folder"
    words = "The collection '{0}' follows the folder {1}, so it changes only with the folder."
    advice = "Change the files in the folder, or start the service without RAG_WATCH."


class NoDocuments(_Worded):
    title = "There is nothing to embed"
    words, advice = "{0}: {1}.", "Give a folder, or s3://bucket/prefix, with files of a supported type."


class SparkStopped(_Worded):
    title = "Spark stopped"
    words = "Spark stopped: {0}"
    advice = (
        "Check that the master answers, and that JAVA_HOME is a Java 17 or newer. The same command continues the rest."
    )


class SparkMissing(_Worded):
    title = "Spark is not installed"
    words = "Embedding in bulk needs PySpark and PyArrow, which cannot be imported ({0})."
    advice = "Install requirements-bulk.lock (docs/how-to/bulk.md), and Java 17 or newer."


class LoadFailed(RagError):
    """One file could not be read. `code` is one of a few fixed words; `detail` explains it to people."""

    title = "The file cannot be read"

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


# ---- What is written to disk


class StoreFull(_Worded):
    status, title = 507, "The store cannot be written"
    words = "The store {0} cannot be written ({1}). Nothing was changed."
    advice = "Free some disk space, or let the service write there; then try again."


class RatingsFull(_Worded):
    status, title = 507, "The file of ratings is full"
    words = "The file of rated questions {0} has reached {1:,} bytes."
    advice = "On the server, move the file away; the service then begins a new one."


class StoreDamaged(_Worded):
    status, title = 503, "The store is damaged"
    words = "The store {0} cannot be read ({1})."
    advice = "Restore a backup, or move the file away and add the documents again."


class StoreAway(_Worded):
    status, title = 503, "The store does not answer"
    words = "The store {0} does not answer ({1})."
    advice = "Start the database, or correct RAG_STORE. Acknowledged documents are not lost."


class StoreTooNew(_Worded):
    status, title = 503, "The store is from a newer release"
    words = "The store {0} has the schema {1}; this release reads up to {2}."
    advice = "Start the newer release again, or restore a backup from before its first start."


class StoreInUse(_Worded):
    title = "The store is not empty"
    words = "The store {0} already has documents, and not those of {1}."
    advice = "Give RAG_STORE an empty database."


class StoreTooOld(_Worded):
    status, title = 503, "The database's pgvector is too old"
    words = "RAG_SEARCH=store needs pgvector {1} or newer, and the database has {0}."
    advice = "Install a newer pgvector and run ALTER EXTENSION vector UPDATE, or set RAG_SEARCH=memory."


# ---- Evaluations


class BadQuestions(_Worded):
    status, title = 422, "There is nothing to ask"
    words = "No questions can be made from {0}: {1}."
    advice = (
        "A file must be in SQuAD's format (data, paragraphs, context, qas), or a .jsonl with rated answers as "
        "POST /ratings writes them; a collection needs whole sentences."
    )


class BadGate(_Worded):
    status, title = 422, "A threshold is wrong"
    words = "{0:.80}: {1:.300}."
    advice = "Give figure=number, such as auroc=0.9, or a JSON file with an object of figures and numbers."


class BadSweep(_Worded):
    title = "A sweep is wrong"
    words = "{0:.80}: {1:.300}."
    advice = (
        "Give a name and values, such as top_k=1,2,4, depth=16,32, weights=1:0:0,0.9:0:0.1 (late interaction, "
        "cosine, BM25), chunk_tokens=96,160 or overlap_tokens=0,32."
    )


class TrackingFailed(_Worded):
    status, title = 502, "The tracking server did not accept the figures"
    words = "{0} did not accept the figures ({1})."
    advice = "Set MLFLOW_TRACKING_URI to a running MLflow server, or leave it empty."


# ---- Models


class ModelUnavailable(_Worded):
    status, title = 503, "A model is missing"
    words = "The model {0} is not on this machine, and its hub cannot provide it ({1})."
    advice = "Set {2} to a folder with the model, or connect this machine to the hub once; after that it works offline."


class ModelUnpinned(ModelUnavailable):
    words = "There is no folder {0}, and as a name on the model hub it lacks the commit."
    advice = (
        "Set {1} to a folder with the model, or to NAME@COMMIT, with the commit that the model's page on the hub shows."
    )


class UnfitModel(_Worded):
    status, title = 503, "A model cannot be used"
    words = "The model {0} cannot be used: {1}."
    advice = (
        "Set {2} to a BERT-like sentence encoder or a T5-like generator, with its model.safetensors, "
        "config.json and tokenizer.json; or set RAG_ENGINE=torch, which runs what transformers can load."
    )


class EngineMissing(_Worded):
    status, title = 503, "The engine is not installed"
    words = "RAG_ENGINE is torch, but PyTorch cannot be imported ({0})."
    advice = (
        "Install it (docs/how-to/engines.md; in the whole stack: make setup WITH=torch), build the image's target "
        "torch, or set RAG_ENGINE=ctranslate2."
    )


class GeneratorFailed(RagError):
    """The answer becomes a quotation. `detail` is logged, so it has neither the key nor a passage."""

    status, title = 502, "The generator's server did not answer"


class RemoteAddress(_Worded, GeneratorFailed):
    words = "The model's server {0} has the address {1}, which is not in a private network."
    advice = "To allow sending questions and passages of your documents there, set RAG_LLM_ALLOW_REMOTE=true."


# ---- The program does not start


class BadSettings(RagError):
    title = "A setting is wrong"


class PortTaken(_Worded):
    title = "The port is taken"
    words = "Cannot listen on {0} port {1}: {2}."
    advice = "Set RAG_PORT to a free port, or stop the program that holds it."
