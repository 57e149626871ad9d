"""The lines of a paragraph as one text: blanks and hyphens at their ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rag_service.reading.blocks import Piece
from rag_service.reading.characters import NO_BLANK

_HYPHEN = "\x02"  # a hyphen at a line's end, until it is known whether it belongs to the word
# Words that begin compounds which keep their hyphens, as far as no ending follows ("open-ing").
_FIRST = frozenset(
    "well long short high low self non half full cross real hard soft all ex e one two three four five six seven eight "
    "nine ten first second third single double multi left right".split()
)
_LITTLE = frozenset("of the to and in on by up at or a out for off de und et".split())
_ENDING = re.compile(r"(?:ing|ly|ers?|est|ed|en|ness|ish|ful|age|eous|ity|ize|i[sz]ation|ism|ist)\b")
_DIVIDED = re.compile(rf"([\w-]*\w){_HYPHEN}(\w+(?:-\w+)*)")


def joined_lines(lines: Sequence[str]) -> str:
    """Hyphens at their ends stay marked until `with_words_joined` knows the whole document."""
    text = lines[0]
    for line in lines[1:]:
        glue = _glue(text, line)
        if glue == _HYPHEN:
            text, line = text[:-1], line.lstrip("-")
        text += glue + line
    return text


def _glue(before: str, after: str) -> str:
    """What stands between two lines of a paragraph: a blank, nothing, or a hyphen that may belong to the word."""
    if re.search(r"\w[-‐\u00ad]$", before) and re.match(r"-?\w", after):
        return _HYPHEN
    if before and after and NO_BLANK.match(before[-1]) and NO_BLANK.match(after):
        return ""
    return " "


def _is_compound(before: str, after: str, known: frozenset[str]) -> bool:
    """Whether a word that was parted at a hyphen keeps it, first by how the document writes it elsewhere."""
    if after[0].isupper() or not after[0].isalpha() or not before[-1].isalpha():
        return True
    start, end = before.casefold(), after.casefold()
    if f"{start}-{end}" in known or f"{start}{end}" in known:
        return f"{start}{end}" not in known
    last = start.rsplit("-", 1)[-1]
    return (last in _LITTLE and last != start) or (last in _FIRST and not _ENDING.match(end))


def with_words_joined(found: list[Piece], known: frozenset[str]) -> list[Piece]:
    """The pieces with words whole that were parted at a line's, a column's or a page's end."""

    def whole(parts: re.Match[str]) -> str:
        if parts[2] in ("und", "and", "or", "oder", "bis", "to", "y", "et"):  # "in- und ausländisch"
            return f"{parts[1]}- {parts[2]}"
        return f"{parts[1]}-{parts[2]}" if _is_compound(parts[1], parts[2], known) else parts[1] + parts[2]

    done: list[Piece] = []
    for piece in found:
        piece = replace(piece, text=_DIVIDED.sub(whole, _DIVIDED.sub(whole, piece.text)))
        if piece.joined and done:
            glue = _glue(done[-1].text, piece.text)
            if glue == _HYPHEN:
                parts = _DIVIDED.match(re.split(r"\s", done[-1].text)[-1][:-1] + _HYPHEN + piece.text.lstrip("-"))
                keep = parts is not None and _is_compound(parts[1], parts[2], known)
                done[-1] = done[-1] if keep else replace(done[-1], text=done[-1].text[:-1])
                glue = ""
            piece = replace(piece, joined=glue)
        done.append(piece)
    return done
