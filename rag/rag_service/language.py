"""Words and sentences, as far as finding and quoting needs them. Pure functions on text."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORD = re.compile(r"\w+", re.UNICODE)
_PARAGRAPH_GAP = re.compile(r"\n\s*\n")
# A sentence ends at . ! ? or their wide forms, with closing marks, before white space and something that can open one.
_SENTENCE_GAP = re.compile(
    r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[A-Z0-9À-ÞͰ-ϿЀ-Я])|(?<=[。！？])\s*|\n\s*(?=[-*•|]\s)"
)
_ROW = re.compile(r"^(?![-*•] )[^\n|]*\S \| [^\n]*$", re.MULTILINE)
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Za-z]|e\.g|i\.e|cf|Dr|Mr|Mrs|Ms|Prof|St|No|Nr|vs|etc|approx|Fig|fig|ca|c|al|Jr|Sr|Inc|Ltd|Co|U\.S))\.$"
)

# The words that carry no subject; a question's other words are what a passage must speak of.
_STOPWORDS = frozenset(
    (
        "s t d m ll re ve a about after all also am an and any are as at be been before being between but by can "
        "could did do does doing down during each for from had has have having he her here hers him his how i if in "
        "into is it its itself just me more most my no not now of off on once only or other our out over own same she "
        "should so some such than that the their theirs them then there these they this those through to too under "
        "until up us very was we were what when where which while who whom whose why will with would you your yours"
    ).split()
)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return [match.group().lower() for match in _WORD.finditer(text)]


def word_spans(text: str) -> list[tuple[str, int, int]]:
    """Each word in lower case with its start and end in the text."""
    return [(match.group().lower(), match.start(), match.end()) for match in _WORD.finditer(text)]


def stem(word: str) -> str:
    """A word without its commonest English endings: crude, but the same on both sides of a comparison."""
    for ending in ("ations", "ation", "ings", "ing", "ies", "ied", "ers", "ed", "es", "er", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def content_words(text: str) -> list[str]:
    """The words that carry the subject, each once; all words where none does."""
    spoken = dict.fromkeys(words(text))
    return [word for word in spoken if word not in _STOPWORDS] or list(spoken)


def content_stems(text: str) -> set[str]:
    """The stems of the words that carry the subject."""
    return {stem(word) for word in words(text) if word not in _STOPWORDS}


def paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each paragraph (parted by an empty line), without white space around it."""
    start = 0
    for gap in _PARAGRAPH_GAP.finditer(text):
        yield from _trimmed(text, start, gap.start())
        start = gap.end()
    yield from _trimmed(text, start, len(text))


def is_heading(paragraph: str) -> bool:
    """A short single line without a closing mark: it belongs to what follows. A table's row is none."""
    return len(paragraph) <= 80 and not re.search(r"\n| \| ", paragraph) and paragraph[-1] not in ".!?:;,…。"


def sentences(text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence of `text[start:end]`; a list item or a table row counts as one."""
    for first, last in paragraphs(text[start:end]):
        yield from _sentences_of(text, start + first, start + last)


def _sentences_of(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Those of one paragraph. Lines with bars are rows of a table and stay whole."""
    opened = start
    for row in _ROW.finditer(text, start, end):
        yield from _prose_sentences(text, opened, row.start())
        yield from _trimmed(text, row.start(), row.end())
        opened = row.end()
    yield from _prose_sentences(text, opened, end)


def _prose_sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    opened = start
    for gap in _SENTENCE_GAP.finditer(text, start, end):
        if _ABBREVIATION.search(text, max(opened, gap.start() - 8), gap.start()):
            continue
        yield from _trimmed(text, opened, gap.end())
        opened = gap.end()
    yield from _trimmed(text, opened, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    left, right = len(piece) - len(piece.lstrip()), len(piece.rstrip())
    if left < right:
        yield start + left, start + right
