"""Tables of Word files: their rows and cells, and whether the first row looks like a header."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from rag_service.reading.blocks import Piece
from rag_service.reading.ooxml import Element, is_true
from rag_service.reading.tables import Cell, cell_of
from rag_service.reading.word_styles import Styles

Inside = Callable[[Iterable[Element]], list[Piece]]  # the blocks of a cell
LEFT_OUT = frozenset(("del", "moveFrom", "rt", "Fallback"))


def rows_of(parent: Element, inside: Inside) -> Iterator[list[Cell]]:
    for one in parent.elements():
        if one.tag == "tr":
            yield _row(one, inside)
        elif one.tag not in LEFT_OUT:
            yield from rows_of(one, inside)


def _row(element: Element, inside: Inside) -> list[Cell]:
    """The cells of a row; none of a deleted or hidden one."""
    said = element.child("trPr")
    if said.child("del") or said.is_on("hidden"):
        return []
    before = _count(said.value("gridBefore"), 0)
    is_header = bool(said.is_on("tblHeader"))
    return [Cell("", is_header, repeated=True)] * before + [_cell(one, is_header, inside) for one in _cells(element)]


def looks_headed(rows: Sequence[Sequence[Cell]], properties: Element, styles: Styles) -> bool:
    """Whether the table's style shows its first row in another way than the others."""
    look = properties.child("tblLook")
    value = look.get("val") if re.fullmatch(r"[0-9A-Fa-f]{1,8}", look.get("val")) else "0"
    if not (is_true(look.get("firstRow")) if "firstRow" in look.attributes else int(value, 16) & 0x20):
        return False
    are_pairs = max(map(len, rows), default=0) == 2
    if are_pairs and any(row[0].words.rstrip().endswith(":") or row[0].is_bold for row in rows if row):
        return False
    # Word sets this for every new table; it says something where the table's style shows it, or where the rows
    # can hardly be pairs of a name and a value.
    shown = styles.marks_first_row(properties.value("tblStyle") or "")
    return shown is not False or (not are_pairs and len(rows) > 2)


def _cell(element: Element, is_header: bool, inside: Inside) -> Cell:
    said = element.child("tcPr")
    merged = said.value("vMerge")
    pieces = [] if said.child("cellDel") else inside(element.elements())
    runs = [run for run in element.descendants("r") if any(one.text().strip() for one in run.all("t"))]
    return cell_of(
        pieces,
        is_header=is_header,
        is_bold=bool(runs) and all(run.is_on("rPr", "b") for run in runs),
        columns=_count(said.value("gridSpan"), 1),
        goes_on=merged is not None and merged != "restart",
    )


def _cells(row: Element) -> Iterator[Element]:
    for one in row.elements():
        if one.tag == "tc":
            yield one
        elif one.tag not in LEFT_OUT:
            yield from _cells(one)


def _count(value: str | None, otherwise: int) -> int:
    return min(int(value), 64) if value and value.isdigit() else otherwise
