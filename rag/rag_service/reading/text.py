"""Plain text: paragraphs, headings, list items, tables and code, as far as its lines show them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import quantiles
from textwrap import dedent

from rag_service.reading import csv
from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.encoding import decode, replaced

Lines = Sequence[str]

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
_BULLET = re.compile(r"(?P<label>[-*+•·–—‣◦▪●○■□]|\[[ xX]\])(?=\s+\S)")
_NUMBERED = re.compile(
    r"(?P<label>\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{2,5}|[IVX]{2,5})[.)]|\d{1,3}(?:\.\d{1,3})+\.?)(?=\s+\S)"
)
_ROMAN = {"i": 1, "v": 5, "x": 10}
_RULE = re.compile(r"\s*([-=_*~#+^.])(?:\s?\1){2,}\s*")
_UNDERLINES = {"=": 1, "#": 1, "*": 1, "-": 2, "_": 2, "~": 3, "^": 3, "+": 3}
_BAR_RULE = re.compile(r"[\s|+:=-]*[-=]{2}[\s|+:=-]*")
_SECTION = re.compile(r"(?:(\d{1,2}(?:\.\d{1,2})+)\.?|(\d{1,2})\.?|([IVX]{1,5}|[A-Z])\.)\s+(?=[^\W\d_])")
_CHAPTER = re.compile(
    r"(?:chapter|part|section|appendix|annex|book|article|kapitel|abschnitt|teil|anhang|artikel|chapitre|partie|annexe|"
    r"capítulo|sección|parte|capitolo|sezione|allegato|rozdział|część|kapitola|část|глава|часть|раздел|приложение)"
    r"\s+(?:\d{1,3}|[IVXLC]{1,7}|[A-Z])\b.{0,60}|第[\d一二三四五六七八九十百]{1,4}[章节節部編].{0,40}",
    re.IGNORECASE,
)
_FULL_STOPS = re.compile(r"\w+ \w+[.:] [^.]+\.$")  # "Section 12. Definitions.", not "Section 12 applies."
_CODE = re.compile(
    r"[{};]\s*$|^\s*(?:\$ |>>>|#!|//|/\*|</?\w|@\w+$|#include|(?:from \S+ )?import [\w.*]+|function \w*\(|"
    r"(?:var|let|const|int|char|string|float) \w+ ?[=;]|SELECT .*|INSERT INTO|CREATE TABLE|"
    r"(?:def|class|if|for|while|else|elif|try|except|public|private)\b.*[:({]$)|\w\(.*\)[:;]?$|[=!<>]=|->|=>|::|"
    r"^\s*[\w.]+\s?=\s?\S|^\s*\[[\w. ]+\]$"
)
_LOG = re.compile(
    r"\W{0,2}(?:\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|\d\d?/\w{2,3}/\d{2,4}|[A-Z][a-z]{2} [ \d]\d \d\d:|"
    r"(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)\b)"
)
# Lines up to an empty one, or all that stands between fences.
_BLOCK = re.compile(
    r"^[ \t]*```[^\n]*\n.*?(?:^[ \t]*```[^\n]*$|\Z)|(?:^(?![ \t]*```)[^\n]+\n?)+", re.MULTILINE | re.DOTALL
)
_GAP = re.compile(r"(?<=\S)(?: {2,}|\t+ *)(?=\S)")
_LEAST_WIDTH = 40  # narrower lines are no prose that a margin broke
_LONG_LINE = 120  # longer ones are paragraphs themselves
_LONGEST_TITLE = 80


def read(data: bytes, text_bytes: int) -> Reading:
    """The blocks of a plain text. Raises LoadFailed `not text`, `encoding not known`."""
    text = decode(data)
    return Reading(pieces(text), replaced(text))


def pieces(text: str) -> list[Piece]:
    """The blocks of a text whose lines are all that shows its structure."""
    lines = [line.rstrip() for line in _shown(text).split("\n")]
    filled = [line for line in lines if line]
    if delimiter := _delimiter(filled):
        return csv.table("\n".join(lines), delimiter)
    found = _BLOCK.finditer("\n".join(lines))
    return list(_Document([one[0].rstrip("\n").split("\n") for one in found]).pieces())


def _shown(text: str) -> str:
    """What a screen shows: without colours, and without what was typed over."""
    text = re.sub(r"\r\n|[\r\u2028\u2029\f\v]", "\n", text).replace("\u00a0", " ")
    text = _ESCAPE.sub("", text) if "\x1b" in text else text
    for _ in range(20 if "\b" in text else 0):
        text = re.sub(r"[^\n\x08]\x08", "", text)
    return text


def _delimiter(lines: Lines) -> str:
    """What parts the cells, where lines are rows of a table: the same number of them in nearly all lines."""
    for delimiter, fewest, least in (("\t", 1, 2), (";", 2, 3), ("|", 2, 3), (",", 2, 3)):
        if len(lines) >= least:
            (count, lines_with), *_ = Counter(line.count(delimiter) for line in lines).most_common(1)
            indented = sum(line.startswith(delimiter) for line in lines)
            if count >= fewest and lines_with >= 0.9 * len(lines) and indented < len(lines) / 2:
                prose = sum(f"{delimiter} " in line or len(line) > 500 for line in lines)
                if delimiter == "\t" or prose < len(lines) / 4:
                    return delimiter
    return ""


class _Document:
    """Blocks of lines, and what all of them together show: how wide the lines are that a margin broke, how far lines
    are indented at least, and which numbers stand before titles."""

    def __init__(self, blocks: list[list[str]]) -> None:
        self._blocks = blocks
        self._indent = min((_indent(line) for block in blocks for line in block), default=0)
        widest = [max(map(_width, block)) for block in blocks if len(block) > 1]
        widest = [width for width in widest if _LEAST_WIDTH <= width <= _LONG_LINE]
        self._width = int(quantiles(widest, n=5)[-1]) if len(widest) > 1 else max(widest, default=0)
        tops = (_SECTION.match(block[0]) for block in blocks if len(block) == 1)
        self._numbers = {int(top[2]) for top in tops if top and top[2]}

    def pieces(self) -> Iterator[Piece]:
        for at, block in enumerate(self._blocks):
            yield from self._block(block, at)

    def _block(self, block: Lines, at: int) -> Iterator[Piece]:
        if block[0].lstrip().startswith("```"):
            yield Piece("code", "\n".join(line for line in block if not line.lstrip().startswith("```")))
        elif title := self._underlined(block):
            heading, rest = title
            yield heading
            if rest:
                yield from self._block(rest, at)
        elif _RULE.fullmatch(block[0]) or _RULE.fullmatch(block[-1]):
            inner = [line for line in block if not _RULE.fullmatch(line)]
            if inner:
                yield from self._block(inner, at)
        elif rows := _rows(block):
            yield from csv.table(*rows)
        elif level := self._title_level(block, at):
            yield Piece("heading", re.sub(r"^#+\s+", "", block[0].strip()), level)
            if len(block) > 1:
                yield from self._block(block[1:], at)
        elif self._is_code(block):
            yield Piece("code", dedent("\n".join(block)))
        elif len(block) > 1 and sum(bool(_LOG.match(line)) for line in block) >= 0.8 * len(block):
            yield from (Piece("row", line) for line in block)
        else:
            yield from self._prose(block, at)

    def _underlined(self, block: Lines) -> tuple[Piece, Lines] | None:
        """A title with a row of marks under it, or above it as well, and the lines that follow."""
        over = len(block) > 2 and bool(_RULE.fullmatch(block[0])) and bool(_RULE.fullmatch(block[2]))
        title, *rest = block[over:]
        mark = _RULE.fullmatch(rest[0]) if rest else None
        if mark is None or mark[1] not in _UNDERLINES or not re.search(r"\w", title) or len(title) > _LONGEST_TITLE:
            return None
        if not over and not 0.5 * _width(title.strip()) <= _width(mark[0].strip()) <= 2 * _width(title) + 8:
            return None
        if _GAP.search(title.strip()) and rest[1:]:  # the head of a table
            return None
        return Piece("heading", title.strip(), _UNDERLINES[mark[1]]), rest[1:]

    def _title_level(self, block: Lines, at: int) -> int:
        """The level of the heading that a block's first line is, or 0."""
        line = block[0].strip()
        is_chapter = _CHAPTER.fullmatch(line) and not (line.endswith(".") and not _FULL_STOPS.match(line))
        if len(line) > _LONGEST_TITLE or (line[-1] in ".,;!?" and not (is_chapter and line[-1] == ".")):
            return 0
        if _is_capital(line) and all(_indent(one) > _indent(block[0]) + 1 for one in block[1:]):
            return 1
        if len(block) > 1 or line.endswith(":"):
            return 0
        if marks := re.match(r"(#{1,6})\s+\w", line):
            return len(marks[1])
        if is_chapter:
            return 1
        return self._section_level(line, at)

    def _section_level(self, line: str, at: int) -> int:
        """That of a numbered title. A number whose neighbour's block continues counting is a list item's."""
        section = _SECTION.match(line)
        if section is None or line[section.end()].islower() or _GAP.search(line):
            return 0
        if section[1]:
            return section[1].count(".") + 1
        own = _value(section[2] or section[3].lower())
        if any(abs(value - own) == 1 for _, value in self._near(at)):
            return 0
        return 1 if section[3] or own == 1 or self._numbers & {own - 1, own + 1} else 0

    def _is_code(self, block: Lines) -> bool:
        marked = sum(bool(_CODE.search(line)) for line in block)
        indented = all(_indent(line) >= self._indent + 4 for line in block)
        listed = _NUMBERED.match(block[0].lstrip())
        return not listed and marked >= (1 if indented else 2) and marked >= (0.3 if indented else 0.5) * len(block)

    def _prose(self, block: Lines, at: int) -> Iterator[Piece]:
        """List items and the paragraphs between them."""
        starts = self._starts(block, at)
        levels = {indent: level for level, indent in enumerate(sorted({_indent(block[one]) for one in starts}), 1)}
        opened = 0
        for start, end in pairwise([*starts, len(block)]):
            yield from self._paragraphs(block[opened:start])
            indent, label = _indent(block[start]), starts[start]
            last = start + 1
            while last < end and (
                _indent(block[last]) > indent or _is_forced(block[last - 1], block[last], self._width)
            ):
                last += 1
            words = block[start].strip()[len(label) :]
            yield Piece("item", _joined([words, *block[start + 1 : last]]), levels[indent], label)
            opened = last
        yield from self._paragraphs(block[opened:])

    def _starts(self, block: Lines, at: int) -> dict[int, str]:
        """The lines that list items begin with, and the items' labels: bullets, and numbers that are counted."""
        labels = [(_BULLET.match(line.lstrip()) or _NUMBERED.match(line.lstrip())) for line in block]
        counts = Counter(match["label"] for match in labels if match)
        counted = {_key(label) for label in counts} | self._near(at)
        found: dict[int, str] = {}
        for line, match in enumerate(labels):
            if match is None:
                continue
            shape, value = _key(match["label"])
            if not value:
                follows = line == 0 or block[line - 1].endswith(":") or counts[match["label"]] > 1
            elif line == 0 and shape[0] in "0(":
                follows = True
            else:
                deeper = value == 1 and line - 1 in found and _indent(block[line]) > _indent(block[line - 1])
                follows = deeper or not counted.isdisjoint(((shape, value - 1), (shape, value + 1)))
            if follows:
                found[line] = match["label"]
        return found

    def _near(self, at: int) -> set[tuple[str, int]]:
        """The keys of the numbers that the blocks before and after this one begin with."""
        near = (self._blocks[next_to][0] for next_to in (at - 1, at + 1) if 0 <= next_to < len(self._blocks))
        return {_key(match["label"]) for match in map(_NUMBERED.match, map(str.lstrip, near)) if match}

    def _paragraphs(self, lines: Lines) -> Iterator[Piece]:
        """Paragraphs, which an indented line may open."""
        opened = 0
        for at in range(1, len(lines)):
            before, own, after = (_indent(line) for line in (*lines[at - 1 : at + 2], "")[:3])
            if before < own > after and lines[at - 1][-1] in '.!?:”"':
                yield from self._paragraph(lines[opened:at])
                opened = at
        yield from self._paragraph(lines[opened:])

    def _paragraph(self, lines: Lines) -> Iterator[Piece]:
        """Lines that a margin broke are joined; others, as those of a poem or an address, stay."""
        if lines and self._is_broken(lines):
            yield Piece("paragraph", _joined(lines))
        elif lines and max(map(len, lines)) > _LONG_LINE:
            yield from (Piece("paragraph", line.strip()) for line in lines)
        elif lines:
            yield Piece("paragraph", dedent("\n".join(lines)))

    def _is_broken(self, lines: Lines) -> bool:
        """Whether the document's margin broke the lines."""
        capitals = sum(line.lstrip()[0].isupper() for line in lines)
        if len(lines) > 3 and capitals == len(lines):  # a poem
            return False
        breaks = [_is_forced(line, following, self._width) for line, following in pairwise(lines)]
        return sum(breaks) >= 0.8 * len(breaks)


def _rows(block: Lines) -> tuple[str, str] | None:
    """A table that lines are, drawn with bars or set in columns too, and what parts its cells; None: it is no table."""
    lines = [line for line in block if not _BAR_RULE.fullmatch(line)]
    if lines and all(line.strip()[0] == "|" or line.count("|") > 1 for line in lines) and len(block) > 1:
        return "\n".join("\t".join(map(str.strip, line.strip().strip("|").split("|"))) for line in lines), "\t"
    if delimiter := _delimiter(lines):
        return "\n".join(lines), delimiter
    cells = _in_columns(lines) if len(lines) > 2 else ""
    return (cells, "\t") if cells else None


def _in_columns(lines: Lines) -> str:
    """Cells that stand under each other, with two blanks or more between all columns."""
    lines = [line.expandtabs(8) for line in lines]
    if sum(bool(_GAP.search(line)) for line in lines) < 0.7 * len(lines):
        return ""
    width = max(map(len, lines))
    filled = [any(at < len(line) and line[at] != " " for line in lines) for at in range(width)]
    first = filled.index(True)
    starts = [at for at in range(first, width) if filled[at] and (at == first or not any(filled[max(at - 2, 0) : at]))]
    starts[:1] = [0]
    rows = [[line[start:end].strip() for start, end in pairwise([*starts, width])] for line in lines]
    cells = [cell for row in rows for cell in row]
    if len(starts) < 2 or sum(map(bool, cells)) < 0.6 * len(cells) or sum(map(len, cells)) > 25 * len(cells):
        return ""
    return "\n".join("\t".join(row) for row in rows)


def _is_forced(line: str, following: str, width: int) -> bool:
    """Whether a margin at this width left no room for the next line's first word, or nearly so."""
    first = following.split()[0]
    word = 2 if _is_wide(first[0]) else _width(first)
    return width > 0 and _width(line) > _LEAST_WIDTH / 2 and _width(line) + 1 + word > 0.88 * width


def _joined(lines: Lines) -> str:
    """Lines as one; Chinese and Japanese put no blank where a line ends."""
    parts = [lines[0].strip()]
    for line in map(str.strip, lines[1:]):
        before = parts[-1][-1:]
        hyphen = before == "-" and parts[-1][-2:-1].isalpha()
        parts.append(line if not before or hyphen or (_is_wide(before) and _is_wide(line[0])) else f" {line}")
    return "".join(parts)


def _is_capital(line: str) -> bool:
    """Whether all letters are capitals, and most of the line is letters."""
    letters = sum(map(str.isalpha, line))
    return line.isupper() and letters >= 4 and letters > 0.6 * len(line.replace(" ", "")) and line[-1] not in ".,;!?:"


def _key(label: str) -> tuple[str, int]:
    """How a label looks, whatever it counts, and what it counts."""
    return re.sub(r"[A-Z]+", "A", re.sub(r"[a-z]+", "a", re.sub(r"\d+", "0", label))), _value(label)


def _value(label: str) -> int:
    """The number that a list item's label counts; 0: it is a bullet."""
    core = label.strip("().")
    if core.isdecimal():
        return int(core)
    if "." in core:
        return int(core.rsplit(".", 1)[1])
    if len(core) > 1 and set(core.lower()) <= _ROMAN.keys():
        digits = [_ROMAN[letter] for letter in core.lower()]
        return sum(-one if one < following else one for one, following in pairwise([*digits, 0]))
    return ord(core.lower()) - ord("a") + 1 if len(core) == 1 and core.isalpha() and core.isascii() else 0


def _indent(line: str) -> int:
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip())


def _width(line: str) -> int:
    """In columns of a screen: a Chinese character fills two."""
    return len(line) if line.isascii() else len(line) + sum(map(_is_wide, line))


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"
