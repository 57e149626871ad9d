"""Characters made fit to store and to quote."""

from __future__ import annotations

import re
import unicodedata

_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\u200b\ufeff\ufffe\uffff]")
# Forms that a typesetter chose for letters: ligatures, presentation forms of Arabic and Hebrew, full and half width,
# radicals and compatibility ideographs, mathematical alphabets. Superscripts, fractions and the marks of Chinese and
# Japanese are no such forms.
_FORMS = re.compile(
    r"[\u2e80-\u2fdf\u3000\uf900-\ufaff\ufb00-\ufdff\ufe70-\ufefc\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff61-\uffee\U0001d400-\U0001d7ff]+"
)

# Scripts that put no blanks between words: Chinese and Japanese with their marks, Thai, Lao, Khmer, Burmese.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff60"
NO_BLANK = re.compile(rf"[{_UNSPACED}\U00020000-\U0003ffff]")

_COUNTED = re.compile(r"(?:\d|\b[IVXLCDM]+|\b[Nn])$")


def compatible(text: str) -> str:
    """Text in composed letters (NFC), and the forms of a letter that a typesetter chose as the letter itself."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _FORMS.sub(lambda form: unicodedata.normalize("NFKC", form[0]), text))


def flat(words: str) -> str:
    """Words in one line, with one blank between."""
    return " ".join(words.split())


def clean(text: str, keep_lines: bool = False, keep_blanks: bool = False) -> str:
    """Text fit to store and to quote: without control characters, lone surrogates, soft hyphens and runs of white
    space. `keep_lines`: line ends and indents stay, at most one empty line in a row; else all is one line.
    `keep_blanks`: so do runs of blanks within lines."""
    text = re.sub(r"\r\n|[\r\u2028\u2029\f\v]", "\n", text).replace("\u00a0", " ").replace("\u00ad", "")
    text = _CONTROLS.sub("", text).encode("utf-8", "replace").decode("utf-8")
    if not keep_lines:
        return flat(text)
    if not keep_blanks:
        text = re.sub(r"(?<=\S)[ \t]{2,}", " ", text)
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def superscript(words: str, before: str, is_note: bool = False) -> str:
    """Raised words as they stand after `before`: a power with its mark (10^6), an ordinal's letters without (1st), a
    note's mark apart from the word."""
    base = re.search(r"[\w)\]]*$", before)[0]  # type: ignore[index]
    if not base or is_note or (words.isdigit() and re.fullmatch(r"[^\W\d_]{4,}", base)):
        return f" {words} "
    if re.fullmatch(r"[^\W\d_]{2,}|[^\w+−–-]*", words) or (words in "aeo" and _COUNTED.search(base)):
        return words
    return f"^{words}" if re.fullmatch(r"[+−–-]?[\w.,]+|[+−–-]", words) else f"^({words})"
