"""HTML as a browser would show it, as far as words and their order go."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

from rag_service.loaders import text

_UNSEEN = frozenset(("script style noscript template svg math head object iframe canvas select -comment").split())
_BLOCKS = frozenset(
    (
        "address article aside blockquote body dd details div dl dt fieldset figcaption figure footer form h1 h2 "
        "h3 h4 h5 h6 header hr main nav ol p pre section summary table ul"
    ).split()
)
_LINES = frozenset(("br li tr option caption").split())


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
        parts += [_flat(title.text()), "\n\n"]
    # A stack instead of recursion: a page may nest ten thousand deep.
    stack: list[LexborNode | str] = [tree.root] if tree.root is not None else []
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            parts.append(item)
        elif item.tag == "-text":
            words = item.text_content or ""
            preformatted = item.parent is not None and item.parent.tag == "pre"
            parts.append(words if preformatted else re.sub(r"\s+", " ", words))
        elif item.tag not in _UNSEEN:
            mark = "\n\n" if item.tag in _BLOCKS else "\n" if item.tag in _LINES else ""
            parts.append(mark + ("- " if item.tag == "li" else ""))
            stack.append(" | " if item.tag in ("td", "th") and item.next is not None else mark)
            stack.extend(reversed(list(item.iter(include_text=True))))
    lines = (line.strip(" |") for line in "".join(parts).split("\n"))
    return "\n".join(lines)


def _flat(words: str) -> str:
    return re.sub(r"\s+", " ", words).strip()
