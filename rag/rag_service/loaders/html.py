"""HTML as a browser would show it, as far as words and their order go."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from rag_service.loaders import text
from rag_service.loaders.text import flat, heading

_UNSEEN = frozenset(("script style noscript template svg math head object iframe canvas select -comment").split())
_BLOCKS = frozenset(
    (
        "address article aside blockquote body dd details div dl dt fieldset figcaption figure footer form h1 h2 "
        "h3 h4 h5 h6 header hr main nav ol p pre section summary table ul"
    ).split()
)
_LINES = frozenset(("br li tr option caption").split())
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
# Set around a table's cell, so that what breaks lines in it does not break its row; an outer cell of a nested table,
# which only lays out a page, is left as it is.
_CELL = re.compile("\x02([^\x02\x03]*)\x03")
_MARKS = re.compile("[\x01-\x03]")


def decode(data: bytes) -> str:
    """The source as text: by its byte mark, by the encoding it names, else as plain text would be."""
    named = re.search(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?([\w-]{2,30})", data[:4096], re.I)
    if named and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode(named[1].decode("ascii"))
        except (LookupError, UnicodeDecodeError):
            pass  # the page names an encoding that it does not have: its bytes decide
    return text.decode(data)


def to_text(source: str) -> str:
    """The words of a page, title first; blocks are parted by empty lines, cells of a table's row by bars."""
    tree = LexborHTMLParser(source)
    parts: list[str] = []
    title = tree.css_first("title")
    if title is not None:
        parts += [flat(title.text()), "\n\n"]
    # A stack instead of recursion: a page may nest ten thousand deep.
    stack: list[LexborNode | str] = [tree.root] if tree.root is not None else []
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
        elif item.tag == "-text":
            words = _MARKS.sub("", item.text_content or "")
            preformatted = item.parent is not None and item.parent.tag == "pre"
            parts.append(words if preformatted else re.sub(r"\s+", " ", words))
        elif item.tag not in _UNSEEN and "hidden" not in item.attributes:
            opening, closing = _around(item.tag or "")
            parts.append(opening)
            stack.append(closing)
            stack.extend(reversed(list(item.iter(include_text=True))))
    lines = (line.strip(" |") for line in _rows("".join(parts)).split("\n"))
    return "\n".join(lines)


def _around(tag: str) -> tuple[str, str]:
    """What stands before and after an element's content."""
    if tag in ("td", "th"):
        return "\x02", "\x03 | "
    if tag in _LINES:
        return "\n- " if tag == "li" else "\n", ""
    mark = "\n\n" if tag in _BLOCKS else ""
    return mark + (heading(_HEADINGS[tag], "") if tag in _HEADINGS else ""), mark


def _rows(marked: str) -> str:
    """Cells without line breaks in them, and without their marks."""
    return re.sub("[\x02\x03]", "", _CELL.sub(lambda cell: flat(cell[1]), marked))
