"""A document's text becomes passages: counted exactly in the embedder's tokens, cut where a reader would pause."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rag_service.language import language_of, sentences
from rag_service.types import Block, Extracted, Span

# Text without spaces or full stops (a long number, a language written without blanks) is first cut at this length.
_LONGEST_PIECE = 600
_LINE = re.compile(r"[^\n]*\S[^\n]*")
_BLANK = re.compile(r"\s")
_BLANKS = re.compile(r"\s*")

CountTokens = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True)
class _Piece:
    """A sentence, or a part of one that is too long: its place, its tokens, whether a passage may well open with it,
    and whether it leads to what follows: a heading, or "You need:"."""

    start: int
    end: int
    tokens: int
    opens: bool
    leads: bool = False


def chunk(extracted: Extracted, count: CountTokens, limit: int, overlap: int) -> list[Span]:
    """The passages of a text, in order, each of at most `limit` tokens (special tokens not counted).

    `count` gives the number of tokens of each text of a list, without special tokens. About `overlap` tokens of whole
    sentences are repeated where a paragraph had to be cut. Passages end at paragraphs or sentences where they can.
    """
    text = extracted.text
    pieces = _pieces(extracted, count, limit)
    spans = []
    first = 0
    while first < len(pieces):
        last = _last_that_fits(pieces, first, limit)
        # Sentences are counted alone; together they can only differ where a cut went through a word. Make sure.
        while last > first and count([text[pieces[first].start : pieces[last].end]])[0] > limit:
            last -= 1
        spans.append(Span(pieces[first].start, pieces[last].end))
        first = _next_first(pieces, first, last, overlap)
    return placed(spans, extracted)


def _pieces(extracted: Extracted, count: CountTokens, limit: int) -> list[_Piece]:
    """Sentences, items, rows and lines, in order. None opens a passage that follows a heading or the words that lead
    to a list: that stays with it."""
    text, language = extracted.text, language_of(extracted.text)
    found: list[_Piece] = []
    led = False
    for block in extracted.blocks or (Block("paragraph", 0, len(text)),):
        opens = not led
        led = block.kind == "heading" or (block.kind == "paragraph" and text[block.end - 1 : block.end] in ":：")
        for first, last in _units(text, block, language):
            for start, end in _short_enough(text, first, last):
                found.append(_Piece(start, end, 0, opens, led and end == block.end))
                opens = False
    counts = count([text[piece.start : piece.end] for piece in found]) if found else []
    pieces: list[_Piece] = []
    for piece, tokens in zip(found, counts, strict=True):
        pieces.extend(_halved(text, replace(piece, tokens=tokens), count, limit))
    return pieces


def _units(text: str, block: Block, language: str) -> Iterator[tuple[int, int]]:
    """What is not cut while it fits a passage: a heading, an item or a row as a whole, a line of code, a sentence."""
    if block.kind in ("heading", "item", "row"):
        yield block.start, block.end
    elif block.kind == "code":
        for line in _LINE.finditer(text, block.start, block.end):
            yield line.span()
    else:
        yield from sentences(text, block.start, block.end, language)


def _short_enough(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _LONGEST_PIECE:
        cut = _blank_before(text, start, start + _LONGEST_PIECE)
        yield start, cut
        start = _behind_blanks(text, cut, end)
    if start < end:
        yield start, end


def _blank_before(text: str, start: int, end: int) -> int:
    """Where to cut: behind the last cell of a row, else at the last blank, else at the end."""
    if (bar := text.rfind(" | ", start + 1, end)) > (start + end) / 2:
        return bar + len(" |")
    blanks = [blank.start() for blank in _BLANK.finditer(text, start, end)]
    return blanks[-1] if blanks and blanks[-1] > start else end


def _behind_blanks(text: str, start: int, end: int) -> int:
    """Where the next word begins. The text behind it is not looked at: long texts would be, once for each piece."""
    found = _BLANKS.match(text, start, end)
    return found.end() if found else start


def _halved(text: str, piece: _Piece, count: CountTokens, limit: int) -> list[_Piece]:
    """The piece itself, or parts of it that fit the limit."""
    if piece.tokens <= limit or piece.end - piece.start < 2:
        return [piece]
    cut = _blank_before(text, piece.start, (piece.start + piece.end) // 2)
    rest = _behind_blanks(text, cut, piece.end)
    left_tokens, right_tokens = count([text[piece.start : cut], text[rest : piece.end]])
    left = replace(piece, end=cut, tokens=left_tokens, leads=False)
    right = replace(piece, start=rest, tokens=right_tokens, opens=False)
    return _halved(text, left, count, limit) + _halved(text, right, count, limit)


def _last_that_fits(pieces: Sequence[_Piece], first: int, limit: int) -> int:
    """The last piece of the passage that opens with `first`: full, or earlier at a paragraph if half full, or before
    what leads to the next."""
    total, last, paragraph_end = pieces[first].tokens, first, None
    while last + 1 < len(pieces) and total + pieces[last + 1].tokens <= limit:
        if pieces[last + 1].opens and total >= limit / 2:
            paragraph_end = last
        last += 1
        total += pieces[last].tokens
    if last + 1 == len(pieces) or pieces[last + 1].opens:
        return last
    if paragraph_end is not None:
        return paragraph_end
    return next((at for at in range(last, first - 1, -1) if not pieces[at].leads), last)


def _next_first(pieces: Sequence[_Piece], first: int, last: int, overlap: int) -> int:
    """Where the next passage opens: after this one, or some sentences back where a paragraph was cut."""
    following = last + 1
    if following == len(pieces) or pieces[following].opens:
        return following
    repeated = 0
    while following - 1 > first and repeated + pieces[following - 1].tokens <= overlap:
        following -= 1
        repeated += pieces[following].tokens
    return following


def placed(spans: Sequence[Span], extracted: Extracted) -> list[Span]:
    """The spans with the page where each begins, and with the headings over its first words that are no heading."""
    pages = [page.start for page in extracted.pages]
    blocks = extracted.blocks
    starts = [block.start for block in blocks]
    over: list[str | None] = []  # for each block, the headings that hold after it
    for block in blocks:
        over.append((block.label or None) if block.kind == "heading" else over[-1] if over else None)
    found = []
    for span in spans:
        page = bisect_right(pages, span.start) - 1
        place = bisect_right(starts, span.start) - 1
        while 0 <= place < len(blocks) - 1 and blocks[place].kind == "heading" and blocks[place].end < span.end:
            place += 1
        heading = over[place] if place >= 0 else None
        number = extracted.pages[page].number if page >= 0 else None
        found.append(replace(span, page=number, heading=heading))
    return found
