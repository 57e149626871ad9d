"""What a store must do, whatever keeps it: documents, their passages in editions, and names for states.

A content is stored once. A collection is a name for a state: which documents under which names, in which edition. A
request takes a `View` when it begins and keeps it, whatever moves meanwhile. Every method is one transaction, and what
it has acknowledged outlives a power cut.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy
from numpy.typing import NDArray

from rag_service.types import Backlog, DocumentSummary, Extracted, Page, Passage, Span

Vectors = NDArray[numpy.float32]
Numbers = NDArray[numpy.int64]

NEXT, PREVIOUS = "@next", "@previous"


@dataclass(frozen=True)
class Edition:
    """How passages are made. `found` is the name and revision that the embedder was found by."""

    embedder: str
    found: tuple[str | None, str]
    chunk_tokens: int
    overlap_tokens: int
    id: int = 0


@dataclass(frozen=True)
class View:
    """A collection as it is at one moment, for as long as a request takes."""

    collection: str
    state: int
    edition: Edition


@dataclass(frozen=True)
class Named:
    """A document's content under a name, of a file of `size` bytes. `origin` is the watched folder that it comes from,
    if it does; `original` the file itself, where it is to be kept."""

    name: str
    id: str
    size: int
    extracted: Extracted
    origin: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    original: bytes | None = None


@dataclass(frozen=True)
class Original:
    """A document's file, if it was kept, and the places of its pages in the document's text."""

    data: bytes | None
    pages: Sequence[Page]


@dataclass(frozen=True, eq=False)
class Passages:
    """A content's passages in an edition: places, `vectors` `(n, dimension)` float32 unit rows, the signs of each one's
    tokens, and the terms that each is found by."""

    spans: Sequence[Span]
    vectors: Vectors
    signs: Sequence[bytes]
    terms: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Stored:
    """A passage's vectors: `vector` `(dimension,)` float32, and the signs of its tokens."""

    vector: Vectors
    signs: bytes


@dataclass(frozen=True)
class Change:
    """Passages `first` to `last` came into a state, or were removed from it."""

    first: int
    last: int
    removed: bool


@dataclass(frozen=True)
class Uploaded:
    """A file that was acknowledged and is still to be added; `tries`: how often that was begun, this time included."""

    name: str
    data: bytes
    collection: str
    metadata: Mapping[str, str] | None
    tries: int


class Store(Protocol):
    """See the module."""

    def store_id(self) -> str:
        """What distinguishes this store from every other; a passage's number is only ever one passage's in it."""

    # Collections.
    def view(self, collection: str) -> View:
        """Raises EmptyCollection."""

    def collections(self) -> dict[str, int]:
        """Each collection with its number of documents. A collection is there as long as it holds one."""

    def drop(self, collection: str) -> None:
        """Deletes a collection with what was kept of it. Raises EmptyCollection."""

    def begin_next(self, collection: str) -> View:
        """A copy of the collection, called NAME@next, in place of an earlier one. Raises EmptyCollection."""

    def promote_next(self, collection: str) -> View:
        """Lets the name stand for NAME@next from now on; what others changed in the collection since the copy was made
        is kept. What it stood for before is NAME@previous. Raises EmptyCollection."""

    def roll_back(self, collection: str) -> View:
        """Exchanges the collection and NAME@previous. Raises EmptyCollection."""

    # Editions.
    def edition(self) -> Edition | None:
        """The edition that answers; None in an empty store."""

    def begin_edition(self, edition: Edition) -> Edition:
        """Begins another edition beside the current one, or continues one that was begun."""

    def lacking(self, edition: Edition) -> list[tuple[int, str]]:
        """The documents without passages in this edition: the store's own key and a name of each."""

    def content_of(self, key: int) -> Extracted | None:
        """The content with this key; None where it was deleted meanwhile."""

    def put_passages(self, key: int, edition: Edition, passages: Passages) -> None:
        """Stores a document's passages in an edition; without effect where the document was deleted."""

    def use_edition(self, edition: Edition) -> bool:
        """Lets every collection answer with this edition from now on; False where a document lacks it still."""

    def alone(self, task: Literal["reindex", "watch"]) -> AbstractContextManager[bool]:
        """Nobody else has this task meanwhile, in whichever process; False where somebody has it now."""

    def sweep(self) -> bool:
        """Deletes a part of what no name stands for any more, and no request can still use; True where more is left."""

    # Documents.
    def put(self, collection: str, named: Named, edition: Edition, passages: Passages) -> None:
        """Adds a document whole, in place of one of the same name. Raises OtherEmbedder where the collection's edition
        is another embedder's; then nothing has changed."""

    def put_all(
        self,
        collection: str,
        documents: Sequence[tuple[Named, Passages]],
        names: Sequence[tuple[str, str]],
        edition: Edition,
    ) -> list[str]:
        """`put` for several documents in one transaction, and names, each with the id of a content that is stored
        already. Returns the names whose content is not there any more."""

    def known(self, edition: Edition) -> NDArray[numpy.bytes_]:
        """The ids of all contents of collections, as today's readers read them, that have passages in this edition; in
        order."""

    def add_name(
        self,
        collection: str,
        name: str,
        document_id: str,
        origin: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> DocumentSummary | None:
        """Adds a name for a content that is already stored in any collection; None if it is not. Without `metadata`,
        those of an existing name stay."""

    def delete(self, collection: str, document_id: str) -> None:
        """Removes a document with all its names from a collection. Raises UnknownDocument."""

    def remove_name(self, collection: str, name: str) -> None:
        """Removes a name, and the document where that was its last; without effect where it is not there."""

    def documents(
        self, collections: str | Collection[str] | None = None, after: str = "", limit: int = 1000, holding: str = ""
    ) -> list[DocumentSummary]:
        """Names by collection and name, of one collection, of several, or of all. `after`: those behind this name of
        the one collection, else behind this `collection/name`; `holding`: those with this in them, in capitals or
        not."""

    def find(self, collection: str, *, document_id: str = "", name: str = "") -> DocumentSummary | None:
        """The document with this id or, where none is given, with this name, if there is one. Of several names of an
        id, one that comes from a watched folder."""

    def content(self, collection: str, document_id: str) -> Extracted:
        """Raises UnknownDocument."""

    def text(self, collection: str, document_id: str, start: int, end: int) -> str:
        """`text[start:end]` of a document. Raises UnknownDocument."""

    def original(self, collection: str, document_id: str) -> Original:
        """Raises UnknownDocument."""

    # Searching.
    def change(self) -> int:
        """A number that is higher after every change, whichever process made it."""

    def changes(self, state: int, since: int) -> list[Change] | None:
        """What changed in a state after the change `since`; None where that is no longer known."""

    def passage_numbers(self, view: View) -> Numbers:
        """The numbers of the view's passages, in order."""

    def passages_of(self, view: View, documents: Sequence[str], metadata: Mapping[str, str]) -> list[int]:
        """The numbers of all passages of these documents, given by name or id, none: of all, that have these metadata.
        Raises UnknownDocument."""

    def lexical(
        self, view: View, terms: Sequence[str], count: int, only: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """The passages that hold any of the terms, best first: number and BM25 score (higher is better)."""

    def vectors(self, numbers: Sequence[int]) -> dict[int, Stored]:
        """The vectors of these passages. What was deleted meanwhile is left out."""

    def passages(self, view: View, numbers: Sequence[int]) -> dict[int, Passage]:
        """These passages with their words and blocks. What was deleted meanwhile is left out."""

    def text_between(self, number: int, start: int, end: int) -> str:
        """`text[start:end]` of the passage's document; empty if the document no longer exists."""

    # What is remembered of a state. It is copied, promoted and deleted with it; an edition of another embedder begins
    # without.
    def recall(self, view: View) -> str | None: ...

    def remember(self, view: View, value: str) -> None: ...

    # Jobs, where several replicas share the store.
    @property
    def board(self) -> JobBoard | None: ...

    def close(self) -> None: ...


class VectorIndex(Protocol):
    """Finds passages by their vectors."""

    def search(
        self, view: View, question: Vectors, count: int, only: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """The nearest passages, best first: number and cosine, to about three places. `question` is `(dimension,)`
        float32, of length one; `only`: among these passages and no other."""

    def close(self) -> None: ...


class JobBoard(Protocol):
    """Where each replica says how far its jobs are, for the others to read, and where uploads wait for one of them."""

    def post(self, job: str, progress: str, over: int = 0) -> bool:
        """Says how far a job is; True where somebody wants it cancelled. The first `over` files of its upload need not
        be kept any longer."""

    def posts(self, job: str = "") -> list[tuple[str, float]]:
        """What was last said of this job or of all, the newest first, and how many seconds ago."""

    def cancel(self, job: str) -> None: ...

    def upload(
        self,
        job: str,
        progress: str,
        collection: str,
        metadata: Mapping[str, str] | None,
        files: Iterable[tuple[str, bytes]],
    ) -> None:
        """Keeps files, each a name and its content, until somebody has added them. Raises TooManyJobs."""

    def take(self) -> AbstractContextManager[str | None]:
        """How far the job is that has waited longest of those whose files nobody adds now. They are this process's to
        add until the block or the process ends; where the block raises, as if it had never begun with the file."""

    def next_file(self, job: str) -> Uploaded | None:
        """The first file of a job that is still to be added; this counts as a try."""

    def backlog(self) -> Backlog:
        """Raises StoreAway within seconds."""


def every_document(store: Store, collection: str) -> Iterator[DocumentSummary]:
    """The documents of a collection by name, read page by page."""
    page = store.documents(collection)
    while page:
        yield from page
        page = store.documents(collection, after=page[-1].name)
