"""The readers of each kind of file. They run in the child process only; `parse` is the way in."""

from __future__ import annotations

from rag_service.documents import Extracted, Page
from rag_service.errors import LoadFailed
from rag_service.loaders import csv, docx, html, markdown, pdf, text


def parse(kind: str, data: bytes, text_bytes: int) -> Extracted:
    """The cleaned text of a file, with its pages and headings where it has any. Raises LoadFailed."""
    if kind == "pdf":
        pages = [text.without_marks(text.tidy(page))[0] for page in pdf.page_texts(data, text_bytes)]
        if not any(pages):
            raise LoadFailed("only pictures", "The PDF holds pictures but no text. Run text recognition (OCR) on it.")
        return _joined(pages, text_bytes)
    if kind == "docx":
        read = docx.to_text(data, text_bytes)
    elif kind == "html":
        read = html.to_text(html.decode(data))
    elif kind == "markdown":
        read = markdown.to_text(text.decode(data))
    elif kind == "csv":
        read = csv.to_text(text.decode(data))
    else:
        read = text.decode(data)
    cleaned, headings = text.without_marks(text.tidy(read))
    return Extracted(_bounded(cleaned, text_bytes), headings=headings)


def _joined(pages: list[str], text_bytes: int) -> Extracted:
    """Pages end to end with an empty line between, each with its place."""
    places, length = [], 0
    for number, page in enumerate(pages, start=1):
        places.append(Page(number, length, length + len(page)))
        length += len(page) + 2
    return Extracted(_bounded("\n\n".join(pages), text_bytes), tuple(places))


def _bounded(read: str, text_bytes: int) -> str:
    if len(read.encode()) > text_bytes:
        raise LoadFailed("too large", f"The file's text is larger than {text_bytes:,} bytes. Split the file.")
    return read
