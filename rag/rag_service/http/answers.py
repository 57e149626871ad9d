"""What the calls answer, where that is none of `types` as it stands; /docs shows the fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rag_service.indexing.jobs import Progress
from rag_service.indexing.watch import Watched
from rag_service.types import (
    Answer,
    Block,
    Contradiction,
    DocumentSummary,
    Heading,
    Hit,
    Page,
    Passage,
    Term,
    Verdict,
)


@dataclass(frozen=True)
class Models:
    """`sent_to` is the host of a generator that does not run here."""

    embedder: str
    generator: str | None
    sent_to: str | None


@dataclass(frozen=True, kw_only=True)
class Ready(Models):
    """`without_generator` and `needs_reindex` say why, where there is none and where it is so; `uploads` are in
    progress."""

    status: Literal["ready"] = "ready"
    without_generator: str | None
    needs_reindex: str | None
    uploads: int
    watch: Watched | None


@dataclass(frozen=True, kw_only=True)
class ModelsAnswer(Answer):
    """An answer, and which models made it."""

    model: Models
    request_id: str


@dataclass(frozen=True, kw_only=True)
class FoundPassage(Passage):
    """A `Hit` without its parts, its passage not inside it but with it."""

    score: float
    similarity: float
    dense_rank: int | None
    lexical_rank: int | None
    late_interaction: float | None
    terms: tuple[Term, ...]
    also_in: tuple[str, ...]
    contradicts: tuple[Contradiction, ...]

    @classmethod
    def of(cls, hit: Hit) -> FoundPassage:
        own = {name: value for name, value in vars(hit).items() if name not in ("passage", "parts")}
        return cls(**vars(hit.passage), **own)


@dataclass(frozen=True)
class Hits:
    hits: list[FoundPassage]


@dataclass(frozen=True)
class Added:
    collection: str
    documents: list[Verdict]


@dataclass(frozen=True, kw_only=True)
class UploadJob(Progress):
    collection: str


@dataclass(frozen=True)
class Jobs:
    jobs: list[Progress]


@dataclass(frozen=True)
class Documents:
    documents: list[DocumentSummary]
    next: str | None


@dataclass(frozen=True, kw_only=True)
class WholeDocument(DocumentSummary):
    """A document with its text, to which all offsets refer, and with its pages themselves in place of their number."""

    text: str
    blocks: tuple[Block, ...]
    pages: tuple[Page, ...]  # type: ignore[assignment]
    headings: tuple[Heading, ...]


@dataclass(frozen=True)
class TextOfDocument:
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Collection:
    """`documents` counts them, as do `next` and `previous`, which are null where there is no such state."""

    name: str
    documents: int
    next: int | None
    previous: int | None


@dataclass(frozen=True)
class Collections:
    collections: list[Collection]


@dataclass(frozen=True)
class Questions:
    questions: list[str]


@dataclass(frozen=True)
class NextBegun:
    collection: str


@dataclass(frozen=True)
class InUse:
    collection: str
    documents: int
