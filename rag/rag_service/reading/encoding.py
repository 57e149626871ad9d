"""Bytes become text: their encoding is found, and a guess is taken only if it makes words."""

from __future__ import annotations

import codecs
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
# What browsers take these labels for: encoding.spec.whatwg.org, "Names and labels".
_AS_BROWSERS_DO = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
    "utf-16": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8", "utf-7": "cp1252",
}  # fmt: skip
_TEXTS = re.compile(r"cp\d+|iso8859|koi8|mac-|utf-8|gb18030|big5|euc_|shift_|iso2022_")
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
_CYRILLIC_LETTERS = dict.fromkeys(("ru", "uk", "bg"), "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґ")
_CERTAIN = "windows-1258"  # its marks of tones look like no other encoding's
_PUNCTUATION = frozenset("‘’“”„‚«»‹›–—…•·¿¡§°º™®©€£¥½¼²³µ×±\u00a0\u00ad")
# Signs that bytes were read in another encoding than they were written in: a capital or a symbol after a small letter,
# a mark within a word, characters that no text holds.
_MISREAD = re.compile(
    "(?<=[a-zß-öø-ÿа-я])[À-ÖØ-ÞĀĂĄĆČĎĐĘĚĽŁŃŇŐŒŔŘŚŠŤŮŰŸŹŻŽА-ЯЀ-Џ]"
    "|(?<=[A-Za-zß-öø-ÿ])[¡-§©«¬¯±´-¶¸¹¿×÷ˆˇ˘-˝†‡‰‹ƒﬁﬂ◊─-▟]|(?<=[A-Za-zß-öø-ÿ])[„“”‚»•€·²³](?=[a-zß-öø-ÿ])"
    r"|^»\s|[\x80-\x9f\ue000-\uf8ff\ufffd]",
    re.MULTILINE,
)
_FOREIGN = re.compile("[^\x00-\x7f]")
_SAMPLE = 6000
_LEAST_SHARE = 0.5
_CONTROL = re.compile("[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f\ufffe\uffff\ufffd]")


def decode(data: bytes) -> str:
    """Text from bytes: by their mark, as UTF-8, UTF-16 or UTF-32, else in the likeliest encoding. Bytes that have no
    meaning in it become U+FFFD. Raises LoadFailed `not text` and `encoding not known`."""
    marked = next((name for mark, name in BYTE_MARKS.items() if data.startswith(mark)), None)
    readings = (read(data) for read in (_wide, _seven_bit, _utf8))
    text = data.decode(marked, "replace") if marked else next((one for one in readings if one is not None), None)
    if text is not None:
        return checked(text)
    checked(data.decode("ascii", "ignore"))
    return checked(_guessed(data))


def codec(label: str) -> str:
    """Python's name of the encoding that a browser takes for a label; "" for none that it knows."""
    label = re.sub(r"^(?:x-)+|-i$", "", label.lower()).replace("windows-31j", "cp932")
    try:
        name = codecs.lookup(re.sub(r"^windows-(?=\d+$)", "cp", label)).name
    except LookupError:
        return ""
    name = _AS_BROWSERS_DO.get(name, name)
    return name if _TEXTS.match(name) else ""


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
    from chardetng_py import EncodingDetector  # type: ignore[import-untyped] # not needed for UTF-8

    detector = EncodingDetector()
    detector.feed(data, last=True)
    guess: str = detector.guess(tld=None, allow_utf8=False)
    name = codec(guess) or "cp1252"
    sample = _around_foreign(data)
    mostly_ascii = len(re.findall(rb"[\x80-\xff]", sample)) < len(re.findall(rb"[A-Za-z]", sample))
    if guess in _CYRILLIC or (guess in _LATIN and not mostly_ascii):
        shares = {one: _share(sample, one, _CYRILLIC_LETTERS) for one in (name, "mac_cyrillic")}
    else:
        shares = {} if guess in _LATIN else {name: 1.1}
        if mostly_ascii and guess != _CERTAIN:
            shares |= {one: _share(sample, one, letters) for ones, letters in _GROUPS for one in ones}
    encoding = max(shares, key=shares.__getitem__)
    if shares[encoding] < _LEAST_SHARE:
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


def _share(sample: bytes, encoding: str, letters: dict[str, str]) -> float:
    """How much of what is not ASCII belongs to one of the languages, less what is out of place, and how many of the
    words are that language's function words: the language's that has most."""
    text = sample.decode(encoding, "replace")
    foreign = Counter(_FOREIGN.findall(text.lower()))
    marks = sum(foreign[mark] for mark in _PUNCTUATION) - 3 * len(_MISREAD.findall(text))
    spoken = function_words(text)
    return max(
        (marks + sum(foreign[letter] for letter in own)) / foreign.total() + spoken.get(language, 0.0)
        for language, own in letters.items()
    )
