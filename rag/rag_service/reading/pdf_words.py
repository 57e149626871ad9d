"""The words of one page of a PDF as PDFium finds them, with their places and styles, and what lies behind them."""

from __future__ import annotations

import ctypes
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import pypdfium2.raw as pdfium
from pypdfium2 import PdfiumError

from rag_service.reading.characters import compatible
from rag_service.reading.layout import SIGN, Area, Word

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

_MOST_OBJECTS = 5000  # of a page, looked at for what lies behind a word
_BOLD = re.compile(r"(?i)bold|black|heavy|demi|cmbx")
_MONO = re.compile(r"(?i)courier|mono|consol|menlo|typewriter|cmtt|sourcecode")
_FIXED_PITCH = 1  # flag of a font descriptor (ISO 32000-1, table 123)
_INVISIBLE = 3  # text rendering mode (ISO 32000-1, table 106)
_UNKNOWN = re.compile(r"[\ue000-\uf8ff\ufffd\ufffe\uffff\x00-\x1f\x7f-\x9f\U000f0000-\U0010ffff]")
# Two prints of a word so near to each other, in parts of its size, are one in bold.
_SAME_PLACE = 0.15


@dataclass(frozen=True)
class Style:
    """How a text object is shown: its font's name, and whether the text can be seen."""

    font: str = ""
    size: float = 10.0
    bold: bool = False
    mono: bool = False
    angle: int = 0  # degrees, of the writing's direction
    white: bool = False
    unseen: bool = False  # of the kind that text recognition lays over a picture
    unmapped: bool = False  # the font does not say which characters its codes stand for


# Called for each character: plain prototypes take half the time of pypdfium2's, which wrap each pointer.
def _plain(function: Any, result: Any) -> Any:
    return ctypes.CFUNCTYPE(result, ctypes.c_void_p, ctypes.c_int)(ctypes.cast(function, ctypes.c_void_p).value or 0)


_unicode_of = _plain(pdfium.FPDFText_GetUnicode, ctypes.c_uint)
_object_of = _plain(pdfium.FPDFText_GetTextObject, ctypes.c_void_p)
_LINE_END_HYPHEN = "\ufffe"  # PDFium's own character for it
_WORD = re.compile(rf"[^\s\0{_LINE_END_HYPHEN}]+{_LINE_END_HYPHEN}?|{_LINE_END_HYPHEN}")


class Sheet:
    """One page: its words, and what lies behind them."""

    def __init__(self, page: PdfPage) -> None:
        self._page = page
        self._text = page.get_textpage()
        self._handle = ctypes.cast(self._text.raw, ctypes.c_void_p).value
        self._styles: dict[int, Style] = {}
        self._fonts: dict[int, tuple[str, bool, bool]] = {}
        self._box = pdfium.FS_RECTF()
        self.objects = pdfium.FPDFPage_CountObjects(page)
        pdfium.FPDF_GetPageBoundingBox(page, self._box)
        self.area = Area(self._box.left, -self._box.top, self._box.right, -self._box.bottom)

    def words(self) -> list[tuple[Word, Style]]:
        """The words that can be seen, in the order of the file."""
        found: list[tuple[Word, Style]] = []
        places: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
        characters = self._characters()
        for match in _WORD.finditer(characters):
            for first, last in self._runs(*match.span()):
                style = self._style(first)
                is_sign = first == last and style.unmapped
                text = SIGN if is_sign else _readable(characters[first : last + 1])
                word, x, y = self._word(text, first, last, style, len(found), first == match.start())
                printed, near = places[text, round(word.y / word.size)], _SAME_PLACE * word.size
                again = any(abs(word.x0 - left) < near and abs(word.y - base) < near for left, base in printed)
                if self._can_be_seen(x, y, style) and not again:
                    printed.append((word.x0, word.y))
                    found.append((word, style))
        return found

    def _runs(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The first and last indices of the parts of a word that are set in different styles or places."""
        if _object_of(self._handle, start) != _object_of(self._handle, end - 1):
            for index in range(start + 1, end):
                if not self._goes_on(index):
                    yield start, index - 1
                    start = index
        yield start, end - 1

    def _goes_on(self, index: int) -> bool:
        """Whether a character goes on with the word of the one before it: another object may begin here."""
        if _object_of(self._handle, index - 1) == _object_of(self._handle, index):
            return True
        before, style = self._style(index - 1), self._style(index)
        if abs(style.size - before.size) > 0.05 * before.size or style.angle != before.angle or style.angle:
            return False
        edge, (x, y) = self._loose(index - 1), self._origin(index)
        last_y = self._origin(index - 1)[1]
        return abs(y - last_y) < 0.1 * style.size and -0.3 * style.size < x - edge.right < 0.25 * style.size

    def _characters(self) -> str:
        """One character for each index: two for one beyond U+FFFF, which PDFium returns in UTF-16."""
        count = max(self._text.count_chars(), 0)
        written = (ctypes.c_ushort * (count + 1))()
        if pdfium.FPDFText_GetText(self._text, 0, count, written) == count + 1:
            return "".join(map(chr, written[:count]))
        # It leaves out characters without a meaning; then each must be asked for.
        codes = (_unicode_of(self._handle, index) for index in range(count))
        return "".join(_LINE_END_HYPHEN if code == 2 else chr(min(code, 0x10FFFF)) for code in codes)

    def _word(
        self, text: str, first: int, last: int, style: Style, order: int, blank: bool
    ) -> tuple[Word, float, float]:
        """A word where it stands once the page is turned so that it is level, and a place in it on the page."""
        x, y = self._origin(first)
        if style.angle:
            left, base = _turned(x, y, style.angle)
            end = _turned(*self._origin(last), style.angle)[0] + style.size / 2
        else:
            left, base, end = x, y, self._loose(last).right
            x, y = (x + end) / 2, y + 0.3 * style.size
        return Word(text, left, max(end, left), -base, style.size, style.bold, style.mono, order, blank), x, -y

    def _origin(self, index: int) -> tuple[float, float]:
        x, y = ctypes.c_double(), ctypes.c_double()
        pdfium.FPDFText_GetCharOrigin(self._text, index, x, y)
        return x.value, y.value

    def _loose(self, index: int) -> Any:
        pdfium.FPDFText_GetLooseCharBox(self._text, index, self._box)
        return self._box

    def _style(self, index: int) -> Style:
        owner = _object_of(self._handle, index)
        if owner not in self._styles:
            self._styles[owner] = self._new_style(owner, index)
        return self._styles[owner]

    def _new_style(self, owner: int, index: int) -> Style:
        if not owner:
            return Style()
        shown = ctypes.cast(owner, pdfium.FPDF_PAGEOBJECT)
        matrix = pdfium.FS_MATRIX()
        pdfium.FPDFText_GetMatrix(self._text, index, matrix)
        size = pdfium.FPDFText_GetFontSize(self._text, index) * math.hypot(matrix.c, matrix.d)
        font = pdfium.FPDFTextObj_GetFont(shown)
        key = ctypes.cast(font, ctypes.c_void_p).value or 0
        if key not in self._fonts:
            self._fonts[key] = _font(font)
        name, bold, mono = self._fonts[key]
        colours = [ctypes.c_uint() for _ in range(4)]
        known = pdfium.FPDFPageObj_GetFillColor(shown, *colours)
        mode = pdfium.FPDFTextObj_GetTextRenderMode(shown)
        white = bool(known) and mode == 0 and (min(one.value for one in colours[:3]) >= 250 or not colours[3].value)
        angle = round(math.degrees(math.atan2(matrix.b, matrix.a)))
        angle = angle if abs(angle) > 2 else 0
        unmapped = pdfium.FPDFText_HasUnicodeMapError(self._text, index) == 1
        return Style(name, size or 10.0, bold, mono, angle, white, mode == _INVISIBLE, unmapped)

    def _can_be_seen(self, x: float, y: float, style: Style) -> bool:
        """Whether a word lies on the page, is not in white on white, and, where it is not drawn at all, is what text
        recognition found in the picture under it."""
        if not self.area.holds(x, y):
            return False
        if not style.white and not style.unseen:
            return True
        return any(area.holds(x, y) and (picture or style.white) for area, picture in self._behind)

    @cached_property
    def _behind(self) -> list[tuple[Area, bool]]:
        """The pictures and coloured areas of the page; True for a picture."""
        found = []
        for one in islice(self._page.get_objects(max_depth=1), _MOST_OBJECTS):
            is_form = one.type == pdfium.FPDF_PAGEOBJ_FORM
            parts = self._page.get_objects(max_depth=5, form=one) if is_form else [one]
            kinds = {part.type for part in islice(parts, _MOST_OBJECTS) if _is_coloured(part)}
            with suppress(PdfiumError):  # an object without a place
                if kinds:
                    left, bottom, right, top = one.get_bounds()
                    found.append((Area(left, -top, right, -bottom), pdfium.FPDF_PAGEOBJ_IMAGE in kinds))
        return found

    def share_of_pictures(self) -> float:
        """How much of the page its largest picture covers, 0 to 1."""
        return max((self.area.share(area) for area, picture in self._behind if picture), default=0.0)


def _readable(text: str) -> str:
    """The characters of a word as text; those without a meaning are U+FFFD."""
    text = text.replace(_LINE_END_HYPHEN, "-")
    if text.isascii() and text.isprintable():
        return text
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return compatible(_UNKNOWN.sub(SIGN, text))


def _turned(x: float, y: float, angle: int) -> tuple[float, float]:
    """A place after the page is turned so that writing at `angle` is level."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return x * cosine + y * sine, y * cosine - x * sine


def turned_area(area: Area, angle: int) -> Area:
    corners = [_turned(x, -y, angle) for x in (area.left, area.right) for y in (area.top, area.bottom)]
    across, along = [x for x, _ in corners], [-y for _, y in corners]
    return Area(min(across), min(along), max(across), max(along))


def _font(font: Any) -> tuple[str, bool, bool]:
    """A font's name, and whether it is bold and of fixed width."""
    written = ctypes.create_string_buffer(200)
    pdfium.FPDFFont_GetBaseFontName(font, written, 200)
    name = written.value.decode("utf-8", "replace")
    bold = bool(_BOLD.search(name)) or pdfium.FPDFFont_GetWeight(font) >= 600
    flags = pdfium.FPDFFont_GetFlags(font)
    return name, bold, bool(_MONO.search(name)) or (flags > 0 and bool(flags & _FIXED_PITCH))


def _is_coloured(one: Any) -> bool:
    if one.type != pdfium.FPDF_PAGEOBJ_PATH:
        return one.type in (pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_SHADING)
    mode, stroke = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDFPath_GetDrawMode(one, mode, stroke)
    colours = [ctypes.c_uint() for _ in range(4)]
    if not mode.value or not pdfium.FPDFPageObj_GetFillColor(one, *colours):
        return bool(mode.value)  # a pattern
    return min(colour.value for colour in colours[:3]) < 240 and colours[3].value > 0
