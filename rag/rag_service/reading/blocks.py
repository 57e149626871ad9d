"""A reader's pieces become the text that is stored, with each block's place in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rag_service.errors import LoadFailed
from rag_service.reading.characters import clean
from rag_service.types import Block, BlockKind, Extracted, Page, ReadingWarning

# More would be no document that people read.
MOST_BLOCKS = 200_000
_LONGEST_TITLE = 120
# Neighbours of these kinds stand on lines of their own; all other blocks are separated by an empty line.
_LINES = frozenset(("item", "row"))
# Line ends in blocks of these kinds are part of them; a reader joins the lines that only a page's width made.
_OF_LINES = frozenset(("code", "paragraph", "note"))


@dataclass(frozen=True)
class Piece:
    """A block before its place is known. `level`: of a heading, 1 is the highest; of a list item how deeply it is
    nested, from 1. `label`: a list item's own mark as it is shown, such as "2." or "(a)" or "-"; it is put before the
    text. `names`: a row's column names, if it has any. `page` counts from 1, in documents that have pages.
    `joined`: the block before it goes on here, such as a paragraph that a page's end interrupts: "" joins directly (a
    word was divided), " " with a blank, None not at all."""

    kind: BlockKind
    text: str
    level: int = 0
    label: str = ""
    names: tuple[str, ...] = ()
    page: int | None = None
    joined: str | None = None


@dataclass(frozen=True)
class Reading:
    """A reader's result: pieces in order, what was not read or is doubtful, and facts of the file itself, such
    as its title. `pages`: how many pages it has, also those without text; None: it has none."""

    pieces: Sequence[Piece]
    warnings: tuple[ReadingWarning, ...] = ()
    metadata: dict[str, str] | None = None
    pages: int | None = None


def lines_of(pieces: Iterable[Piece]) -> str:
    """The pieces as the lines of one, such as a note."""
    return "\n".join(f"{piece.label} {piece.text}".strip() for piece in pieces if piece.text.strip())


class TextBudget:
    """How much text a file may still yield. A reader counts by it what it makes of a few bytes, such as repeated
    cells, before that fills the memory."""

    def __init__(self, text_bytes: int) -> None:
        self.left = self._limit = text_bytes

    def take(self, words: str, times: int = 1) -> str:
        """The same words, counted. Raises LoadFailed `too large`."""
        self.left -= len(words.encode("utf-8", "surrogatepass")) * times
        if self.left < 0:
            raise LoadFailed("too large", f"The file's text is larger than {self._limit:,} bytes. Split the file.")
        return words


def assemble(reading: Reading, text_bytes: int) -> Extracted:
    """The text of the pieces and their places in it. Pieces without a letter, digit or mark are left out. Raises
    LoadFailed `too large`."""
    parts: list[str] = []
    blocks: list[Block] = []
    starts: dict[int, int] = {}  # page -> where its first block begins
    open_ones: list[tuple[int, str]] = []  # the headings that hold: level and title
    length = 0
    budget = TextBudget(text_bytes)
    for piece in reading.pieces:
        words = _shown(piece)
        if not words:
            continue
        joins = piece.joined is not None and bool(blocks)
        gap = (piece.joined or "") if joins else _gap(blocks, piece.kind)
        start = length + len(gap)
        length = start + len(words)
        budget.take(gap + words)
        if len(blocks) == MOST_BLOCKS:
            raise LoadFailed("too large", f"The file has over {MOST_BLOCKS:,} paragraphs and rows. Split the file.")
        parts += [gap, words]
        if piece.page is not None:
            starts.setdefault(piece.page, start)
        if joins:
            blocks[-1] = replace(blocks[-1], end=length)
            continue
        label = piece.label
        if piece.kind == "heading":
            open_ones = [one for one in open_ones if one[0] < piece.level] + [(piece.level, words)]
            label = " > ".join(title for _, title in open_ones)
        blocks.append(Block(piece.kind, start, length, piece.page, piece.level, label, piece.names))
    pages = _pages(starts, reading.pages or 0, length)
    return Extracted("".join(parts), tuple(blocks), pages, reading.warnings, dict(reading.metadata or {}))


def _shown(piece: Piece) -> str:
    words = clean(piece.text, keep_lines=piece.kind in _OF_LINES, keep_blanks=piece.kind == "code")
    if piece.kind == "heading":
        words = words[:_LONGEST_TITLE].rstrip()
    return f"{piece.label} {words}" if words and piece.label else words


def _gap(blocks: Sequence[Block], kind: BlockKind) -> str:
    if not blocks:
        return ""
    return "\n" if kind in _LINES and blocks[-1].kind == kind else "\n\n"


def _pages(starts: dict[int, int], count: int, length: int) -> tuple[Page, ...]:
    """Each page from its first block to the next page's; one without text is empty, where it would stand."""
    pages: list[Page] = []
    end = length
    for number in range(count, 0, -1):
        start = starts.get(number, end)
        pages.append(Page(number, start, end))
        end = start
    return tuple(reversed(pages))
