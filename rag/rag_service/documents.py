"""What is handed from stage to stage: documents, passages, answers. Plain frozen data, no behaviour of a stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the child process that reads a file starts four times as fast without it
    import numpy
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Page:
    """A page of a document: `text[start:end]` of the extracted text is its content. Numbers count from 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True)
class Heading:
    """A heading's place in the extracted text. Level 1 is the highest; it holds until one of its level or higher."""

    level: int
    start: int
    title: str


@dataclass(frozen=True)
class Extracted:
    """What a loader gives: the text that is stored and that every offset refers to, its pages (PDF only), and its
    headings in order of place."""

    text: str
    pages: tuple[Page, ...] = ()
    headings: tuple[Heading, ...] = ()


@dataclass(frozen=True)
class Span:
    """A passage's place: `text[start:end]`, on `page` where the document has pages, under `heading` where it has
    headings: their titles from the highest down, such as "Acids > Tartaric acid"."""

    start: int
    end: int
    page: int | None = None
    heading: str | None = None


@dataclass(frozen=True, eq=False)
class TokenVectors:
    """A text's tokens as the embedder sees them in their context, in the order of the text. Left out are special
    tokens (such as [CLS], [SEP] and padding), a prompt that the model puts before the text, and what lies beyond the
    embedder's limit; punctuation is kept.

    `vectors`: `(n_tokens, dimension)` float32, the model's last hidden layer before any pooling, rows of length one.
    `places`: `(n_tokens, 2)` int32, where each token begins and ends in the text, counted in characters.
    """

    vectors: NDArray[numpy.float32]
    places: NDArray[numpy.int32]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Texts after one pass through the embedder: `vectors` `(n_texts, dimension)` float32, unit rows, one for each
    text; `tokens` the same number of token vectors."""

    vectors: NDArray[numpy.float32]
    tokens: tuple[TokenVectors, ...]


@dataclass(frozen=True)
class DocumentSummary:
    """A stored document without its text. `origin` is the watched folder that it comes from, if it does."""

    id: str
    collection: str
    name: str
    bytes: int
    characters: int
    pages: int | None
    passages: int
    added_at: str
    origin: str | None = None


@dataclass(frozen=True)
class Passage:
    """A stored chunk with its words: `text` equals the document's extracted text from `start` to `end`."""

    chunk_id: int
    document_id: str
    document: str
    page: int | None
    start: int
    end: int
    text: str
    heading: str | None = None


@dataclass(frozen=True)
class Part:
    """A stored passage that a hit is made of, and the signs of its tokens (`late_interaction.signs`); None where it was
    stored without them."""

    passage: Passage
    signs: bytes | None = None


@dataclass(frozen=True)
class Weights:
    """What a passage's place among the found ones is made of, in shares; each kind of score is first brought to 0..1.
    The numbers were chosen by measurement (docs/decisions.md)."""

    late: float = 0.9
    dense: float = 0.0
    lexical: float = 0.1


@dataclass(frozen=True)
class SearchOptions:
    """Where and how to search. `documents`: in these alone, by name or id; none: in all. `depth`: so many passages of
    either search are compared more closely."""

    documents: tuple[str, ...] = ()
    weights: Weights = Weights()
    depth: int = 32


@dataclass(frozen=True)
class Term:
    """A word of the question in a document: `text[start:end]` of the document's extracted text."""

    term: str
    start: int
    end: int


@dataclass(frozen=True)
class Hit:
    """A passage that was found, or neighbouring ones joined: then with the best of their ranks and scores.

    `score` is what hits are ordered by, 0 to 1. `similarity` is the cosine of question and passage, `late_interaction`
    how much of the question's tokens the passage speaks of (None where it was stored without them). Ranks count from 1,
    None where that search did not find it. `also_in` names documents that say the same in nearly the same words.
    `parts` are the passages as they are stored.
    """

    passage: Passage
    score: float
    similarity: float
    dense_rank: int | None
    lexical_rank: int | None
    parts: tuple[Part, ...]
    late_interaction: float | None = None
    terms: tuple[Term, ...] = ()
    also_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class Citation:
    """Where an answer stands: `quote` is verbatim, `text[start:end]` of the document's extracted text."""

    document: str
    document_id: str
    page: int | None
    quote: str
    start: int
    end: int
    score: float
    heading: str | None = None


@dataclass(frozen=True)
class Answer:
    """An answer with its sources. `dropped_passages` counts those that were found but did not fit the prompt."""

    answer: str
    abstained: bool
    answered_by: Literal["generator", "extractive", "none"]
    confidence: float
    citations: tuple[Citation, ...]
    dropped_passages: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What became of one file. `code` and `reason` say why where it failed, or what it is the same as."""

    name: str
    verdict: Literal["indexed", "unchanged", "failed"]
    document_id: str | None = None
    passages: int = 0
    code: str | None = None
    reason: str | None = None
