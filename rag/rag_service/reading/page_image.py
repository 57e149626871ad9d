"""A page of a PDF as an image with a quote marked in it. Runs in the child process, as the readers do.

The quote comes from the text that the reader made of the page. Only its letters and digits are looked for on the page,
so that neither line ends, hyphens, bullets nor the reader's own marks between the cells of a table matter.
"""

from __future__ import annotations

import base64
import ctypes
import json
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from typing import Any

import pypdfium2.raw as pdfium

from rag_service.reading.pdf import opened

_LONGEST_SIDE = 1800  # pixels
# Under a mark, this is left of the blue in each pixel: white becomes yellow, and what is printed stays as it is.
_LEFT_OF_BLUE = bytes(9 * value // 20 for value in range(256))
_COLUMN_NAMES = re.compile(r"(?:^|(?<=\| ))[^|:\n]+: ", re.MULTILINE)  # the reader puts them before a row's values
_SHORTEST_RUN = 6  # letters; fewer stand anywhere


def draw(given: bytes) -> dict[str, Any]:
    """`given`: a line of JSON with page (from 1), before and quote, then the PDF. Returns the fields of `PageImage`,
    the PNG in base64. Raises LoadFailed."""
    head, _, data = given.partition(b"\n")
    asked = json.loads(head)
    document = opened(data)
    document.init_forms()  # else the fields of forms are not drawn
    page = document[asked["page"] - 1]
    scale = (_LONGEST_SIDE - 0.5) / max(page.get_size())  # sides are rounded up
    bitmap = page.render(scale=scale, rev_byteorder=True)
    width, height, stride = bitmap.width, bitmap.height, bitmap.stride
    pixels = bytearray(bitmap.buffer)
    tops = []
    for left, top, right, bottom in _boxes(page, width, height, asked["before"], asked["quote"]):
        tops.append(top / height)
        for row in range(top, bottom):
            blue = slice(row * stride + 3 * left + 2, row * stride + 3 * right, 3)
            pixels[blue] = pixels[blue].translate(_LEFT_OF_BLUE)
    png = _png([bytes(pixels[row * stride : row * stride + 3 * width]) for row in range(height)], width)
    return {"png": base64.b64encode(png).decode(), "marked_at": min(tops, default=None)}


def _boxes(page: Any, width: int, height: int, before: str, quote: str) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, right and bottom of each part of a line that belongs to the quote, in pixels."""
    text = page.get_textpage()
    letters, places = "", list[int]()
    for index in range(text.count_chars()):
        shown = _letters(chr(min(pdfium.FPDFText_GetUnicode(text, index), 0x10FFFF)))
        letters += shown
        places += [index] * len(shown)
    for start, end in _runs(letters, quote, len(_letters(before))):
        first, last = places[start], places[end - 1]
        for number in range(pdfium.FPDFText_CountRects(text, first, last - first + 1)):
            edges = [ctypes.c_double() for _ in range(4)]
            pdfium.FPDFText_GetRect(text, number, *edges)
            left, top, right, bottom = (edge.value for edge in edges)
            corners = [_pixel(page, width, height, left, top), _pixel(page, width, height, right, bottom)]
            (left, right), (top, bottom) = (sorted(axis) for axis in zip(*corners, strict=True))
            yield max(left - 2, 0), max(top - 2, 0), min(right + 2, width), min(bottom + 2, height)


def _pixel(page: Any, width: int, height: int, x: float, y: float) -> tuple[int, int]:
    across, down = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDF_PageToDevice(page, 0, 0, width, height, 0, x, y, across, down)
    return across.value, down.value


def _letters(text: str) -> str:
    """The letters and digits of a text, as all ways to write them have in common."""
    return "".join(one for one in unicodedata.normalize("NFKD", text).casefold() if one.isalnum())


def _runs(letters: str, quote: str, expected: int) -> Iterator[tuple[int, int]]:
    """Where the quote stands among the page's letters: as a whole, of several places the one nearest to the expected
    one; else in the longest runs of its words, one behind the other."""
    for wanted in (_letters(quote), _letters(_COLUMN_NAMES.sub("", quote))):
        found = [match.start() for match in re.finditer(f"(?={re.escape(wanted)})", letters)] if wanted else []
        if found:
            start = min(found, key=lambda place: abs(place - expected))
            yield start, start + len(wanted)
            return
    words, place = [_letters(word) for word in quote.split()], 0
    while words:
        run, words = words[0], words[1:]
        while words and run + words[0] in letters[place:]:
            run, words = run + words[0], words[1:]
        start = letters.find(run, place)
        if start >= 0 and len(run) >= _SHORTEST_RUN:
            place = start + len(run)
            yield start, place


def _png(rows: list[bytes], width: int) -> bytes:
    """Rows of RGB as a PNG file (Portable Network Graphics Specification, third edition, chapters 5 and 11)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)  # eight bits of each of three colours
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
