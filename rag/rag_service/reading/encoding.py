"""Bytes become text: their encoding is found, and a guess is taken only if it makes words."""

from __future__ import annotations

import re
from collections import Counter

from rag_service.errors import LoadFailed
from rag_service.language import function_words
from rag_service.types import ReadingWarning

# UTF-32's mark begins like UTF-16's and so comes first.
BYTE_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# What browsers call so, by the names of Python's codecs that hold all its characters.
_CODECS = {
    "GBK": "gb18030", "Big5": "big5hkscs", "Shift_JIS": "cp932", "EUC-KR": "cp949", "windows-874": "cp874",
    "ISO-8859-8-I": "iso8859_8", "x-user-defined": "cp1252",
}  # fmt: skip
# Letters beyond ASCII, in small, of languages of Latin script, and the encodings that they were written in, the
# commonest first: of Windows, Mac OS, DOS and Unix.
_GROUPS: tuple[tuple[tuple[str, ...], dict[str, str]], ...] = (
    (
        ("cp1252", "mac_roman", "cp850", "iso8859_15"),
        {
            "en": "éèêëáàâäåíïóôöøúüñçæ", "de": "äöüßé", "fr": "àâæçèéêëîïôœùûüÿ", "es": "áéíñóúü",
            "it": "àèéìíòóùú", "pt": "áâãàçéêíóôõú", "nl": "ëïéèöüáó", "sv": "åäöé", "da": "æøåé", "no": "æøåéòô",
            "fi": "äöå", "is": "áðéíóúýþæö",
        },
    ),
    (
        ("cp1250", "iso8859_2", "mac_latin2", "cp852"),
        {
            "pl": "ąćęłńóśźż", "cs": "áčďéěíňóřšťúůýž", "sk": "áäčďéíĺľňóôŕšťúýž", "hu": "áéíóöőúüű", "ro": "ăâîșțşţ",
            "hr": "čćđšž",
        },
    ),
    (("cp1254", "mac_turkish", "cp857"), {"tr": "çğıöşüâîû"}),
    (("cp1257", "cp775"), {"lt": "ąčęėįšųūž", "lv": "āčēģīķļņšūž", "et": "äõöüšž"}),
)  # fmt: skip
# What a browser may take such texts for, and Cyrillic ones.
_LATIN = frozenset(("windows-1252", "windows-1250", "windows-1254", "windows-1257", "ISO-8859-2", "ISO-8859-4"))
_CYRILLIC = frozenset(("windows-1251", "KOI8-U", "IBM866", "ISO-8859-5", "x-mac-cyrillic"))
_CYRILLIC_LETTER = re.compile("[А-Яа-яЁёІіЇїЄєҐґ]")
_CERTAIN = frozenset(("windows-1258",))  # its marks of tones look like no other encoding's
_PUNCTUATION = frozenset("‘’“”„‚«»‹›–—…•·¿¡§°º™®©€£¥½¼²³µ×±\u00a0\u00ad")
# Signs that bytes were read in another encoding than they were written in: a capital or a symbol after a small letter,
# a mark within a word, characters that no text holds.
_MISREAD = re.compile(
    "(?<=[a-zß-öø-ÿа-я])[À-ÖØ-ÞĀĂĄĆČĎĐĘĚĽŁŃŇŐŒŔŘŚŠŤŮŰŸŹŻŽА-ЯЀ-Џ]"
    "|(?<=[A-Za-zß-öø-ÿ])[¡-§©«¬¯±´-¶¸¹¿×÷ˆˇ˘-˝†‡‰‹ƒﬁﬂ◊─-▟]|(?<=[A-Za-zß-öø-ÿ])[„“”‚»•€·²³](?=[a-zß-öø-ÿ])"
    r"|^»\s|[\x80-\x9f\ue000-\uf8ff\ufffd]",
    re.MULTILINE,
)
_DASH = re.compile(r"(?<=[a-zß-öø-ÿ])[–—](?=[a-zß-öø-ÿ\s])")
_APOSTROPHE = re.compile("(?<=[a-zß-öø-ÿ])’(?=[a-zß-öø-ÿ])")
_WITH_APOSTROPHES = frozenset(("en", "fr", "it", "nl"))
_FOREIGN = re.compile("[^\x00-\x7f]")
_SAMPLE = 6000
_LEAST_SHARE = 0.5
_CONTROL = re.compile("[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff\ufffd]")


def decode(data: bytes) -> str:
    """Text from bytes: by their mark, as UTF-8, UTF-16 or UTF-32, else in the likeliest encoding. Bytes that have no
    meaning in it become U+FFFD. Raises LoadFailed `not text` and `encoding not known`."""
    readings = (read(data) for read in (_marked, _wide, _seven_bit, _utf8))
    text = next((reading for reading in readings if reading is not None), None)
    if text is not None:
        return checked(text)
    checked(data.decode("ascii", "ignore"))
    return checked(_guessed(data))


def checked(text: str) -> str:
    """The same text. Raises LoadFailed `not text` where too much of it are control characters or damaged ones."""
    if len(_CONTROL.findall(text)) > 1 + len(text) / 100:
        raise LoadFailed("not text", "The file's bytes are not text, whatever its name says.")
    return text


def replaced(text: str) -> tuple[ReadingWarning, ...]:
    """The warning that a decoded text needs where bytes of it were replaced."""
    count = text.count("\ufffd")
    if not count:
        return ()
    return (ReadingWarning("characters replaced", f"Damaged characters, shown as {chr(0xFFFD)}: {count:,}."),)


def _marked(data: bytes) -> str | None:
    encoding = next((name for mark, name in BYTE_MARKS.items() if data.startswith(mark)), None)
    return data.decode(encoding, "replace") if encoding else None


def _wide(data: bytes) -> str | None:
    """UTF-32 or UTF-16 without its mark: one half of their bytes is zero for all ASCII characters, of which any text
    has some, and next to none of the other half is."""
    zeros = [data[at::4].count(0) for at in range(4)]
    if sum(zeros) < len(data) / 50:
        return None
    if min(zeros[:2]) > 0.9 * len(data) / 4 or min(zeros[2:]) > 0.9 * len(data) / 4:
        return data.decode("utf-32-be" if zeros[0] > zeros[3] else "utf-32-le", "replace")
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if max(even, odd) < 3 * min(even, odd):
        return None
    return data.decode("utf-16-be" if even > odd else "utf-16-le", "replace")


def _seven_bit(data: bytes) -> str | None:
    """Japanese, Korean or Chinese mail's encoding, which switches by escapes; an ANSI colour begins otherwise."""
    for encoding in ("iso2022_jp_ext", "iso2022_kr") if re.search(rb"\x1b\$[@AB()]", data) else ():
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def _utf8(data: bytes) -> str | None:
    """UTF-8, also with a few damaged characters among sound ones: other encodings hold next to no sound ones."""
    text = data.decode("utf-8", "replace")
    damaged = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    sound = len(_FOREIGN.findall(text)) - damaged
    return text if not damaged or sound >= 3 * damaged else None


def _guessed(data: bytes) -> str:
    """The text as a browser reads it; where that is of Latin or Cyrillic script, in the encoding that shows most of a
    language's own letters."""
    sample = _around_foreign(data)
    guess = _browsers_guess(data)
    name = _CODECS.get(guess, guess)
    mostly_ascii = len(re.findall(rb"[\x80-\xff]", sample)) < len(re.findall(rb"[A-Za-z]", sample))
    if guess in _CYRILLIC or (guess in _LATIN and not mostly_ascii):
        readings = [(_share_of_cyrillic(sample, one), one) for one in (name, "mac_cyrillic")]
    elif mostly_ascii and guess not in _CERTAIN:
        readings = [(0.0 if guess in _LATIN else 1.1, name)]
        readings += [(_share_of_latin(sample, one, letters), one) for ones, letters in _GROUPS for one in ones]
    else:
        readings = [(1.0, name)]
    share, encoding = max(readings, key=lambda reading: reading[0])
    if share < _LEAST_SHARE:
        raise LoadFailed(
            "encoding not known",
            f"The file is not UTF-8, and no other encoding makes words of it (the likeliest is {encoding}). "
            "Save it as UTF-8, then add it again.",
        )
    return data.decode(encoding, "replace")


def _around_foreign(data: bytes) -> bytes:
    """What is not ASCII, with some text around it."""
    parts: list[bytes] = []
    end = 0
    for match in re.finditer(rb"[\x80-\xff]+", data):
        if match.start() >= end:
            start, end = max(end, match.start() - 200), match.end() + 200
            parts.append(data[start:end])
            if sum(map(len, parts)) > _SAMPLE:
                break
    return b"\n".join(parts)[: 2 * _SAMPLE]


def _browsers_guess(data: bytes) -> str:
    from chardetng_py import EncodingDetector  # type: ignore[import-untyped] # not needed for UTF-8

    detector = EncodingDetector()
    detector.feed(data, last=True)
    name: str = detector.guess(tld=None, allow_utf8=False)
    return name


def _share_of_cyrillic(sample: bytes, encoding: str) -> float:
    """How much of what is not ASCII is Cyrillic letters, less capitals after small letters, and how many of the words
    are a language's function words."""
    text = sample.decode(encoding, "replace")
    letters = len(_CYRILLIC_LETTER.findall(text)) - 3 * len(_MISREAD.findall(text))
    spoken = function_words(text)
    common = 0 if encoding == "mac_cyrillic" else 2
    return (letters + common) / len(_FOREIGN.findall(text)) + max(spoken[one] for one in ("ru", "uk", "bg"))


def _share_of_latin(sample: bytes, encoding: str, letters: dict[str, str]) -> float:
    """How much of what is not ASCII belongs to one of the languages, less what is out of place, and how many of the
    words are that language's function words: the language's that has most."""
    text = sample.decode(encoding, "replace")
    foreign = _FOREIGN.findall(text)
    marks = sum(character in _PUNCTUATION for character in foreign) - len(_MISREAD.findall(text))
    dashes, apostrophes = len(_DASH.findall(text)), len(_APOSTROPHE.findall(text))
    counts = Counter("".join(foreign).lower())
    spoken = function_words(text)
    return max(
        (
            marks
            + sum(counts[letter] for letter in own) * (0.9 if language == "en" else 1)  # it has them in names alone
            - (0 if language == "en" else 1.5 * dashes)
            - (0 if language in _WITH_APOSTROPHES else 1.5 * apostrophes)
        )
        / len(foreign)
        + spoken.get(language, 0.0)
        for language, own in letters.items()
    )
