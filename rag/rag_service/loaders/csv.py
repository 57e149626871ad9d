"""Tables as text (.csv, .tsv): each row a line of its own that says its header's names with the values."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain

from rag_service.loaders.text import flat, table_row

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 100  # rows that the delimiter is found by
_NUMBER = re.compile(r"[-+]?[\d.,\s]*\d[\d.,\s]*%?")


def to_text(source: str) -> str:
    """The rows, each as `name: value | name: value`; empty cells are left out."""
    csv.field_size_limit(max(len(source), 1))  # the text as a whole is bounded already
    source = re.sub(r"\r\n?", "\n", source.lstrip("\n"))
    if told := re.match(r"sep=(.)\n", source):  # a spreadsheet's own word for it
        source = source[told.end() :]
    lines = source.split("\n")
    delimiter = told[1] if told else _delimiter(lines[:_SAMPLE])
    reader = csv.reader(_kept(lines), delimiter=delimiter)
    rows = (cells for row in reader if any(cells := [flat(cell) for cell in row]))
    first, second = next(rows, []), next(rows, [])
    names = first if second and _is_header(first) else []
    return "\n".join(table_row(names, row) for row in chain([second] if names else [first, second], rows))


def _delimiter(lines: list[str]) -> str:
    """The mark that gives most rows the same number of cells, more than one; of two such, the one with more cells."""
    best, best_score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        rows = list(csv.reader(_kept(lines), delimiter=delimiter))
        widths = Counter(len(row) for row in rows if row)
        width, count = max(widths.items(), key=lambda item: (item[0] > 1, item[1]), default=(0, 0))
        score = (round(count / max(sum(widths.values()), 1), 1), width) if width > 1 else (0.0, 0)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _kept(lines: list[str]) -> Iterator[str]:
    """Lines with their ends: a quoted cell may go on in the next one."""
    return (line + "\n" for line in lines)


def _is_header(row: list[str]) -> bool:
    """Names differ and are no numbers; one may be missing, as over a column of row numbers."""
    names = [cell for cell in row if cell]
    return len(names) >= len(row) - 1 and len(set(names)) == len(names) and not any(map(_NUMBER.fullmatch, names))
