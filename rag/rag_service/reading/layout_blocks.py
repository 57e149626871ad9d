"""Lines become blocks: a page only shows what is a heading, a paragraph, an item, a row or code."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from statistics import median

from rag_service.reading.blocks import Piece
from rag_service.reading.characters import NO_BLANK
from rag_service.reading.joined_lines import joined_lines, with_words_joined
from rag_service.reading.layout import ASIDE, SIGN, Line
from rag_service.reading.tables import is_header, row_pieces
from rag_service.types import BlockKind

_BULLET = r"[•●○◦▪■□◆►▶➢✓✔‣⁃\ufffd]"
_LABEL = re.compile(
    rf"({_BULLET}|[-–—*·∙](?=\s)|\(?(?:\d{{1,3}}|[a-zA-Z]|[ivx]{{2,5}}|[IVX]{{2,5}})[.)](?=\s))\s*(?=\S)"
)
_SURE_LABEL = re.compile(_BULLET)
_NUMBERED = re.compile(r"(?:\d{1,2}(?:\.\d{1,2}){0,4}|[A-Z](?:\.\d{1,2}){1,4})\.?\s+(?![a-zà-ÿ])[^\W\d_]")
_SENTENCE_END = re.compile(r"[.!?:;。！？：；…][\"'”’»)\]]*$")
_CLOSING = re.compile(r"[,.;:!?)\]、。，．；：！？）」』】〉》]")
_OPEN = re.compile(  # words after which a line goes on
    r"\b(?:of|the|to|and|in|on|by|at|or|an?|for|from|with|than|is|are|de|du|des|la|les?|et|à|que|der|die|das|dem|den|und|"
    r"von|zu|mit|für|el|los|las|y|del|con|por|il|e|di|che|в|на|и|с|по|для)$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+−(]?[\d.,' ]*\d[\d.,' ]*(?:%|[^\W\d]{1,3})?\)?|[-–—]|")
_SURE_CODE = re.compile(r"[{};\\]$|\w\(.*\)|[=!<>]=|->|[\w\])] = |^\s*(?:def|class|if|for|while|return|import) .*:?$")
_PAGE_NUMBER = re.compile(r"(?i)^\W*[ivxlc]{1,7}\W*$")


@dataclass(frozen=True)
class _Block:
    """Lines that belong together. `rows` are a table's, `label` is an item's."""

    kind: BlockKind
    lines: Sequence[Line]
    label: str = ""
    rows: Sequence[Piece] = ()
    text: str = ""

    @property
    def first(self) -> Line:
        return self.lines[0]


@dataclass(frozen=True)
class _Body:
    """How most of the text is set."""

    size: float
    bold: bool
    mono: bool


def pieces(lines: list[Line], bookmarks: dict[tuple[int, str], int]) -> list[Piece]:
    """The blocks of a document's lines. `bookmarks`: (page, title) -> level."""
    lines = _without_running_titles(lines)
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[round(2 * line.size) / 2] += len(line.text)
    half = sum(sizes.values()) / 2
    body = _Body(
        sizes.most_common(1)[0][0],
        sum(len(line.text) for line in lines if line.bold) > half,
        sum(len(line.text) for line in lines if line.mono) > half,
    )
    blocks: list[_Block] = []
    for _, region in groupby(lines, lambda line: (line.page, line.region)):
        found = list(_blocks(list(region), body))
        if blocks and found:
            _put_notes_before(blocks, found[0], body)
        blocks += found
    titles = {(page, _key(title)): level for (page, title), level in bookmarks.items()}
    known = (re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", line.text.casefold()) for line in lines)
    return with_words_joined(list(_typed(blocks, body, titles)), frozenset(word for words in known for word in words))


def _key(title: str) -> str:
    return re.sub(r"^[\d.\s]+|\W+", "", title).casefold()


def _without_running_titles(lines: list[Line]) -> list[Line]:
    """The lines without page numbers and what else is repeated at a page's edge, but for a page that holds no more."""
    seen: dict[tuple[str, int, int], set[int]] = defaultdict(set)
    for line in lines:
        for key, number in _running_keys(line):
            seen[key, number, line.margin or 0].add(line.page)
    least = 2 if len({line.page for line in lines}) <= 4 else 3

    def runs(line: Line) -> bool:
        heights = [(line.margin or 0) + shift for shift in (-1, 0, 1)]
        return any(
            len(set().union(*(seen[key, number, height] for height in heights))) >= least
            for key, number in _running_keys(line)
        )

    pages = [list(page) for _, page in groupby(lines, lambda line: line.page)]
    return [line for page in pages for line in [line for line in page if not runs(line)] or page]


def _running_keys(line: Line) -> Iterator[tuple[str, int]]:
    """A line at the edge as it is, and with each number in it as what it is more than the page's own."""
    if line.margin is None:
        return
    yield line.text, -1
    if _PAGE_NUMBER.match(line.text):
        yield "roman", -2
    for number in re.finditer(r"\d{1,5}", line.text):
        yield f"{line.text[: number.start()]}#{line.text[number.end() :]}", int(number[0]) - line.page


def _blocks(lines: list[Line], body: _Body) -> Iterator[_Block]:
    """The blocks of a region."""
    place = 0
    pending: list[Line] = []
    while place < len(lines):
        end = _table_end(lines, place)
        if end == place:
            pending.append(lines[place])
            place += 1
            continue
        yield from _texts(pending, body)
        pending = []
        yield _table(lines[place:end])
        place = end
    yield from _texts(pending, body)


def _is_row(line: Line) -> bool:
    """Whether a line stands in cells; a list item's label and a heading's number are none."""
    if len(line.cells) != 2:
        return len(line.cells) > 2
    return not (_LABEL.match(f"{line.cells[0].text} x") or re.fullmatch(r"[\d.]+|[A-Z]\.?", line.cells[0].text)) or (
        bool(_NUMBER.fullmatch(line.cells[1].text))
    )


def _table_end(lines: list[Line], start: int) -> int:
    """Where a table ends that begins at a line; there, if none begins."""
    if not _is_row(lines[start]):
        return start
    end = start + 1
    last_row = start
    while end < len(lines):
        line, before = lines[end], lines[end - 1]
        if line.y - before.y > 4 * line.size:
            break
        if _is_row(line) and _are_aligned(lines[last_row], line):
            last_row = end
        elif not _goes_on_in_cell(line, before, lines[start:end]):
            break
        end += 1
    return end if last_row > start else start


def _are_aligned(above: Line, below: Line) -> bool:
    near = 0.7 * below.size
    return any(
        abs(a.x0 - b.x0) < near or abs(a.x1 - b.x1) < near or abs(a.x0 + a.x1 - b.x0 - b.x1) < 2 * near
        for a in above.cells[1:]
        for b in below.cells[1:]
    )


def _goes_on_in_cell(line: Line, before: Line, rows: Sequence[Line]) -> bool:
    """Whether a line is more of a cell: it stands under one that is not the first, in the leading of one paragraph."""
    if line.y - before.y > 1.4 * line.size:
        return False
    cells = [cell for row in rows for cell in row.cells[1:]]
    return all(any(abs(part.x0 - cell.x0) < 0.7 * line.size for cell in cells) for part in line.cells)


def _table(lines: Sequence[Line]) -> _Block:
    widest = max(lines, key=lambda line: len(line.cells)).cells
    columns = [(cell.x0, cell.x1) for cell in widest]
    rows: list[list[str]] = []
    bold: list[bool] = []
    for line in lines:
        row = [""] * len(columns)
        for cell in line.cells:
            # How far it lies in a column; less than zero is how far beside it.
            reach = [min(right, cell.x1) - max(left, cell.x0) for left, right in columns]
            place = reach.index(max(reach))
            row[place] = f"{row[place]} {cell.text}".strip()
        if rows and not row[0] and not _is_row(line):
            rows[-1] = [f"{above} {below}".strip() for above, below in zip(rows[-1], row, strict=True)]
        else:
            rows.append(row)
            bold.append(line.bold)
    names: list[str] = []
    above: list[list[str]] = []
    if is_header(rows, marked=bold[0] and not any(bold[1:])):
        names = rows.pop(0)
    elif place := next((place for place in range(1, min(4, len(rows) - 2)) if is_header(rows[place:], False)), 0):
        above, names, rows = rows[:place], rows[place], rows[place + 1 :]  # a form's lines stand above a table
    return _Block("row", lines, rows=row_pieces(above) + row_pieces(rows, [name.rstrip(" :") for name in names]))


def _texts(lines: list[Line], body: _Body) -> Iterator[_Block]:
    """The blocks of lines that are in no table."""
    if not lines:
        return
    steps = [(after.y - before.y) / before.size for before, after in pairwise(lines) if after.y > before.y]
    leading = median(steps) if steps else 1.2
    leading = min(leading, 1.5) if len(steps) < 6 else leading
    right = max(line.x1 for line in lines)
    for group in _parted(lines, leading):
        if _is_code(group, body):
            yield _Block("code", group, text=_code(group))
        else:
            yield from _paragraphs(group, right, body)


def _parted(lines: list[Line], leading: float) -> Iterator[list[Line]]:
    """Lines as gaps between them, or another size, part them."""
    group: list[Line] = []
    for line in lines:
        if group:
            before = group[-1]
            step = (line.y - before.y) / max(line.size, before.size)
            sized = not 0.92 < line.size / before.size < 1.08
            if step > 1.25 * leading + 0.05 or step < 0 or sized or line.mono != before.mono:
                yield group
                group = []
        group.append(line)
    yield group


def _is_code(lines: Sequence[Line], body: _Body) -> bool:
    if not body.mono and all(line.mono for line in lines):
        return True
    sure = sum(bool(_SURE_CODE.search(line.text)) for line in lines)
    return sure >= 2 and sure >= 0.6 * len(lines) and len({round(line.x0) for line in lines}) > 1


def _code(lines: Sequence[Line]) -> str:
    """Lines with their indents: in characters where all are equally wide, else four for each step."""
    left = min(line.x0 for line in lines)
    wide = median((line.x1 - line.x0) / max(len(line.text), 1) for line in lines)
    steps = sorted({round(line.x0 - left) for line in lines})
    if all(line.mono for line in lines):
        return "\n".join(" " * round((line.x0 - left) / max(wide, 0.1)) + line.text for line in lines)
    return "\n".join(" " * 4 * steps.index(round(line.x0 - left)) + line.text for line in lines)


def _paragraphs(lines: list[Line], right: float, body: _Body) -> Iterator[_Block]:
    """Lines of one size without a gap between them, parted at items, first lines and last lines of paragraphs."""
    if _are_rows(lines):
        for line in lines:
            yield _Block("row", [line], rows=row_pieces([[line.text]]))
        return
    group = [lines[0]]
    left = min(line.x0 for line in lines)
    for before, line in pairwise(lines):
        if _begins(before, line, group, left, right, body):
            yield _paragraph(group)
            group = []
        group.append(line)
    yield _paragraph(group)


def _are_rows(lines: Sequence[Line]) -> bool:
    """Whether lines are read one by one, as those of a list without marks: each begins with a capital or a digit."""
    if len(lines) < 3 or any(line.text.endswith("-") for line in lines):
        return False
    new = all(line.text[:1].isupper() or line.text[:1].isdigit() for line in lines)
    if not new or any(_LABEL.match(line.text) for line in lines):
        return False
    numbers = all(re.search(r"\d", line.text) for line in lines)
    return numbers or len(lines) >= 5


def _begins(before: Line, line: Line, group: Sequence[Line], left: float, right: float, body: _Body) -> bool:
    """Whether a line begins a paragraph or an item."""
    if (
        (before.text.endswith("-") and line.text[:1].isalnum())
        or _CLOSING.match(line.text)
        or _OPEN.search(before.text)
    ):
        return False
    if line.size > 1.12 * body.size:  # the lines of one title
        return bool(_NUMBERED.match(line.text))
    em = line.size
    ended = before.x1 + 0.3 * em + line.first < right - 0.3 * em
    done = ended or bool(_SENTENCE_END.search(before.text))
    if _LABEL.match(line.text) and (_SURE_LABEL.match(line.text) or done):
        return True
    if line.bold != before.bold and done and not body.bold:
        return True
    if _LABEL.match(group[0].text) and line.x0 > group[0].x0 + 0.5 * em:
        return False  # the item goes on
    if line.text[:1].islower():
        return False
    indented = line.x0 > before.x0 + 0.8 * em and before.x0 < left + 0.5 * em and done
    outdented = line.x0 < before.x0 - 0.8 * em and len(group) > 1 and done
    return indented or outdented or ended


def _paragraph(lines: list[Line]) -> _Block:
    text = joined_lines([line.text for line in lines])
    label = _LABEL.match(text)
    if label:
        return _Block("item", lines, label[1].replace(SIGN, "•"), text=text[label.end() :])
    return _Block("paragraph", lines, text=text)


def _typed(blocks: list[_Block], body: _Body, titles: dict[tuple[int, str], int]) -> Iterator[Piece]:
    """The pieces: what is a heading shows only among its neighbours and by the sizes of all."""
    large = sorted({_size(block.first) for block in blocks if _is_large(block, body)}, reverse=True)
    for before, block, after in zip([None, *blocks], blocks, [*blocks[1:], None], strict=False):
        page = block.first.page
        if block.kind == "row":
            yield from (replace(row, page=page) for row in block.rows)
            continue
        level = _level(before, block, after, body, large, titles)
        if level:
            words = f"{block.label} {block.text}".strip()
            yield Piece("heading", words, min(level, 6), page=page)
        elif block.kind == "code":
            yield Piece("code", block.text, page=page)
        else:
            joined = before is not None and _goes_on(before, block)
            nested = 1 if block.kind == "item" else 0
            yield Piece(block.kind, block.text, nested, block.label, page=page, joined=" " if joined else None)


def _size(line: Line) -> float:
    return round(2 * line.size) / 2


def _is_large(block: _Block, body: _Body) -> bool:
    return block.kind != "row" and _size(block.first) > 1.12 * body.size and _may_be_title(block, 3)


def _may_be_title(block: _Block, most_lines: int) -> bool:
    words = f"{block.label} {block.text}".strip()
    if block.first.region >= ASIDE:
        return False
    return len(block.lines) <= most_lines and 1 < len(words) <= 120 and any(one.isalpha() for one in words)


def _level(
    before: _Block | None, block: _Block, after: _Block | None, body: _Body, large: Sequence[float],
    titles: dict[tuple[int, str], int],
) -> int:  # fmt: skip
    """A heading's level; 0 for what is none."""
    words = f"{block.label} {block.text}".strip()
    if level := titles.get((block.first.page, _key(words))):
        return level
    if _is_large(block, body) and not (words.endswith(".") and words.count(" ") > 5):
        return large.index(_size(block.first)) + 1
    if block.kind == "code" or not _may_be_title(block, 2) or re.search(r"[.,;:!]$", words) or after is None:
        return 0
    if after.kind == "row" or after.first.page != block.first.page:
        return 0
    if all(line.bold for line in block.lines) and not body.bold and _size(block.first) >= 0.9 * body.size:
        return 0 if block.label and not block.label[0].isalnum() else len(large) + 1
    alone = before is None or before.lines[-1].page != block.first.page
    if before is not None and not alone:
        alone = block.first.y - before.lines[-1].y > 1.6 * block.first.size
    if block.kind == "item" or len(block.lines) > 1 or not alone or after.kind != "paragraph":
        return 0
    if numbered := re.match(r"((?:\d+\.)*\d+)\s", words):
        return numbered[1].count(".") + 1 if _NUMBERED.match(words) and len(words.split()) <= 10 else 0
    return len(large) + 1 if words.isupper() and sum(one.isalpha() for one in words) >= 4 else 0


def _put_notes_before(blocks: list[_Block], block: _Block, body: _Body) -> None:
    """Brings notes at a column's end before the paragraph that they stand in the midst of, where it goes on after."""
    place = len(blocks) - 1
    while place > 0 and blocks[place].first.size < 0.92 * body.size:
        place -= 1
    if place < len(blocks) - 1 and (blocks[place].first.page, blocks[place].first.region) == (
        blocks[-1].first.page, blocks[-1].first.region
    ) and _goes_on(blocks[place], block):  # fmt: skip
        blocks.append(blocks.pop(place))


def _goes_on(before: _Block, block: _Block) -> bool:
    """Whether a paragraph goes on after a column's or page's end."""
    last, first = before.lines[-1], block.first
    if (last.page, last.region) == (first.page, first.region) or block.kind != "paragraph":
        return False
    if before.kind not in ("paragraph", "item") or not 0.92 < first.size / last.size < 1.08:
        return False
    if _SENTENCE_END.search(before.text):
        return False
    if re.search(r"\w[-‐\u00ad]$", before.text):
        return True
    return block.text[:1].islower() or bool(NO_BLANK.match(before.text[-1:]) and NO_BLANK.match(block.text))
