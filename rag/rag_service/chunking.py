"""A document's text becomes passages: counted exactly in the embedder's tokens, cut where a reader would pause."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rag_service.documents import Extracted, Heading, Span
from rag_service.language import is_heading, paragraphs, sentences

# Text without spaces or full stops (a long number, a language written without blanks) is first cut at this length.
_LONGEST_PIECE = 600

CountTokens = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True)
class _Piece:
    """A sentence, or a part of one that is too long: its place, its tokens, and whether a paragraph opens with it."""

    start: int
    end: int
    tokens: int
    opens: bool


def chunk(extracted: Extracted, count: CountTokens, limit: int, overlap: int) -> list[Span]:
    """The passages of a text, in order, each of at most `limit` tokens (special tokens not counted).

    `count` gives the number of tokens of each text of a list, without special tokens. About `overlap` tokens of whole
    sentences are repeated where a paragraph had to be cut. Passages end at paragraphs or sentences where they can.
    """
    text = extracted.text
    pieces = _pieces(text, count, limit)
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


def _pieces(text: str, count: CountTokens, limit: int) -> list[_Piece]:
    places: list[tuple[int, int, bool]] = []
    after_heading = False
    for start, end in paragraphs(text):
        opens = not after_heading
        for first, last in sentences(text, start, end):
            for place in _short_enough(text, first, last):
                places.append((*place, opens))
                opens = False
        after_heading = is_heading(text[start:end])
    counts = count([text[start:end] for start, end, _ in places]) if places else []
    pieces: list[_Piece] = []
    for (start, end, opens), tokens in zip(places, counts, strict=True):
        pieces.extend(_halved(text, _Piece(start, end, tokens, opens), count, limit))
    return pieces


def _short_enough(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _LONGEST_PIECE:
        cut = _blank_before(text, start, start + _LONGEST_PIECE)
        yield start, cut
        start = cut + len(text[cut:end]) - len(text[cut:end].lstrip())
    if start < end:
        yield start, end


def _blank_before(text: str, start: int, end: int) -> int:
    blanks = [blank.start() for blank in re.finditer(r"\s", text[start:end])]
    return start + blanks[-1] if blanks and blanks[-1] > 0 else end


def _halved(text: str, piece: _Piece, count: CountTokens, limit: int) -> list[_Piece]:
    """The piece itself, or parts of it that fit the limit."""
    if piece.tokens <= limit or piece.end - piece.start < 2:
        return [piece]
    middle = (piece.start + piece.end) // 2
    cut = _blank_before(text, piece.start, middle)
    rest = cut + len(text[cut : piece.end]) - len(text[cut : piece.end].lstrip())
    left_tokens, right_tokens = count([text[piece.start : cut], text[rest : piece.end]])
    left = _Piece(piece.start, cut, left_tokens, piece.opens)
    right = _Piece(rest, piece.end, right_tokens, False)
    return _halved(text, left, count, limit) + _halved(text, right, count, limit)


def _last_that_fits(pieces: Sequence[_Piece], first: int, limit: int) -> int:
    """The last piece of the passage that opens with `first`: full, or earlier at a paragraph if half full."""
    total, last, paragraph_end = pieces[first].tokens, first, None
    while last + 1 < len(pieces) and total + pieces[last + 1].tokens <= limit:
        if pieces[last + 1].opens and total >= limit / 2:
            paragraph_end = last
        last += 1
        total += pieces[last].tokens
    ends_well = last + 1 == len(pieces) or pieces[last + 1].opens
    return last if ends_well or paragraph_end is None else paragraph_end


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
    pages, headings = extracted.pages, extracted.headings
    page_starts, heading_starts = [page.start for page in pages], [heading.start for heading in headings]
    paths = _paths(headings)
    found = []
    for span in spans:
        page = bisect_right(page_starts, span.start) - 1
        over = bisect_right(heading_starts, span.start) - 1
        while over + 1 < len(headings) and over >= 0 and _nothing_between(extracted, span.start, over):
            over += 1
        number = pages[page].number if page >= 0 else None
        found.append(replace(span, page=number, heading=paths[over] if over >= 0 else None))
    return found


def _nothing_between(extracted: Extracted, start: int, over: int) -> bool:
    """Whether the next heading follows the one at or after `start` without a word between."""
    heading, following = extracted.headings[over], extracted.headings[over + 1]
    end = heading.start + len(heading.title)
    return heading.start >= start and not extracted.text[end : following.start].strip()


def _paths(headings: Sequence[Heading]) -> list[str]:
    """For each heading, its title after those that it stands under."""
    paths: list[str] = []
    open_ones: list[Heading] = []
    for heading in headings:
        open_ones = [one for one in open_ones if one.level < heading.level] + [heading]
        paths.append(" > ".join(one.title for one in open_ones))
    return paths
