"""Plain text: its encoding found, its characters made fit to store and to quote."""

from __future__ import annotations

import re
from itertools import islice, zip_longest

from rag_service.documents import Heading
from rag_service.errors import LoadFailed

# Loaders set one before a heading for each level; `without_marks` takes them out again and says where they stood.
_MARK = "\x01"
_CONTROLS = re.compile(r"[\x00\x02-\x08\x0e-\x1f\x7f\u200b\ufeff\ufffe\uffff]")
# UTF-32's begins like UTF-16's and so comes first.
_BYTE_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# More would be no document that people read.
_MOST_HEADINGS = 20_000
_LONGEST_TITLE = 120


def heading(level: int, words: str) -> str:
    """A heading as a line that `without_marks` knows again; level 1 is the highest."""
    return _MARK * level + flat(words.replace(_MARK, ""))


def flat(words: str) -> str:
    """Words in one line, with one blank between."""
    return " ".join(words.split())


def table_row(names: list[str], row: list[str]) -> str:
    """A row of a table as a line that can be read alone: `name: value | name: value`; empty cells are left out."""
    cells = islice(zip_longest(names, row, fillvalue=""), len(row))
    return " | ".join(f"{name}: {value}" if name else value for name, value in cells if value)


def without_marks(text: str) -> tuple[str, tuple[Heading, ...]]:
    """The text as it is stored, and its headings in it."""
    lines: list[str] = []
    headings: list[Heading] = []
    place = 0
    for line in text.split("\n"):
        words = line.replace(_MARK, "")
        level = len(line) - len(line.lstrip(_MARK))
        if level and words.strip() and len(headings) < _MOST_HEADINGS:
            words = words.strip()
            headings.append(Heading(level, place, words[:_LONGEST_TITLE]))
        lines.append(words)
        place += len(words) + 1
    return "\n".join(lines), tuple(headings)


def tidy(text: str) -> str:
    """Text without control characters, lone surrogates and runs of white space; at most one empty line in a row.
    Heading marks stay."""
    text = re.sub(r"\r\n|[\r\u2028\u2029\f\v]", "\n", text).replace("\u00a0", " ")
    text = _CONTROLS.sub("", text).encode("utf-8", "replace").decode("utf-8")
    text = re.sub(r"(?<=\S)[ \t]{2,}", " ", text)
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def decode(data: bytes) -> str:
    """Text from bytes: by its mark, as UTF-8, else by the likeliest encoding. Raises LoadFailed `not text`."""
    text = _decoded(data)
    if sum(1 for _ in _CONTROLS.finditer(text)) + text.count(_MARK) + text.count("\ufffd") > 1 + len(text) / 100:
        raise LoadFailed("not text", "The file's bytes are not text, whatever its name says.")
    return text.replace(_MARK, "")


def _decoded(data: bytes) -> str:
    for mark, encoding in _BYTE_MARKS.items():
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if wide := _without_byte_mark(data):
        return data.decode(wide, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(_likeliest(data), "replace")


def _without_byte_mark(data: bytes) -> str | None:
    """UTF-16 without its mark: in Western text every other byte is zero, which no text in UTF-8 has."""
    sample = data[:4000]
    if len(sample) >= 8 and sample.count(0) >= 0.3 * len(sample):
        odd = sample[1::2].count(0)
        if max(odd, sample.count(0) - odd) >= 0.9 * sample.count(0):
            return "utf-16-le" if odd > sample.count(0) / 2 else "utf-16-be"
    return None


def _likeliest(data: bytes) -> str:
    """Short Western texts tell too little to guess by; for them the commonest old encoding is the better guess."""
    from charset_normalizer import from_bytes

    best = from_bytes(data[:200_000]).best() if len(data) >= 500 else None
    return best.encoding if best is not None else "cp1252"
