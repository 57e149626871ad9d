"""E-books (.epub): their chapters in reading order, each read as the page that it is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from urllib.parse import unquote

from selectolax.lexbor import LexborHTMLParser

from rag_service.errors import LoadFailed
from rag_service.reading import html
from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.html_pieces import pieces_of
from rag_service.reading.ooxml import NOTHING, Element, Package, facts, opened

_FACTS = {"title": "title", "creator": "author", "language": "language", "date": "created", "subject": "subject"}
_PAGES = ("application/xhtml+xml", "text/html")
# Other than in XML, in HTML only these few elements end in their own tag.
_CLOSED = re.compile(rb"<(?!(?:br|hr|img|col|wbr|input|link|meta|area|base|source)\b)([A-Za-z][\w:-]*)([^<>]*?)/>")


def read(data: bytes, text_bytes: int) -> Reading:
    """The chapters of a book. Raises LoadFailed: damaged, encrypted, too large."""
    with opened(data, text_bytes) as package:
        place = next(package.tree("META-INF/container.xml").descendants("rootfile"), NOTHING).get("full-path")
        if place not in package:
            raise LoadFailed("damaged", "The e-book has no list of its chapters. Save it again, or as PDF.")
        book = package.tree(place, frozenset(_FACTS))
        pieces = [
            piece for part in _chapters(package, book, place) for piece in _chapter(package.content(part), text_bytes)
        ]
        if not pieces and "META-INF/encryption.xml" in package:
            raise LoadFailed("encrypted", "The e-book is protected against copying. Add one without protection.")
        about = facts(book.child("metadata"), _FACTS)
        said = [f"{name.title()}: {about[name]}" for name in ("title", "author") if name in about]
        return Reading([Piece("row", " | ".join(said)), *pieces] if pieces else [], metadata=about)


def _chapters(package: Package, book: Element, place: str) -> Iterator[str]:
    """The parts of the book's pages in reading order, without its table of contents; each once."""
    folder = posixpath.dirname(place)
    items = {one.get("id"): one for one in book.child("manifest").elements()}
    for identity in dict.fromkeys(one.get("idref") for one in book.child("spine").elements()):
        item = items.get(identity, NOTHING)
        part = posixpath.normpath(posixpath.join(folder, unquote(item.get("href"))))
        if item.get("media-type") in _PAGES and "nav" not in item.get("properties").split() and part in package:
            yield part


def _chapter(page: bytes, text_bytes: int) -> list[Piece]:
    """A chapter's text, without the title of its page: that is the book's, or said again in the text."""
    source = html.decode(_CLOSED.sub(rb"<\1\2></\1>", page))
    return pieces_of(LexborHTMLParser(source), text_bytes)
