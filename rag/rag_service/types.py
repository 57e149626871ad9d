"""What is handed from stage to stage: documents, passages, answers. Plain frozen data, no behaviour of a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the child process that reads a file starts four times as fast without it
    import numpy
    from numpy.typing import NDArray


# Goes up when the readers read the same bytes otherwise: what is added again is then read again.
READER_VERSION = 4


@dataclass(frozen=True)
class Page:
    """A page of a document: `text[start:end]` of the extracted text is its content. Numbers count from 1."""

    number: int
    start: int
    end: int


BlockKind = Literal["heading", "paragraph", "item", "row", "code", "note"]


@dataclass(frozen=True)
class Block:
    """What a reader knows of a part of the text: `text[start:end]` is a heading, a paragraph, a list item (with its
    mark), a row of a table (which says its column names), lines of code, or a note. `page` is where it begins. `level`:
    of a heading, 1 is the highest, and it holds until one of its level or higher; of an item how deeply it is nested.
    `label` is an item's mark, or a heading with those that it stands under, such as "Acids > Tartaric acid"; `names`
    are the column names of a row."""

    kind: BlockKind
    start: int
    end: int
    page: int | None = None
    level: int = 0
    label: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Heading:
    """A heading's place in the extracted text."""

    level: int
    start: int
    title: str


@dataclass(frozen=True)
class ReadingWarning:
    """What of a file was not read, or is doubtful; `page` where that is known. `code` is one of a few fixed words."""

    code: str
    detail: str
    page: int | None = None


@dataclass(frozen=True)
class Extracted:
    """What a reader returns: the text that is stored and that every offset refers to, its blocks in order of place, its
    pages where it has any, warnings, and facts of the file itself, such as its title."""

    text: str
    blocks: tuple[Block, ...] = ()
    pages: tuple[Page, ...] = ()
    warnings: tuple[ReadingWarning, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def headings(self) -> tuple[Heading, ...]:
        """The headings in order of place."""
        return tuple(
            Heading(one.level, one.start, self.text[one.start : one.end])
            for one in self.blocks
            if one.kind == "heading"
        )


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
    """A stored document under a name, without its text. `origin` is the watched folder that it comes from, if it does;
    `warnings` are what its reader said of it; `original`: images of its pages can be had."""

    id: str
    collection: str
    name: str
    bytes: int
    characters: int
    pages: int | None
    passages: int
    added_at: str
    origin: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    warnings: tuple[ReadingWarning, ...] = ()
    original: bool = False


@dataclass(frozen=True)
class PageImage:
    """A page as a PNG file. `marked_at`: how far down the first mark is, from 0 to 1; None where there is none."""

    png: bytes
    marked_at: float | None


@dataclass(frozen=True)
class Passage:
    """A stored chunk with its words: `text` equals the document's extracted text from `start` to `end`. `blocks` are
    those of the document that lie in it, wholly or in part, with their places in the document's text."""

    chunk_id: int
    document_id: str
    document: str
    page: int | None
    start: int
    end: int
    text: str
    heading: str | None = None
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Part:
    """A stored passage that a hit is made of, and the signs of its tokens (`maxsim.signs`)."""

    passage: Passage
    signs: bytes


@dataclass(frozen=True)
class Weights:
    """What a passage's place among the found ones is made of, in shares; each kind of score is first brought to 0..1.
    The numbers were chosen by measurement (docs/decisions/search.md)."""

    late: float = 0.9
    dense: float = 0.0
    lexical: float = 0.1


@dataclass(frozen=True)
class SearchOptions:
    """Where and how to search. `documents`: in these alone, by name or id; none: in all. `metadata`: in those alone
    that have these values. `depth`: how many passages of either search are compared more closely."""

    documents: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    weights: Weights = Weights()
    depth: int = 32


@dataclass(frozen=True)
class Term:
    """A word of the question in a document: `text[start:end]` of the document's extracted text."""

    term: str
    start: int
    end: int


@dataclass(frozen=True)
class Contradiction:
    """A place in a document's text, `text[start:end]`, that another document has with another number, name or negation.
    The place is empty between two words where only the other has a word."""

    document: str
    start: int
    end: int


@dataclass(frozen=True)
class Hit:
    """A passage that was found, or neighbouring ones joined: then with the best of their ranks and scores.

    `score` is what hits are ordered by, 0 to 1 among the passages that were compared: it says nothing of how good the
    best of them is. `similarity` is the cosine of question and passage, `late_interaction` how much of the question's
    tokens the passage speaks of (None where it was stored without them). Ranks count from 1, None where that search did
    not find it. `also_in` names documents that say the same in nearly the same words, `contradicts` where others say
    something else. `parts` are the passages as they are stored.
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
    contradicts: tuple[Contradiction, ...] = ()


@dataclass(frozen=True)
class Citation:
    """Where an answer stands: `quote` is verbatim, `text[start:end]` of the document's extracted text. `contradicts`
    names documents that have the quote with another number, name or negation."""

    document: str
    document_id: str
    page: int | None
    quote: str
    start: int
    end: int
    score: float
    heading: str | None = None
    contradicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Turn:
    """An earlier question of a conversation, and what was answered."""

    question: str
    answer: str = ""


@dataclass(frozen=True)
class Sentence:
    """A generated sentence that was checked, and the quotes that it stands on."""

    text: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True)
class Answer:
    """An answer with its sources. `dropped_passages` counts those that were found but did not fit the prompt. `unmet`
    are the parts of the question that no passage of the collection speaks of, where the documents speak of the subject
    and yet do not answer: `abstained` is then true, and the citation shows what they do say. `sentences` are those of a
    chat model's answer, `dropped_sentences` counts what it wrote that no passage supports, and `generator_error` says
    why it wrote nothing, or not to the end. `asked` is the question that was searched for: a follow-up is completed
    first."""

    answer: str
    abstained: bool
    answered_by: Literal["generator", "extractive", "none"]
    confidence: float
    citations: tuple[Citation, ...]
    dropped_passages: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)
    unmet: tuple[str, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    dropped_sentences: int = 0
    generator_error: str | None = None
    asked: str = ""


@dataclass(frozen=True)
class Verdict:
    """What became of one file. `code` and `reason` say why where it failed, or what it is the same as; `warnings` what
    of it was not read, or is doubtful."""

    name: str
    verdict: Literal["indexed", "unchanged", "failed"]
    document_id: str | None = None
    passages: int = 0
    code: str | None = None
    reason: str | None = None
    warnings: tuple[ReadingWarning, ...] = ()


@dataclass(frozen=True)
class Backlog:
    """How many uploads are still to be added, and for how many seconds nobody has worked on one of them; when a job of
    each kind last failed, of those within the hour, in seconds of the epoch."""

    uploads: int
    oldest: float
    failed_at: Mapping[str, float]
