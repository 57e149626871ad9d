"""Words and sentences, as far as finding and quoting needs them. Pure functions on text.

A language is named by its two letters (ISO 639-1). An unknown one is treated as a language without stop words and
endings.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

# Scripts that write no blank between words: kana, Han, Thai, Lao, Burmese, Khmer.
_UNSPACED = "\u3041-\u3096\u30a1-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
_UNSPACED += "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u109f\u1780-\u17d3"
# Marks that belong to the letter before them, which `\w` leaves out: accents, points, vowel signs, joiners.
_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0970-\u0dff\u200c\u200d"
_WORD = re.compile(rf"([{_UNSPACED}]+)|[^\W{_UNSPACED}]+(?:[{_MARKS}]+[^\W{_UNSPACED}]*)*")
_PARAGRAPH_GAP = re.compile(r"\n\s*\n")

# A sentence may end at a mark with closing quotes and brackets, before white space or after a mark that needs none.
_SENTENCE_GAP = re.compile(r"[.!?…؟۔।॥։](?:\s?[\"'”’“»)\]])*\s+|[。！？｡][\"'”’」』）)\]]*\s*|\n\s*(?=[-*•|]\s)")
_OPENING = re.compile(r"(?:[\"'“‘„«‹(\[¿¡]\s?|[-–—]\s)*")
_ROW = re.compile(r"^(?![-*•] )[^\n|]*\S \| [^\n]*$", re.MULTILINE)
# What stands before a full stop that ends no sentence: whatever follows, and where a number follows.
_LAST_WORD = re.compile(r"[^\s(\[\"'“„«]+$")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_ABBREVIATIONS = frozenset(
    (
        "cf vs approx ca al Jr Sr Inc Ltd Co Dr Mr Mrs Ms Prof St Ste Rev Gen Col Capt Lt Sen Rep Gov Hon Mt resp "
        "bzw vgl Hl ggf evtl inkl sog Mio Mrd Tsd Hr Fr Str Mme Mlle env av Sra Srta Dra Ud Uds sig dott avv Ing Mgr "
        "dhr mevr bijv np tj tzw ok wg im św ul např tzv sv bl dvs см ул им тыс млн млрд руб напр"
    ).split()
)
_BEFORE_NUMBER = frozenset(
    "No Nos Nr nr Fig Figs fig p pp Vol vol Art art Sec sec Ch Eq Tab Abb Abs S núm pág č str рис стр табл гл".split()
)
_NUMBER_LIKE = re.compile(r"[^\s\d]{0,12}\d")  # such as "17" or "FAA-2020"
_ORDINAL = re.compile(r"\d{1,2}")
_WITH_ORDINALS = frozenset(("de", "da", "no", "fi", "hu", "tr", "cs", "sk", "et", "pl"))
_ACCENTED = re.compile("([a-z])[\u0300-\u036f]+")


def _listed(file: str) -> dict[str, frozenset[str]]:
    """The words of each language; a line begins with the language's two letters. The lists are our own."""
    lists: dict[str, frozenset[str]] = {}
    for line in Path(__file__).with_name(file).read_text(encoding="utf-8").splitlines():
        language, *listed = line.split()
        lists[language] = lists.get(language, frozenset()).union(listed)
    return lists


# The words that carry no subject; a question's other words are what a passage must speak of.
_STOPWORDS = _listed("function_words.txt")
_LANGUAGES_OF = {
    word: [one for one in _STOPWORDS if word in _STOPWORDS[one]] for word in set().union(*_STOPWORDS.values())
}
# Words that turn a statement round. They are no subject to search for, but a sentence supports another only if both
# have them or neither.
_NEGATIONS_OF = _listed("negations.txt")
NEGATIONS = frozenset().union(*_NEGATIONS_OF.values())

# Names of the Snowball stemmers.
_STEMMERS = {
    "ar": "arabic", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "fi": "finnish", "fr": "french", "hi": "hindi", "hu": "hungarian", "it": "italian", "nl": "dutch",
    "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish",
    "tr": "turkish",
}  # fmt: skip

# Scripts that tell the language; the first that makes up a tenth of the letters.
_SCRIPTS = {
    "ja": re.compile("[\u3041-\u30ff]"), "ko": re.compile("[\uac00-\ud7a3]"), "zh": re.compile("[\u4e00-\u9fff]"),
    "th": re.compile("[\u0e01-\u0e3a]"), "ar": re.compile("[\u0620-\u064a]"), "he": re.compile("[\u05d0-\u05ea]"),
    "hi": re.compile("[\u0900-\u0963]"),
}  # fmt: skip
WITHOUT_BLANKS = frozenset(("ja", "th", "zh"))
_ALPHABETS = {"ru": re.compile("[\u0400-\u04ff]"), "el": re.compile("[\u0370-\u03ff]")}
_OF_ALPHABETS = {"ru": "ru", "uk": "ru", "bg": "ru", "el": "el"}
_SAMPLE = 20_000


def language_of(text: str, default: str = "en") -> str:
    """The language of most of the beginning of a text, by its script or its function words; `default` if they do not
    decide."""
    sample = text[:_SAMPLE]
    letters = max(sum(map(str.isalpha, sample)), 1)
    for language, script in _SCRIPTS.items():
        if 10 * len(script.findall(sample)) >= letters:
            return language
    alphabet = next((one for one, script in _ALPHABETS.items() if 2 * len(script.findall(sample)) >= letters), "")
    shares = {one: share for one, share in function_words(sample).items() if _OF_ALPHABETS.get(one, "") == alphabet}
    best = max(shares, key=lambda one: (shares[one], one == default))
    return best if shares[best] > 0.06 else alphabet or default


def function_words(text: str) -> dict[str, float]:
    """For each language of an alphabet the share of its function words among a text's words. Longer ones tell more
    than single letters do, which count a fifth."""
    counts = Counter(words(text))
    shares = dict.fromkeys(_STOPWORDS, 0.0)
    for word, count in counts.items():
        for language in _LANGUAGES_OF.get(word, ()):
            shares[language] += count * (1 if len(word) > 1 else 0.2) / counts.total()
    return shares


def words(text: str, language: str = "en") -> list[str]:
    """The words of a text in lower case, without punctuation. Where a script has no blanks between words, each two
    neighbouring characters are one."""
    return [word for word, _, _ in word_spans(text, language)]


def word_spans(text: str, language: str = "en") -> list[tuple[str, int, int]]:
    """Each word as in `words`, with its start and end in the text."""
    found: list[tuple[str, int, int]] = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        word = match[0]
        if match[1] and end - start > 2:
            found += [(word[at : at + 2], start + at, start + at + 2) for at in range(end - start - 1)]
        elif word == "t" and found and text[start - 2 : start] in ("n'", "n’") and found[-1][2] == start - 1:
            found[-1:] = [*_without_n(found[-1]), ("n't", start - 2, end)]  # the "not" of "isn't"
        else:
            found.append((word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).lower(), start, end))
    return found


def _without_n(span: tuple[str, int, int]) -> list[tuple[str, int, int]]:
    word, start, end = span
    return [(word[:-1], start, end - 1)] if len(word) > 1 else []


_stemmers = threading.local()


@lru_cache(maxsize=65_536)
def stem(word: str, language: str = "en") -> str:
    """A word without its endings: the same for all forms of most words."""
    stemmer = _stemmer(language)
    return stemmer.stemWord(word) if stemmer and len(word) > 2 else word


def _stemmer(language: str) -> Any:
    """A thread's own: it keeps the word that it is at in itself."""
    import snowballstemmer  # not needed by the child process that reads a file

    if language in _STEMMERS and not hasattr(_stemmers, language):
        setattr(_stemmers, language, snowballstemmer.stemmer(_STEMMERS[language]))
    return getattr(_stemmers, language, None)


def terms_of(text: str, language: str | None = None) -> list[str]:
    """What a text is found by: the stems of its words without accents, in order, by its language (none: it is found
    out). Questions and passages go through this alike."""
    language = language or language_of(text)
    return [_without_accents(stem(word, language)) for word in words(text, language)]


def _without_accents(term: str) -> str:
    if term.isascii():
        return term
    return unicodedata.normalize("NFC", _ACCENTED.sub(r"\1", unicodedata.normalize("NFD", term)))


def content_words(text: str, language: str = "en") -> list[str]:
    """The words that carry the subject, each once; all words where none does."""
    spoken = dict.fromkeys(words(text, language))
    return [word for word in spoken if is_content(word, language)] or list(spoken)


def content_stems(text: str, language: str = "en") -> set[str]:
    """The stems of the words that carry the subject."""
    return {stem(word, language) for word in words(text, language) if is_content(word, language)}


def is_content(word: str, language: str = "en") -> bool:
    """Whether a word, in lower case, carries the subject."""
    return word not in _NEGATIONS_OF.get(language, ()) and word not in _STOPWORDS.get(language, ())


def paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each paragraph (parted by an empty line), without white space around it."""
    start = 0
    for gap in _PARAGRAPH_GAP.finditer(text):
        yield from _trimmed(text, start, gap.start())
        start = gap.end()
    yield from _trimmed(text, start, len(text))


def sentences(text: str, start: int = 0, end: int | None = None, language: str = "en") -> Iterator[tuple[int, int]]:
    """Start and end of each sentence of `text[start:end]`; a list item or a table row counts as one."""
    for first, last in paragraphs(text[start:end]):
        yield from _sentences_of(text, start + first, start + last, language)


def _sentences_of(text: str, start: int, end: int, language: str) -> Iterator[tuple[int, int]]:
    """Those of one paragraph. Lines with bars are rows of a table and stay whole."""
    opened = start
    for row in _ROW.finditer(text, start, end):
        yield from _prose_sentences(text, opened, row.start(), language)
        yield from _trimmed(text, row.start(), row.end())
        opened = row.end()
    yield from _prose_sentences(text, opened, end, language)


def _prose_sentences(text: str, start: int, end: int, language: str) -> Iterator[tuple[int, int]]:
    opened = start
    for gap in _SENTENCE_GAP.finditer(text, start, end):
        if gap.end() < end and _ends_sentence(text, opened, gap, language):
            yield from _trimmed(text, opened, gap.end())
            opened = gap.end()
    yield from _trimmed(text, opened, end)


def _ends_sentence(text: str, opened: int, gap: re.Match[str], language: str) -> bool:
    """Whether a new sentence opens after the mark: not with a small letter, and not after an abbreviation."""
    mark, following = gap[0][0], _OPENING.match(text, gap.end())
    first = text[following.end() : following.end() + 1] if following else ""
    if mark in "\n。！？｡" or not first:
        return True
    if first.islower():
        return False
    last = _LAST_WORD.search(text, max(opened, gap.start() - 12), gap.start())
    if mark != "." or last is None:
        return True
    word = last[0]
    if word in _ABBREVIATIONS or _INITIALS.fullmatch(word):
        return word in ("a.m", "p.m")
    if word in _BEFORE_NUMBER and _NUMBER_LIKE.match(text, gap.end()):
        return False
    return not (language in _WITH_ORDINALS and _ORDINAL.fullmatch(word))


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end
