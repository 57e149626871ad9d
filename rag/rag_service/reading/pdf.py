"""PDF through PDFium: the words of each page with their places, and what of the file could not be read."""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pypdfium2
import pypdfium2.raw as pdfium

from rag_service.errors import LoadFailed, counted
from rag_service.reading.blocks import Reading
from rag_service.reading.characters import compatible, flat
from rag_service.reading.layout import SIGN, Line, Word, lines_of
from rag_service.reading.layout_blocks import pieces
from rag_service.reading.pdf_words import Sheet, Style, turned_area
from rag_service.reading.symbols import symbol
from rag_service.types import ReadingWarning

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_MOST_PAGES = 5000
_MOST_BOOKMARKS = 5000
_MOST_ANNOTATIONS = 2000
_MOST_WARNINGS = 50
_UNREADABLE = (
    "the font does not say which characters its glyphs stand for. Export the PDF again with its fonts' character maps "
    "(ToUnicode), or run text recognition (OCR) on it."
)


def read(data: bytes, text_bytes: int) -> Reading:
    """The blocks of a PDF. Raises LoadFailed: encrypted, damaged, too large, empty, only pictures, not text, unknown
    type."""
    document = opened(data)
    count = len(document)
    if count > _MOST_PAGES:
        raise LoadFailed("too large", f"The PDF has {count:,} pages; at most {_MOST_PAGES:,} are read. Split it.")
    file = _File(data, document)
    for number in range(1, count + 1):
        file.lines += file.page(number)
    _raise_if_placeholder(document, file)
    if not file.lines:
        raise _without_text(file, count)
    if attached := pdfium.FPDFDoc_GetAttachmentCount(document):
        files = counted(attached, "file")
        file.warn("attachment", f"Attached to the PDF and not read: {files}. Add attachments as separate files.")
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
    return LoadFailed("empty", f"The PDF's pages ({count}) are empty or contain no text.")


def _raise_if_placeholder(document: PdfDocument, file: _File) -> None:
    """A dynamic XFA form has one page that asks to wait; only Adobe's program draws its content."""
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
        sheet = Sheet(page)
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
            lines += lines_of(turned, number, turned_area(sheet.area, angle), aside=bool(lines))
        return lines

    def _flattened(self, number: int, words: list[tuple[Word, Style]]) -> list[tuple[Word, Style]] | None:
        """The words of a page with its form fields and notes drawn into it; None where PDFium, drawing them, breaks the
        page's own words, as it does where fonts of both have one name."""
        if self.copy is None:
            self.copy = opened(self.data)
        page = self.copy[number - 1]
        pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY)
        page.close()
        page = self.copy[number - 1]
        drawn = Sheet(page).words()
        page.close()
        whole = Counter(word.text for word, _ in words) <= Counter(word.text for word, _ in drawn)
        return drawn if whole else None

    def _readable(self, words: list[tuple[Word, Style]], number: int) -> list[tuple[Word, Style]]:
        """The words without those of fonts that do not say their characters. One sign is left out without a word."""
        for word, style in words:
            if len(self.samples[style.font]) < 3000:
                self.samples[style.font] += word.text + " "
        fonts = {(style.font, style.unmapped) for _, style in words}
        garbled = {font for font, unmapped in fonts if _is_garbled(self.samples[font], unmapped)}
        kept = [
            (_as_shown(word, style), style)
            for word, style in words
            if style.font not in garbled and (word.text == SIGN or SIGN not in word.text)
        ]
        lost = sum(len(word.text) for word, _ in words) - sum(len(word.text) for word, _ in kept)
        if lost > 3 and lost > 0.02 * sum(len(word.text) for word, _ in words):
            self.warn("unreadable characters", f"{lost:,} characters were left out: {_UNREADABLE}", number)
        return kept

    def _warn_of_pictures(self, sheet: Sheet, has_words: bool, number: int) -> None:
        share = sheet.share_of_pictures()
        self.pictures |= share > 0
        self.drawings |= sheet.objects > 0
        if share > 0.5 or (share and not has_words):
            also = "little text" if has_words else "no text"
            reason = f"The page holds a picture and {also}; words in it are not read. Run text recognition (OCR)."
            self.warn("only pictures", reason, number)
        elif not has_words and not any(one.page == number for one in self.warnings):
            self.warn("no text", "The page is empty, or its content could not be read as text.", number)


def _as_shown(word: Word, style: Style) -> Word:
    """A letter as the sign that a font of signs shows for it; where that is not known, as a sign without a meaning."""
    font = re.search(r"(?i)wingdings(?:-regular)? ?(\d?)", style.font)
    if font is None or len(word.text) > 1 or word.text > "\xff":
        return word
    shown = symbol(f"wingdings {font[1]}".strip(), ord(word.text))
    return replace(word, text=SIGN if shown in ("", word.text) else shown)


def _annotations(page: PdfPage) -> Iterator[tuple[Any, int]]:
    """Form fields and notes written on the page, with their subtypes; comments that open in a window are none."""
    for index in range(min(pdfium.FPDFPage_GetAnnotCount(page), _MOST_ANNOTATIONS)):
        if not (annotation := pdfium.FPDFPage_GetAnnot(page, index)):
            continue
        subtype = pdfium.FPDFAnnot_GetSubtype(annotation)
        if subtype in (pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_WIDGET, pdfium.FPDF_ANNOT_STAMP):
            yield annotation, subtype
        pdfium.FPDFPage_CloseAnnot(annotation)


def _unwritten(page: PdfPage, all_of_them: bool) -> Iterator[tuple[Word, Style]]:
    """What stands in form fields and notes that have no appearance of their own; a viewer draws them from these."""
    hidden = pdfium.FPDF_ANNOT_FLAG_HIDDEN | pdfium.FPDF_ANNOT_FLAG_NOVIEW
    box = pdfium.FS_RECTF()
    style = Style()
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
