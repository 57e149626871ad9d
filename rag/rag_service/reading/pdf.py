"""PDF through PDFium: the words of each page with their places, and what of the file could not be read."""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pypdfium2
import pypdfium2.raw as pdfium

from rag_service.errors import LoadFailed, counted
from rag_service.reading.blocks import Reading
from rag_service.reading.characters import compatible, flat
from rag_service.reading.layout import SIGN, Area, Line, Word, lines_of
from rag_service.reading.layout_blocks import pieces
from rag_service.types import ReadingWarning

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_MOST_PAGES = 5000
_MOST_BOOKMARKS = 5000
_MOST_ANNOTATIONS = 2000
_MOST_OBJECTS = 5000  # of a page, looked at for what lies behind a word
_MOST_WARNINGS = 50
_UNREADABLE = (
    "the font does not say which characters its glyphs stand for. Export the PDF again with its fonts' character maps "
    "(ToUnicode), or run text recognition (OCR) on it."
)
_BOLD = re.compile(r"(?i)bold|black|heavy|demi|cmbx")
_MONO = re.compile(r"(?i)courier|mono|consol|menlo|typewriter|cmtt|sourcecode")
_FIXED_PITCH = 1  # flag of a font descriptor (ISO 32000-1, table 123)
_INVISIBLE = 3  # text rendering mode (ISO 32000-1, table 106)
_UNKNOWN = re.compile(r"[\ue000-\uf8ff\ufffd\ufffe\uffff\x00-\x1f\x7f-\x9f\U000f0000-\U0010ffff]")
# Two prints of a word so near to each other, in parts of its size, are one in bold.
_SAME_PLACE = 0.15


def read(data: bytes, text_bytes: int) -> Reading:
    """The blocks of a PDF. Raises LoadFailed: encrypted, damaged, too large, empty, only pictures, not text, unknown
    type."""
    document = opened(data)
    count = len(document)
    if count > _MOST_PAGES:
        raise LoadFailed("too large", f"The PDF has {count:,} pages; at most {_MOST_PAGES:,} are read. Split it.")
    file = _File(data, document)
    left = text_bytes
    for number in range(1, count + 1):
        lines = file.page(number)
        left -= sum(len(line.text.encode()) for line in lines)
        if left < 0:
            raise LoadFailed("too large", f"The PDF's text is larger than {text_bytes:,} bytes. Split it.")
        file.lines += lines
    _raise_if_placeholder(document, file)
    if not file.lines:
        raise _without_text(file, count)
    if attached := pdfium.FPDFDoc_GetAttachmentCount(document):
        files = counted(attached, "file")
        file.warn("attachment", f"Attached to the PDF and not read: {files}. Add what is attached by itself.")
    return Reading(pieces(file.lines, _bookmarks(document)), file.shown_warnings(), _metadata(document), count)


def opened(data: bytes) -> PdfDocument:
    """Raises LoadFailed `encrypted` or `damaged`."""
    start = data.find(b"%PDF-")
    try:
        # What stands before the header moves the places in the file, which count from the header.
        return pypdfium2.PdfDocument(data[start:] if start > 0 else data)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
            reason = "The PDF is encrypted. Save it without a password, then add it again."
            raise LoadFailed("encrypted", reason) from error
        reason = "The PDF is damaged or cut off: no page of it can be found. Copy or export it again."
        raise LoadFailed("damaged", reason) from error


def _without_text(file: _File, count: int) -> LoadFailed:
    codes = Counter(warning.code for warning in file.warnings)
    if codes["page lost"]:
        return LoadFailed("damaged", "The PDF is damaged: none of its pages can be read. Export it again.")
    if codes["unreadable characters"]:
        return LoadFailed("not text", f"What the PDF shows cannot be read as text: {_UNREADABLE}")
    if file.pictures:
        return LoadFailed("only pictures", "The PDF holds pictures but no text. Run text recognition (OCR) on it.")
    if file.drawings:
        reason = "The PDF holds a drawing but no text; its letters, if any, are drawn as lines. Run OCR on it."
        return LoadFailed("empty", reason)
    return LoadFailed("empty", f"The PDF's pages ({count}) are empty, or what they hold is no text.")


def _raise_if_placeholder(document: PdfDocument, file: _File) -> None:
    """A dynamic XFA form holds one page that asks to wait; what it stands for is drawn by Adobe's program alone."""
    form = pdfium.FPDF_GetFormType(document)
    if form not in (pdfium.FORMTYPE_XFA_FULL, pdfium.FORMTYPE_XFA_FOREGROUND) or len(document) > 1:
        return
    words = " ".join(line.text for line in file.lines)
    if form == pdfium.FORMTYPE_XFA_FULL or re.match(r"(?i)please wait", words) or "Adobe Reader" in words:
        reason = "The PDF is a dynamic XFA form, whose content only Adobe's programs show. Print it to a new PDF there."
        raise LoadFailed("unknown type", reason)


def _bookmarks(document: PdfDocument) -> dict[tuple[int, str], int]:
    """(page, title) -> level, from 1."""
    found: dict[tuple[int, str], int] = {}
    for count, mark in enumerate(document.get_toc()):
        target = mark.get_dest()
        page = target.get_index() if target else None
        if page is not None:
            found.setdefault((page + 1, _words_of(mark.get_title())), mark.level + 1)
        if count > _MOST_BOOKMARKS:
            break
    return found


def _words_of(title: str) -> str:
    return flat(compatible(title))


def _metadata(document: PdfDocument) -> dict[str, str]:
    facts = {name: _words_of(document.get_metadata_value(name.capitalize()) or "") for name in ("title", "author")}
    return {name: value for name, value in facts.items() if value and value.lower() != "untitled"}


@dataclass(frozen=True)
class _Style:
    """How a text object is shown: its font's name, and whether the text can be seen."""

    font: str
    size: float
    bold: bool
    mono: bool
    angle: int  # degrees, of the writing's direction
    white: bool
    unseen: bool  # of the kind that text recognition lays over a picture
    unmapped: bool  # the font does not say which characters its codes stand for


@dataclass
class _File:
    """What is gathered over the pages of one file."""

    data: bytes
    document: PdfDocument
    copy: PdfDocument | None = None  # to draw into
    lines: list[Line] = field(default_factory=list)
    warnings: list[ReadingWarning] = field(default_factory=list)
    pictures: bool = False
    drawings: bool = False
    samples: dict[str, str] = field(default_factory=lambda: defaultdict(str))  # font -> what was written in it

    def warn(self, code: str, detail: str, page: int | None = None) -> None:
        self.warnings.append(ReadingWarning(code, detail, page))

    def shown_warnings(self) -> tuple[ReadingWarning, ...]:
        """The warnings, at most as many as a person reads."""
        shown = self.warnings[:_MOST_WARNINGS]
        if more := len(self.warnings) - len(shown):
            shown.append(ReadingWarning("more", f"Not shown: {counted(more, 'warning')} of other pages."))
        return tuple(shown)

    def page(self, number: int) -> list[Line]:
        """The lines of a page in reading order. What is wrong with the page is a warning, not an end."""
        try:
            page = self.document[number - 1]
        except pypdfium2.PdfiumError:
            self.warn("page lost", "The page is damaged and was not read. Export the PDF again.", number)
            return []
        try:
            return self._lines(page, number)
        finally:
            page.close()

    def _lines(self, page: PdfPage, number: int) -> list[Line]:
        sheet = _Sheet(page)
        words = sheet.words()
        drawn = {pdfium.FPDFAnnot_HasKey(annotation, b"AP") for annotation, _ in _annotations(page)}
        flattened = self._flattened(number, words) if 1 in drawn else None
        if drawn:
            words = [*(flattened or words), *_unwritten(page, all_of_them=flattened is None)]
        kept = self._readable(words, number)
        if sum(len(word.text) for word, _ in kept) < 200:
            self._warn_of_pictures(sheet, bool(kept), number)
        upright: dict[int, list[Word]] = defaultdict(list)
        for word, style in kept:
            upright[style.angle].append(word)
        lines: list[Line] = []
        for angle, turned in sorted(upright.items(), key=lambda group: -len(group[1])):
            lines += lines_of(turned, number, _turned_area(sheet.area, angle), aside=bool(lines))
        return lines

    def _flattened(self, number: int, words: list[tuple[Word, _Style]]) -> list[tuple[Word, _Style]] | None:
        """The words of a page with its form fields and notes drawn into it; None where PDFium, drawing them, breaks the
        page's own words, as it does where fonts of both have one name."""
        if self.copy is None:
            self.copy = opened(self.data)
        page = self.copy[number - 1]
        pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY)
        page.close()
        page = self.copy[number - 1]
        drawn = _Sheet(page).words()
        page.close()
        whole = Counter(word.text for word, _ in words) <= Counter(word.text for word, _ in drawn)
        return drawn if whole else None

    def _readable(self, words: list[tuple[Word, _Style]], number: int) -> list[tuple[Word, _Style]]:
        """The words without those of fonts that do not say their characters. One sign is left out without a word."""
        for word, style in words:
            if len(self.samples[style.font]) < 3000:
                self.samples[style.font] += word.text + " "
        fonts = {(style.font, style.unmapped) for _, style in words}
        garbled = {font for font, unmapped in fonts if _is_garbled(self.samples[font], unmapped)}
        kept = [
            (word, style)
            for word, style in words
            if style.font not in garbled and (word.text == SIGN or SIGN not in word.text)
        ]
        lost = sum(len(word.text) for word, _ in words) - sum(len(word.text) for word, _ in kept)
        if lost > 3 and lost > 0.02 * sum(len(word.text) for word, _ in words):
            self.warn("unreadable characters", f"{lost:,} characters were left out: {_UNREADABLE}", number)
        return kept

    def _warn_of_pictures(self, sheet: _Sheet, has_words: bool, number: int) -> None:
        share = sheet.share_of_pictures()
        self.pictures |= share > 0
        self.drawings |= sheet.objects > 0
        if share > 0.5 or (share and not has_words):
            also = "little text" if has_words else "no text"
            reason = f"The page holds a picture and {also}; words in it are not read. Run text recognition (OCR)."
            self.warn("only pictures", reason, number)
        elif not has_words and not any(one.page == number for one in self.warnings):
            self.warn("no text", "The page is empty, or what it holds could not be read as text.", number)


def _annotations(page: PdfPage) -> Iterator[tuple[Any, int]]:
    """Form fields and notes written on the page, with their subtypes; comments that open in a window are none."""
    for index in range(min(pdfium.FPDFPage_GetAnnotCount(page), _MOST_ANNOTATIONS)):
        if not (annotation := pdfium.FPDFPage_GetAnnot(page, index)):
            continue
        subtype = pdfium.FPDFAnnot_GetSubtype(annotation)
        if subtype in (pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_WIDGET, pdfium.FPDF_ANNOT_STAMP):
            yield annotation, subtype
        pdfium.FPDFPage_CloseAnnot(annotation)


def _unwritten(page: PdfPage, all_of_them: bool) -> Iterator[tuple[Word, _Style]]:
    """What stands in form fields and notes that have no appearance of their own; a viewer draws them from these."""
    hidden = pdfium.FPDF_ANNOT_FLAG_HIDDEN | pdfium.FPDF_ANNOT_FLAG_NOVIEW
    box = pdfium.FS_RECTF()
    style = _Style("", 10.0, False, False, 0, False, False, False)
    for annotation, subtype in _annotations(page):
        has_appearance = pdfium.FPDFAnnot_HasKey(annotation, b"AP") and not all_of_them
        if has_appearance or pdfium.FPDFAnnot_GetFlags(annotation) & hidden:
            continue
        text = _string(annotation, b"V" if subtype == pdfium.FPDF_ANNOT_WIDGET else b"Contents")
        pdfium.FPDFAnnot_GetRect(annotation, box)
        rows = text.splitlines()
        top = box.top if len(rows) > 1 else (box.top + box.bottom) / 2 + 6.5
        for row, line in enumerate(rows, start=1):
            yield Word(flat(line), box.left, box.right, 12 * row - 2 - top, 10.0, False, False, 10**6, True), style


def _string(annotation: Any, key: bytes) -> str:
    if pdfium.FPDFAnnot_GetValueType(annotation, key) != pdfium.FPDF_OBJECT_STRING:
        return ""
    length = pdfium.FPDFAnnot_GetStringValue(annotation, key, None, 0)
    written = ctypes.create_string_buffer(length)
    pdfium.FPDFAnnot_GetStringValue(annotation, key, ctypes.cast(written, ctypes.POINTER(pdfium.FPDF_WCHAR)), length)
    return compatible(written.raw.decode("utf-16-le", "replace").rstrip("\0"))


# Called for each character: plain prototypes take half the time of pypdfium2's, which wrap each pointer.
def _plain(function: Any, result: Any) -> Any:
    return ctypes.CFUNCTYPE(result, ctypes.c_void_p, ctypes.c_int)(ctypes.cast(function, ctypes.c_void_p).value or 0)


_unicode_of = _plain(pdfium.FPDFText_GetUnicode, ctypes.c_uint)
_object_of = _plain(pdfium.FPDFText_GetTextObject, ctypes.c_void_p)
_LINE_END_HYPHEN = "\ufffe"  # PDFium's own character for it
_WORD = re.compile(rf"[^\s\0{_LINE_END_HYPHEN}]+{_LINE_END_HYPHEN}?|{_LINE_END_HYPHEN}")


class _Sheet:
    """One page: its words, and what lies behind them."""

    def __init__(self, page: PdfPage) -> None:
        self._page = page
        self._text = page.get_textpage()
        self._handle = ctypes.cast(self._text.raw, ctypes.c_void_p).value
        self._fonts: dict[int, tuple[str, bool, bool]] = {}
        self._box = pdfium.FS_RECTF()
        self.objects = pdfium.FPDFPage_CountObjects(page)
        pdfium.FPDF_GetPageBoundingBox(page, self._box)
        self.area = Area(self._box.left, -self._box.top, self._box.right, -self._box.bottom)
        self._behind: list[tuple[Area, bool]] | None = None

    def words(self) -> list[tuple[Word, _Style]]:
        """The words that can be seen, in the order of the file."""
        found: list[tuple[Word, _Style]] = []
        places: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
        for blank, first, last, text, style in self._runs():
            word, x, y = self._word(blank, first, last, text, style, len(found))
            near = _SAME_PLACE * word.size
            if not self._can_be_seen(x, y, style):
                continue
            printed = places[text, round(word.y / word.size)]
            if not any(abs(word.x0 - x) < near and abs(word.y - y) < near for x, y in printed):
                printed.append((word.x0, word.y))
                found.append((word, style))
        return found

    def _runs(self) -> Iterator[tuple[bool, int, int, str, _Style]]:
        """Characters between blanks, in one style and on one line: whether a blank stands before them, the first and
        the last one's index, and they themselves."""
        styles: dict[int, _Style] = {}
        characters = self._characters()
        for word in _WORD.finditer(characters):
            start, end = word.span()
            blank = True
            for last in self._ends(start, end, styles):
                style = self._style(_object_of(self._handle, start), start, styles)
                text = characters[start : last + 1]
                yield blank, start, last, SIGN if start == last and style.unmapped else _readable(text), style
                blank, start = False, last + 1

    def _characters(self) -> str:
        """One character for each index: two for one beyond U+FFFF, which PDFium returns in UTF-16."""
        count = max(self._text.count_chars(), 0)
        written = (ctypes.c_ushort * (count + 1))()
        if pdfium.FPDFText_GetText(self._text, 0, count, written) == count + 1:
            return "".join(map(chr, written[:count]))
        # It leaves out characters without a meaning; then each must be asked for.
        codes = (_unicode_of(self._handle, index) for index in range(count))
        return "".join(_LINE_END_HYPHEN if code == 2 else chr(min(code, 0x10FFFF)) for code in codes)

    def _ends(self, start: int, end: int, styles: dict[int, _Style]) -> Iterator[int]:
        """The last indices of the parts of a word that are set in different styles or places."""
        if _object_of(self._handle, start) != _object_of(self._handle, end - 1):
            owners = [_object_of(self._handle, index) for index in range(start, end)]
            for index in range(start + 1, end):
                before, owner = owners[index - start - 1 : index - start + 1]
                if owner != before and not self._goes_on(index, before, owner, styles):
                    yield index - 1
        yield end - 1

    def _goes_on(self, index: int, last: int, owner: int, styles: dict[int, _Style]) -> bool:
        """Whether the object that begins here goes on with the word of the one before it."""
        before, style = self._style(last, index - 1, styles), self._style(owner, index, styles)
        if abs(style.size - before.size) > 0.05 * before.size or style.angle != before.angle or style.angle:
            return False
        edge, (x, y) = self._loose(index - 1), self._origin(index)
        last_y = self._origin(index - 1)[1]
        return abs(y - last_y) < 0.1 * style.size and -0.3 * style.size < x - edge.right < 0.25 * style.size

    def _word(
        self, blank: bool, first: int, last: int, text: str, style: _Style, order: int
    ) -> tuple[Word, float, float]:
        """A word where it stands once the page is turned so that it is level, and a place in it on the page."""
        x, y = self._origin(first)
        if style.angle:
            left, base = _turned(x, y, style.angle)
            end = _turned(*self._origin(last), style.angle)[0] + style.size / 2
        else:
            left, base, end = x, y, self._loose(last).right
            x, y = (x + end) / 2, y + 0.3 * style.size
        text = self._once(text, first, style)
        return Word(text, left, max(end, left), -base, style.size, style.bold, style.mono, order, blank), x, -y

    def _once(self, text: str, first: int, style: _Style) -> str:
        """A word whose letters are each printed twice at the same place."""
        if len(text) >= 4 and text[::2] == text[1::2]:
            (x, _), (other, _) = self._origin(first), self._origin(first + 1)
            if abs(other - x) < _SAME_PLACE * style.size:
                return text[::2]
        return text

    def _origin(self, index: int) -> tuple[float, float]:
        x, y = ctypes.c_double(), ctypes.c_double()
        pdfium.FPDFText_GetCharOrigin(self._text, index, x, y)
        return x.value, y.value

    def _loose(self, index: int) -> Any:
        pdfium.FPDFText_GetLooseCharBox(self._text, index, self._box)
        return self._box

    def _style(self, owner: int, index: int, styles: dict[int, _Style]) -> _Style:
        if owner not in styles:
            styles[owner] = self._new_style(owner, index)
        return styles[owner]

    def _new_style(self, owner: int, index: int) -> _Style:
        if not owner:
            return _Style("", 10.0, False, False, 0, False, False, False)
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
        return _Style(name, size or 10.0, bold, mono, angle, white, mode == _INVISIBLE, unmapped)

    def _can_be_seen(self, x: float, y: float, style: _Style) -> bool:
        """Whether a word lies on the page, is not in white on white, and, where it is not drawn at all, is what text
        recognition found in the picture under it."""
        if not self.area.holds(x, y):
            return False
        if not style.white and not style.unseen:
            return True
        return any(area.holds(x, y) and (picture or style.white) for area, picture in self._backgrounds())

    def _backgrounds(self) -> list[tuple[Area, bool]]:
        """The pictures and coloured areas of the page; True for a picture."""
        if self._behind is None:
            self._behind = []
            found = (pdfium.FPDFPage_GetObject(self._page, index) for index in range(min(self.objects, _MOST_OBJECTS)))
            self._gather(found, 0)
        return self._behind

    def _gather(self, found: Iterator[Any], depth: int) -> None:
        assert self._behind is not None
        for one in found:
            kind = pdfium.FPDFPageObj_GetType(one)
            if kind == pdfium.FPDF_PAGEOBJ_FORM and depth < 5:
                count = min(pdfium.FPDFFormObj_CountObjects(one), _MOST_OBJECTS)
                before = len(self._behind)
                self._gather((pdfium.FPDFFormObj_GetObject(one, index) for index in range(count)), depth + 1)
                if (inner := self._behind[before:]) and (bounds := _bounds(one)):
                    self._behind[before:] = [(bounds, any(picture for _, picture in inner))]
            elif _is_coloured(one, kind) and (bounds := _bounds(one)):
                self._behind.append((bounds, kind == pdfium.FPDF_PAGEOBJ_IMAGE))

    def share_of_pictures(self) -> float:
        """How much of the page its largest picture covers, 0 to 1."""
        return max((self.area.share(area) for area, picture in self._backgrounds() if picture), default=0.0)


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


def _turned_area(area: Area, angle: int) -> Area:
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


def _bounds(one: Any) -> Area | None:
    edges = [ctypes.c_float() for _ in range(4)]
    if not pdfium.FPDFPageObj_GetBounds(one, *edges):
        return None
    left, bottom, right, top = (edge.value for edge in edges)
    return Area(left, -top, right, -bottom)


def _is_coloured(one: Any, kind: int) -> bool:
    if kind != pdfium.FPDF_PAGEOBJ_PATH:
        return kind in (pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_SHADING)
    mode, stroke = ctypes.c_int(), ctypes.c_int()
    pdfium.FPDFPath_GetDrawMode(one, mode, stroke)
    colours = [ctypes.c_uint() for _ in range(4)]
    if not mode.value or not pdfium.FPDFPageObj_GetFillColor(one, *colours):
        return bool(mode.value)  # a pattern
    return min(colour.value for colour in colours[:3]) < 240 and colours[3].value > 0


_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_COMMON = frozenset("eaionrstldu")
_VOWELS = frozenset("aeiouy")
_ASIAN = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
# How often the letters are, in thousandths, about the mean of the larger European languages.
_OFTEN = (80, 16, 35, 42, 125, 13, 16, 25, 75, 6, 18, 45, 28, 72, 68, 25, 4, 65, 65, 65, 38, 14, 10, 3, 10, 15)
_LIKELY = [math.log(often / 1000) for often in _OFTEN]


@lru_cache(maxsize=256)  # asked on each page, of samples that soon grow no more
def _is_garbled(sample: str, unmapped: bool) -> bool:
    """Whether what is written in a font is no language, as where each code is moved by a constant, or names a glyph.

    In European languages in Latin letters 65 to 85 % of the letters are among eleven and nearly every word has a vowel;
    of random letters about 40 % are. Where letters are moved, moving them back makes them far more likely. Of Cyrillic
    in the codes of Latin-1 nearly all letters have accents; Vietnamese, which has the most, stays below a half.
    """
    shown = sample.replace(" ", "")
    if sample.count(SIGN) > 0.5 * len(shown):
        return True
    accented = sum("\xc0" <= one <= "\xff" for one in shown)
    if accented > 20 and accented > 0.6 * sum(one.isalpha() for one in shown):
        return True
    plain = re.sub(r"(\w)\1{2,}", r"\1", unicodedata.normalize("NFD", sample.lower()))  # "XXXX" stands for nothing
    counts = Counter(one for one in plain if "a" <= one <= "z")
    letters = counts.total()
    words = re.findall(r"[a-z]{3,}", plain)
    if letters < 30 or len(words) < 5 or letters < 0.4 * len(shown):
        return unmapped and 2 * len(_ASIAN.findall(shown)) < len(shown)
    likely = [
        sum(counts[one] * _LIKELY[(place + moved) % 26] for place, one in enumerate(_LETTERS)) for moved in range(26)
    ]
    if max(likely) - likely[0] > (0.3 + 2 / math.sqrt(letters)) * letters:
        return True
    most_common, most_vowels = (0.45, 0.5) if letters < 100 else (0.55, 0.75)
    with_vowels = sum(not _VOWELS.isdisjoint(word) for word in words)
    return sum(counts[one] for one in _COMMON) < most_common * letters and with_vowels < most_vowels * len(words)
