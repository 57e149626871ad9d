"""Tables as text (.csv, .tsv): each row is one line that names its columns with the values."""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

from rag_service.reading.blocks import MOST_BLOCKS, Piece, Reading
from rag_service.reading.characters import flat
from rag_service.reading.encoding import decode, replaced
from rag_service.reading.tables import PERIOD, row_pieces

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 200  # lines that the delimiter and the header are found by
_MOST_PREAMBLE = 15  # rows of titles over a header
_MISSING = frozenset(("", "-", "--", "?", "na", "n/a", "nan", "null", "none", "nil", "."))
_NUMBER = re.compile(r"[-+(]?\s?[$€£¥]?\s?[-+]?\d[\d.,'\s]*(?:[eE][-+]?\d+)?\s?[%€$£°]?\)?")
_COMMENT = re.compile(r"#(?![,;\t|]).*")
_ADDRESS = re.compile(r"https?://|\S+@\S+\.")
_SENTENCE = re.compile(r"https?://|\S+@\S+\.|.{100}|.*[.!]\s|.{20,}[.!]$")


def read(data: bytes, text_bytes: int) -> Reading:
    """The rows of a table, after what stands over it. Raises LoadFailed."""
    text = decode(data)
    return Reading(table(text), replaced(text))


def table(source: str, delimiter: str = "") -> list[Piece]:
    """The rows, each as `name: value | name: value` without its empty cells; where the columns have no names as
    `value | value`. Comments and titles over the header are paragraphs. `delimiter`: what parts cells; "" finds it."""
    csv.field_size_limit(max(len(source), 1))  # the text as a whole is bounded already
    source = re.sub(r"\r\n?", "\n", source.replace("\x00", "")).strip("\n")
    if declared := re.match(r"sep=(.)\n", source):  # as Excel reads it
        source, delimiter = source[declared.end() :], declared[1]
    comments, lines = _without_comments(source.split("\n"))
    reader = _reader(lines, delimiter)
    sample = list(islice(_filled(reader.rows(lines)), _SAMPLE))
    width = Counter(map(len, sample)).most_common(1)[0][0] if sample else 0
    preamble = _preamble(sample, width)
    names = sample[preamble] if _is_header(sample[preamble : preamble + 1], sample[preamble + 1 :]) else []
    if comments and not names:  # the last one may be the header
        last = next(_filled(reader.rows([comments[-1].lstrip("# ")])), [])
        if len(last) == width > 1 and _is_header([last], sample[preamble:]):
            names, comments = last, comments[:-1]
    above = [*(line.lstrip("# ") for line in comments), *(" | ".join(filter(None, row)) for row in sample[:preamble])]
    rows = islice(_filled(reader.rows(lines)), preamble, MOST_BLOCKS + 1)  # with one more the text is refused
    pieces = [Piece("paragraph", words) for words in above if words]
    # A row up to its last value, and as wide as the names of the columns.
    ends = ((row, max(at for at, cell in enumerate(row, 1) if cell)) for row in rows if row != names)
    return pieces + row_pieces((row[:end] + [""] * (len(names) - end) for row, end in ends), names)


def _without_comments(lines: list[str]) -> tuple[list[str], list[str]]:
    """The comments over a table, and its lines."""
    count = next((at for at, line in enumerate(lines) if not _COMMENT.fullmatch(line)), 0)
    return (lines[:count], lines[count:]) if count <= len(lines) / 2 or count < _MOST_PREAMBLE else ([], lines)


def _filled(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    for row in rows:
        cells = [flat(cell) for cell in row]
        if any(cells):
            yield cells


@dataclass(frozen=True)
class _Dialect:
    """How a file parts and quotes its cells. `is_escaped`: quotation marks in cells have a backslash before them."""

    delimiter: str
    is_quoted: bool
    is_escaped: bool

    def rows(self, lines: list[str], strict: bool = False) -> Iterator[list[str]]:
        return csv.reader(
            (line + "\n" for line in lines),  # with their ends: a quoted cell may go on in the next line
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.is_quoted else csv.QUOTE_NONE,
            escapechar="\\" if self.is_escaped and self.is_quoted else None,
            doublequote=not self.is_escaped,
            strict=strict,
        )

    def score(self, lines: list[str]) -> tuple[float, int, int]:
        """How sure it is: by the share of rows that have as many cells as most, and of cells without other delimiters;
        then by whether each mark that closes a cell stands at its end."""
        rows = [row for row in self.rows(lines) if row]
        width, count = max(Counter(map(len, rows)).items(), key=lambda item: (item[0] > 1, item[1]), default=(1, 0))
        cells = [cell for row in rows if len(row) == width for cell in row]
        clean = sum(not re.search(r"[;\t|]|\d,\d.*,\d", cell) or bool(_NUMBER.fullmatch(cell)) for cell in cells)
        share = (count / max(len(rows), 1)) * (1 + clean / max(len(cells), 1)) / 2 if width > 1 else 0.0
        try:
            deque(self.rows(lines, strict=True), maxlen=0)
            order = 2 if self.is_quoted else 1
        except csv.Error:
            order = 0
        return round(share, 2), order, width


def _reader(lines: list[str], delimiter: str) -> _Dialect:
    """The likeliest dialect. Whether quotation marks enclose cells or are just characters may show in one of the
    last lines only: all are looked at."""
    is_escaped = any('\\"' in line for line in lines) and not any('""' in line for line in lines)
    delimiters = [_Dialect(one, True, is_escaped) for one in delimiter or _DELIMITERS]
    best = max(delimiters, key=lambda one: one.score(lines[:_SAMPLE]))
    if not any('"' in line for line in lines):
        return best
    return max((best, replace(best, is_quoted=False)), key=lambda one: one.score(lines))


def _preamble(sample: list[list[str]], width: int) -> int:
    """How many rows of titles or notes stand over the table: less than half filled, before one that is."""
    for at, row in enumerate(sample[: _MOST_PREAMBLE + 1]):
        if sum(map(bool, row)) >= max(width / 2, 1 if width < 3 else 2):
            return at if len(row) > 1 or width == 1 else at + 1
    return 0


def _is_header(first: Sequence[Sequence[str]], body: Sequence[Sequence[str]]) -> bool:
    """Whether a row names the columns: where values are numbers, its cells are none; where they are texts, its own do
    not come again."""
    row = first[0] if first else []
    body = [other for other in body if other != row]  # files that were put together repeat their header
    columns = [
        (name, [other[at] for other in body if at < len(other) and other[at].lower() not in _MISSING])
        for at, name in enumerate(row)
        if name
    ]
    counted = [name for name, _ in columns if name.isdecimal()]
    steps = {int(after) - int(before) for before, after in pairwise(counted)} == {1}  # columns 1, 2, 3
    periods = [one for one in columns if PERIOD.fullmatch(one[0]) or (steps and one[0] in counted)]
    texts = [one for one in columns if one not in periods and not _NUMBER.fullmatch(one[0])]
    if not body or not texts or len(texts) + len(periods) < len(columns) or len(columns) < len(row) / 2:
        return False
    if any(name in values for name, values in texts):
        return False
    if any(values and all(map(PERIOD.fullmatch, values)) for _, values in periods):
        return False
    numbers = ((values, sum(bool(_NUMBER.fullmatch(value)) for value in values)) for _, values in texts)
    if periods or any(values and count >= 0.8 * len(values) for values, count in numbers):
        return not any(map(_ADDRESS.match, row))
    return len(row) > 1 and len({name for name, _ in texts}) == len(texts) and not any(map(_SENTENCE.match, row))
