"""HTML as a browser would show it: the main content of a page, or all of it, as typed pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from rag_service.errors import LoadFailed
from rag_service.reading import encoding
from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.characters import flat
from rag_service.reading.html_main import boilerplate
from rag_service.reading.html_pieces import pieces_of

_LABELLED = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?\s*([\w:.-]{2,40})", re.I)
_WORD = re.compile(r"[^\W_]+")
_NAMED_BY = {  # what is known of a page -> the names of the meta elements that say it, best first
    "description": ("description", "og:description", "dc.description", "twitter:description"),
    "author": ("author", "article:author", "dc.creator", "parsely-author"),
    "date": ("article:published_time", "date", "dc.date", "dcterms.created", "pubdate", "datepublished"),
}


def read(data: bytes, text_bytes: int, content: str = "main") -> Reading:
    """The pieces of a page. `content`: "main" leaves out menus, adverts and what else stands around the page's own
    text, "all" does not. Raises LoadFailed: empty, not text, too large."""
    source = decode(data)
    tree = LexborHTMLParser(source)
    facts = _facts(tree)
    pieces = pieces_of(tree, text_bytes, boilerplate(tree) if content == "main" else ())
    article = flat(facts.pop("article", ""))
    if sum(len(piece.text) for piece in pieces) < len(article) / 2:
        pieces = [Piece("paragraph", part) for part in re.split(r"\n\s*\n", article)]
    if not pieces:
        raise LoadFailed("empty", _why_empty(tree))
    return Reading(titled(pieces, facts.get("title", "")), encoding.replaced(source), facts)


def decode(data: bytes) -> str:
    """The source as text: by its byte mark, as UTF-8, by the encoding it names, else as plain text would be. Raises
    LoadFailed `not text`, `encoding not known`."""
    named = _LABELLED.search(data[:4096])
    label = encoding.codec(named[1].decode("ascii")) if named else ""
    if label in ("", "utf-8") or data.startswith(tuple(encoding.BYTE_MARKS)):
        return encoding.decode(data)
    source = data.decode("utf-8", "replace")
    if "\ufffd" in source or source.isascii():
        source = data.decode(label, "replace")
    return encoding.checked(source)


def titled(pieces: Sequence[Piece], title: str) -> list[Piece]:
    """The pieces, if there are any, after their title, unless they say it themselves: in a heading, or as their first
    words."""
    said = _plain(title)
    headings = [_plain(piece.text) for piece in pieces if piece.kind == "heading"]
    if not said.strip() or any(one.strip() and (one in said or said in one) for one in headings):
        return list(pieces)
    if not pieces or _plain(pieces[0].text).startswith(said):
        return list(pieces)
    return [Piece("heading", title, 1), *pieces]


def _plain(words: str) -> str:
    return f" {' '.join(_WORD.findall(words.lower()))} "


def _facts(tree: LexborHTMLParser) -> dict[str, str]:
    """What the page says of itself: title, description, author, date, language, and `article`, the text of an article
    that is there for search engines."""
    metas = {
        (meta.attributes.get("name") or meta.attributes.get("property") or "").lower(): meta.attributes.get("content")
        for meta in reversed(tree.css("meta[content]"))
    }
    facts = {key: next(filter(None, (metas.get(name) for name in names)), "") for key, names in _NAMED_BY.items()}
    title = next((one.text() for one in tree.css("title") if one.parent and one.parent.tag in ("head", "body")), "")
    facts["title"] = title or metas.get("og:title") or ""
    facts["language"] = (tree.root.attributes.get("lang") or "") if tree.root is not None else ""
    for entry in _linked_data(tree):
        author = entry.get("author")
        author = author[0] if isinstance(author, list) and author else author
        author = author.get("name") if isinstance(author, dict) else author
        said = {"article": entry.get("articleBody"), "date": entry.get("datePublished"), "author": author}
        facts |= {key: value for key, value in said.items() if isinstance(value, str) and not facts.get(key)}
    return {key: value if key == "article" else flat(value) for key, value in facts.items() if value}


def _linked_data(tree: LexborHTMLParser) -> Iterator[dict[str, Any]]:
    """The objects of the page's JSON-LD, also those in a graph or a list."""
    for script in tree.css('script[type="application/ld+json"]'):
        try:
            waiting = [json.loads(script.text(), strict=False)]
        except (ValueError, RecursionError):
            continue
        while waiting:
            entry = waiting.pop()
            if isinstance(entry, list):
                waiting += reversed(entry)
            elif isinstance(entry, dict):
                yield entry
                waiting += [entry[key] for key in ("mainEntity", "@graph") if key in entry]


def _why_empty(tree: LexborHTMLParser) -> str:
    if frames := [frame.attributes.get("src") or "?" for frame in tree.css("frame")]:
        return f"The page is a set of frames: its text is in other files ({', '.join(frames[:5])}). Add those."
    if tree.css_first("script") is not None:
        return "The page shows text only after its JavaScript has run. Save it from a browser as PDF, and add that."
    return "The page holds no text."
