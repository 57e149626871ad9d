"""Words with their places on a page become lines in reading order.

Places are in points, x from the left, y from the top. An em is the size of the letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from statistics import median
from typing import NamedTuple

from rag_service.reading.characters import NO_BLANK

SIGN = "\ufffd"  # a sign whose meaning the font does not say: a bullet, where it begins a line
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff]")
_SENTENCE_END = re.compile(r"[^\W\d_]{2}[.!?][\"'”’)]*$")
_LEADERS = re.compile(r"(?:\s*[.·…_]){4,}\s*")
_ACCENTED = re.compile(r"([¨ˆ˜ˇ˚¯˘˙˝]|´(?=\s?[AEIOUYaeiouycnz]))\s?([A-Za-zı])")
_SPACING_ACCENTS = {
    "¨": "\u0308", "´": "\u0301", "ˆ": "\u0302", "˜": "\u0303", "ˇ": "\u030c", "˚": "\u030a", "¯": "\u0304",
    "˘": "\u0306", "˙": "\u0307", "˝": "\u030b",
}  # fmt: skip

# How much of a page's height, at its top and at its bottom, may hold what is repeated on other pages.
_MARGIN = 0.1
ASIDE = 10_000  # regions from this number on hold what stands at an angle to most of the page


class Area(NamedTuple):
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, x: float, y: float) -> bool:
        return self.left - 1 <= x <= self.right + 1 and self.top - 1 <= y <= self.bottom + 1

    def share(self, other: Area) -> float:
        """How much of this area the other one covers, 0 to 1."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        size = (self.right - self.left) * (self.bottom - self.top)
        return wide * high / size if wide > 0 and high > 0 and size > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Word:
    """Characters without a blank; `y` is their base line. `order`: its place in the file; `blank`: it begins after one
    there."""

    text: str
    x0: float
    x1: float
    y: float
    size: float
    bold: bool
    mono: bool
    order: int
    blank: bool


class Cell(NamedTuple):
    x0: float
    x1: float
    text: str
    bold: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a region, which is a column of a page, or a part of the page that is not divided into columns.

    `first` is the width of its first word, or of what may stand alone on the line before; `cells` are what wide gaps
    part it into; `margin` is its height where it stands in the outermost part of the page, as running titles do."""

    text: str
    x0: float
    x1: float
    y: float
    size: float
    bold: bool
    mono: bool
    page: int
    region: int
    first: float
    cells: tuple[Cell, ...]
    margin: int | None


def lines_of(words: list[Word], page: int, area: Area, aside: bool) -> list[Line]:
    """The lines of level words in reading order: columns from left to right, each from top to bottom. `aside`: they
    stand at an angle to most of the page."""
    regions = _regions(_rows(words), 0)
    high = area.bottom - area.top
    lines = []
    for number, rows in enumerate(regions, start=ASIDE if aside else 0):
        for row in rows:
            if all(word.text == SIGN for word in row):
                continue
            line = _line(row, page, number)
            outer = high > 0 and not _MARGIN < (line.y - area.top) / high < 1 - _MARGIN
            lines.append(replace(line, margin=round((line.y - area.top) / 6)) if outer else line)
    return lines


Row = list[Word]  # from left to right


def _rows(words: Iterable[Word]) -> list[Row]:
    """Words on one base line, from the top down; raised and lowered ones stand in the row of the word they follow."""
    rows: list[Row] = []
    for word in sorted(words, key=lambda one: one.y):
        first = rows[-1][0] if rows else word
        if rows and word.y - first.y <= 0.25 * min(word.size, first.size):
            rows[-1].append(word)
        else:
            rows.append([word])
    _put_scripts(rows)
    return [sorted(row, key=lambda word: word.x0) for row in rows if row]


_SMALL = 0.85  # the size of a raised or lowered word, in parts of its neighbour's, is less


def _put_scripts(rows: list[Row]) -> None:
    largest = [max(word.size for word in row) for row in rows]
    for number, row in enumerate(rows):
        near = [place for place in (number + 1, number + 2, number - 1, number - 2) if 0 <= place < len(rows)]
        most = _SMALL * max((largest[place] for place in near), default=0)
        for word in sorted((one for one in row if one.size < most), key=lambda one: one.x0):
            for place in near:
                if largest[place] > word.size and any(_is_script_of(word, base) for base in rows[place]):
                    row.remove(word)
                    rows[place].append(word)
                    break


def _is_script_of(word: Word, base: Word) -> bool:
    """Whether a word is an exponent, index or note mark of another, or goes on with one, or begins a note."""
    after, up = (word.x0 - base.x1) / base.size, (base.y - word.y) / base.size
    if word.size < _SMALL * base.size:
        return -0.45 < up < 0.75 and (
            -0.2 < after < 0.35 or (up > 0.2 and -0.2 < (base.x0 - word.x1) / base.size < 0.3)
        )
    return word.size == base.size and abs(up) < 0.1 and -0.1 < after < 0.4


def _spans(row: Row, gap: float, after_sentence: float = 0.0) -> list[Row]:
    """Words of a row without a gap as wide as this between them, or as wide as the other where a sentence ends before
    it; gaps are in ems."""
    spans = [[row[0]]]
    edge = row[0].x1
    for word in row[1:]:
        before = spans[-1][-1]
        least = max(gap, after_sentence) if _SENTENCE_END.search(before.text) else gap
        if word.x0 - edge > least * max(word.size, before.size):
            spans.append([])
        spans[-1].append(word)
        edge = max(edge, word.x1)
    return spans


_GUTTER = 0.6  # ems; the least between two columns
_Span = tuple[float, float, int, float, bool]  # left, right, place in the file, base line, whether it is a number


def _regions(rows: list[Row], depth: int) -> list[list[Row]]:
    """Rows parted into columns where there are any: what stands above them, the left one, the right one, the rest."""
    found = _columns(rows) if len(rows) >= 3 and depth < 8 else None
    if not found:
        return [rows] if rows else []
    top, bottom, edge = found
    sides: tuple[list[Row], list[Row]] = ([], [])
    for row in rows[top:bottom]:
        for side, words in zip(sides, ([w for w in row if w.x0 < edge], [w for w in row if w.x0 >= edge]), strict=True):
            if words:
                side.append(words)
    parts = (rows[:top], *sides, rows[bottom:])
    return [region for part in parts for region in _regions(part, depth + 1)]


def _columns(rows: list[Row]) -> tuple[int, int, float] | None:
    """The longest run of rows that stand in two columns: from row, to row, where the right column begins."""
    em = median(word.size for row in rows for word in row)
    spans = [[(s[0].x0, s[-1].x1, s[0].order, s[0].y, _is_number(s)) for s in _spans(row, _GUTTER)] for row in rows]
    starts = Counter(round(span[0] / em) for row in spans for span in row)
    left = min(row[0][0] for row in spans)
    best: tuple[int, int, float] | None = None
    for start, count in starts.items():
        if count + starts[start + 1] < 3 or start * em < left + 4 * em:
            continue
        edge = min(span[0] for row in spans for span in row if round(span[0] / em) == start) - 0.1 * em
        crossing = [any(s[0] < edge and s[1] > edge - (_GUTTER - 0.2) * em for s in row) for row in spans]
        for crosses, run in groupby(range(len(spans)), crossing.__getitem__):
            first, *rest = run
            end = rest[-1] + 1 if rest else first + 1
            longer = best is None or end - first > best[1] - best[0]
            if not crosses and longer and _are_columns(spans[first:end], edge, em):
                best = first, end, edge
    return best


def _are_columns(rows: list[list[_Span]], edge: float, em: float) -> bool:
    """Whether what stands left and right of an edge is read one after the other: lines of prose on both sides, or lines
    that the file itself holds one side after the other. Else it is a table."""
    sides = [[s for row in rows for s in row if s[0] < edge], [s for row in rows for s in row if s[0] >= edge]]
    if min(map(len, sides)) < 3 or any(sum(span[4] for span in side) > 0.3 * len(side) for side in sides):
        return False
    wide = [[span[1] - span[0] for span in side] for side in sides]
    usual = [_weighted_median(widths) for widths in wide]  # a figure's few words among lines do not count
    dense = all(median(b[3] - a[3] for a, b in pairwise(side)) <= 2 * em for side in sides)
    full = all(one >= 0.55 * max(widths) for one, widths in zip(usual, wide, strict=True))
    if dense and full and min(usual) >= 7 * em:
        return True
    order = [span[0] < edge for span in sorted((span for side in sides for span in side), key=lambda span: span[2])]
    turns = sum(a != b for a, b in pairwise(order))
    alone = sum(len({span[0] < edge for span in row}) == 1 for row in rows)
    return turns <= 0.1 * len(order) and dense and alone >= 0.3 * len(rows) and min(usual) >= 4 * em


def _is_number(words: Row) -> bool:
    return all(re.fullmatch(r"[-+−(]?[$€£¥]?\d[\d.,]*%?\)?", word.text) for word in words)


def _weighted_median(values: Sequence[float]) -> float:
    """The value that half of their sum lies below."""
    left = sum(values) / 2
    for value in sorted(values):
        left -= value
        if left <= 0:
            return value
    return 0.0


def _line(row: Row, page: int, region: int) -> Line:
    sizes: Counter[float] = Counter()
    for word in row:
        sizes[word.size] += len(word.text)
    size = sizes.most_common(1)[0][0]
    base = median(word.y for word in row if word.size == size)
    row = _closed_up([word for place, word in enumerate(row) if place == 0 or word.text != SIGN])
    spans = _spans(row, 0.9, after_sentence=1.4)  # typists put two blanks there, and a margin widens them
    written = "".join(word.text for word in row)
    backwards = not written.isascii() and 2 * len(_RIGHT_TO_LEFT.findall(written)) > len(written)
    if backwards:
        spans.reverse()
    cells = tuple(_cell(span, size, base) for span in spans)
    text = _LEADERS.sub(" | ", " ".join(cell.text for cell in cells)).strip(" |")
    full = [word for word in row if word.size > _SMALL * size]
    bold, mono = all(word.bold for word in full), all(word.mono for word in full)
    left, right = row[0].x0, max(word.x1 for word in row)
    if backwards:  # mirrored, so that what is said of a line's beginning and end holds
        left, right = -right, -left
    first = size if NO_BLANK.match(row[0].text) else row[0].x1 - row[0].x0
    return Line(text, left, right, base, size, bold, mono, page, region, first, cells, None)


def _closed_up(row: Row) -> Row:
    """Words whose letters are set apart are whole again: between them the gaps are wider than between letters."""
    if len(row) < 5 or sum(len(word.text) > 2 or not word.text.isalpha() for word in row) > 0.2 * len(row):
        return row
    gaps = [after.x0 - before.x1 for before, after in pairwise(row)]
    if sum(len(word.text) == 1 for word in row) < 0.7 * len(row) or median(gaps) > 1.5 * row[0].size:
        return row
    whole = [row[0]]
    for gap, word in zip(gaps, row[1:], strict=True):
        if gap > 1.6 * max(median(gaps), 0.1 * word.size):
            whole.append(replace(word, blank=True))
        else:
            whole[-1] = replace(whole[-1], text=whole[-1].text + word.text, x1=word.x1)
    return whole


def _cell(words: Row, size: float, base: float) -> Cell:
    left, right, bold = words[0].x0, max(word.x1 for word in words), all(word.bold for word in words)
    if any(_RIGHT_TO_LEFT.search(word.text) for word in words):
        words = sorted(words, key=lambda word: word.order)  # PDFium brings it into the order of reading
    text = words[0].text
    for before, word in pairwise(words):
        raised = base - word.y > 0.15 * size and word.size < _SMALL * size
        follows = base - before.y > 0.15 * size and before.size < _SMALL * size
        if before is words[0] and follows and not raised:
            text += " "  # a note's mark
        elif raised and not follows and text[-1:].isalnum() and not (word.text.isalpha() and len(word.text) > 1):
            text += "^"
        elif not raised and _are_apart(before, word, size):
            text += " "
        text += word.text
    return Cell(left, right, _accented(text), bold)


def _are_apart(before: Word, word: Word, size: float) -> bool:
    gap = word.x0 - before.x1
    if NO_BLANK.match(before.text[-1]) and NO_BLANK.match(word.text):
        return gap > 1.5 * size
    if min(word.size, before.size) < _SMALL * size:
        return gap > 0.2 * size
    if gap < 0.05 * size and re.search("f[fil]$", before.text):
        return False  # a font's ligature that is written with a blank of no width
    return word.blank if word.order == before.order + 1 and gap < 0.3 * size else gap > 0.12 * size


def _accented(text: str) -> str:
    """Letters whose accents are written before them, as in files of TeX: ¨u is ü."""

    def composed(found: re.Match[str]) -> str:
        letter = unicodedata.normalize("NFC", found[2].replace("ı", "i") + _SPACING_ACCENTS[found[1]])
        return letter if len(letter) == 1 else found[0]

    return text if text.isascii() else _ACCENTED.sub(composed, text)
