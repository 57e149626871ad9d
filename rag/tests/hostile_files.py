"""Files that mean harm, or are broken in the ways that files are broken; each with the verdicts that are right.

Sizes are set for the limits of `test_hostile_files`: a file of 1 MB, a text of 200 KB, 8 seconds. Files that end up
indexed are small: their passages are embedded.
"""

from __future__ import annotations

import random
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache

from make_documents import WORD, docx, paragraph, table, zipped
from pdf_files import pdf, pdf_of_objects

KILOBYTE = 1024
_LAUGHS = '<!ENTITY l0 "ha">' + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@dataclass(frozen=True)
class Hostile:
    """A file and what may become of it: codes of failure, or indexed."""

    name: str
    data: bytes
    verdicts: tuple[str, ...]


@dataclass(frozen=True)
class Good:
    """A file that is read whatever is around it, found by this question."""

    name: str
    data: bytes
    question: str


@cache  # the same bytes each time: a PDF's writer assigns each file a new identity
def good_files() -> list[Good]:
    """Files among the bad ones that must be indexed and found."""
    return [
        Good("good.md", b"# Port\n\nPort is fortified with brandy.", "What is port fortified with?"),
        Good("good.pdf", pdf("Sherry comes from Jerez."), "Where does sherry come from?"),
        Good("good.docx", docx(paragraph("Cider is pressed from apples.")), "What is cider pressed from?"),
        Good("good.csv", b"drink,origin\nMead,honey\nSake,rice\n", "What is the origin of sake?"),
        Good("a-page.pdf", b"<!DOCTYPE html><p>Perry is pressed from pears.", "What is perry pressed from?"),
        Good("a-word-file.txt", docx(paragraph("Kvass is brewed from bread.")), "What is kvass brewed from?"),
        Good("wide.txt", "Tequila is distilled from agave.".encode("utf-16"), "What is tequila distilled from?"),
        Good("../../up/../passwd.md", b"Rum is distilled from molasses.", "What is rum distilled from?"),
        Good("right\u202etxt.exe\u202c.md", b"Absinthe is flavoured with wormwood.", "What flavours absinthe?"),
        Good("rtl.txt", "\u202eהיין אדום. The wine of Galilee is red.".encode(), "Which wine is red?"),
    ]


def hostile_files() -> list[Hostile]:
    """Everything else."""
    noise = random.Random(7).randbytes(20 * KILOBYTE)
    return [*_archives(), *_word_files(), *_pdfs(), *_texts(noise)]


def _archives() -> list[Hostile]:
    inner = zipped({"a.txt": b"0" * 900 * KILOBYTE})
    return [
        Hostile("nested.zip.docx", zipped({f"{n}.zip": inner for n in range(50)}), ("unknown type",)),
        Hostile("many-names.docx", zipped({f"{n:05}": b"" for n in range(6000)}), ("unknown type",)),
        Hostile("up.docx", zipped({"../../../tmp/evil": b"x", "/etc/evil": b"x"}), ("unknown type",)),
        Hostile("book.docx", zipped({"xl/workbook.xml": b"<a/>", "_rels/.rels": _relation("xl/workbook.xml")}),
                ("unknown type",)),
        Hostile("itself.docx", zipped({"_rels/.rels": _relation("_rels/.rels")}), ("unknown type",)),
        Hostile("empty-archive.docx", zipped({}), ("unknown type",)),
        Hostile("cut-archive.docx", docx(paragraph("cut"))[:-60], ("damaged",)),
        Hostile("packed.md", b"\x1f\x8b" + zlib.compress(b"x" * 999), ("unknown type",)),
    ]  # fmt: skip


def _relation(target: str) -> bytes:
    return f'<R><Relationship Type="http://x/officeDocument" Target="{target}"/></R>'.encode()


def _word_files() -> list[Hostile]:
    def with_document(document: str) -> bytes:
        return docx("", word__document=document.encode())

    whole = docx(paragraph("x" * 50))
    wrong_sum = bytearray(whole)
    wrong_sum[whole.rindex(b"PK\x01\x02") + 16] ^= 0xFF
    locked = bytearray(whole)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := whole.find(mark, start + 1)) >= 0:
            locked[start + place] |= 1
    lzma = zipped({"word/document.xml": b"<a>" + b" " * 9_000_000 + b"</a>"}, zipfile.ZIP_LZMA)
    bomb = f'<w:document xmlns:w="{WORD}">' + " " * 30_000_000 + "</w:document>"
    laughs = f"<!DOCTYPE lolz [{_LAUGHS}]><w:document xmlns:w='{WORD}'><w:p><w:t>&l9;</w:t></w:p></w:document>"
    reading = f"<!DOCTYPE d [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><w:p xmlns:w='{WORD}'><w:t>&f;</w:t></w:p>"
    return [
        Hostile("bomb.docx", with_document(bomb), ("too large",)),
        Hostile("bomb-in-styles.docx", docx(paragraph("x"), word__styles=bomb.encode()), ("too large",)),
        Hostile("bomb-of-text.docx", docx(paragraph("wine " * 300_000)), ("too large",)),
        Hostile("lzma.docx", lzma, ("damaged",)),
        Hostile("laughs.docx", with_document(laughs), ("damaged",)),
        Hostile("reads-a-file.docx", with_document(reading), ("damaged",)),
        Hostile("deep.docx", docx("<w:tbl><w:tr><w:tc>" * 20_000), ("damaged",)),
        Hostile("not-closed.docx", docx("<w:p><w:r><w:t>"), ("damaged",)),
        Hostile("only-cells.docx", docx("<w:tc/></w:tr>".replace("</w:tr>", "<w:tr/>") + table(("",))), ("empty",)),
        Hostile("wrong-sum.docx", bytes(wrong_sum), ("damaged",)),
        Hostile("locked.docx", bytes(locked), ("encrypted",)),
        Hostile("locked-by-word.docx", b"\xd0\xcf\x11\xe0" + "EncryptedPackage".encode("utf-16-le"), ("encrypted",)),
        Hostile("old.doc", b"\xd0\xcf\x11\xe0" + b"\x00" * 600, ("unknown type",)),
        Hostile("no-text.docx", docx(""), ("empty",)),
    ]


def _pdfs() -> list[Hostile]:
    five_thousand = " ".join("3 0 R" for _ in range(5001))
    inflated = zlib.compress(b"BT " + b"0 0 Td " * 5_000_000 + b"ET", 9)
    page = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]"
    return [
        Hostile("secret.pdf", pdf("secret", password="open sesame"), ("encrypted",)),
        Hostile("scan.pdf", pdf("", ""), ("only pictures",)),
        Hostile("cut.pdf", pdf("cut off")[:-200], ("damaged",)),
        Hostile("header-only.pdf", b"%PDF-1.7\n%%EOF", ("damaged",)),
        Hostile("loop-of-pages.pdf", _pdf("<</Type/Pages/Kids[2 0 R]/Count 1>>"), ("damaged", "only pictures")),
        Hostile("loop-of-parts.pdf", _pdf("<</Type/Pages/Kids[3 0 R]/Count 1>>", page + "/Contents 3 0 R>>"),
                ("damaged", "empty")),
        Hostile("loop-of-forms.pdf", _loop_of_forms(), ("damaged", "empty")),
        Hostile("pages.pdf", _pdf(f"<</Type/Pages/Kids[{five_thousand}]/Count 5001>>", page + ">>"), ("too large",)),
        Hostile("says-many-pages.pdf", _pdf("<</Type/Pages/Kids[]/Count 999999999>>"),
                ("too large", "damaged", "only pictures")),
        Hostile("deep.pdf", _pdf("<</Type/Pages/Kids[3 0 R]/Count 1>>", "[" * 100_000), ("damaged", "only pictures")),
        Hostile("bomb.pdf", _pdf("<</Type/Pages/Kids[3 0 R]/Count 1>>", page + "/Contents 4 0 R>>",
                f"<</Length {len(inflated)}/Filter/FlateDecode>>stream\n{inflated.decode('latin-1')}\nendstream"),
                ("too large", "too slow", "too much memory", "empty")),
    ]  # fmt: skip


def _pdf(*objects: str) -> bytes:
    """A PDF of objects as they are given, numbered from 2; object 1 is the catalog."""
    return pdf_of_objects("<</Type/Catalog/Pages 2 0 R>>", *objects)


def _loop_of_forms() -> bytes:
    page = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</F 4 0 R>>>>>>"
    form = "<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F 4 0 R>>>>/Length 5>>"
    form += "stream\n/F Do\nendstream"
    return _pdf("<</Type/Pages/Kids[3 0 R]/Count 1>>", page, form)


def _texts(noise: bytes) -> list[Hostile]:
    return [
        Hostile("nothing.txt", b"", ("empty",)),
        Hostile("blank.md", b" \n\t\r\n", ("empty",)),
        Hostile("only-a-mark.txt", b"\xff\xfe", ("empty", "not text")),
        Hostile("unseen.txt", "\u200b\ufeff".encode() * 50, ("empty", "not text")),
        Hostile("large.txt", b"wine " * 500_000, ("too large",)),
        Hostile("large-text.txt", b"wine " * 60_000, ("too large",)),
        Hostile("zeros.txt", b"\x00" * 5000, ("not text",)),
        Hostile("noise.md", noise, ("not text", "encoding not known")),
        Hostile("noise.csv", noise, ("not text", "encoding not known")),
        Hostile("picture.txt", b"\x89PNG\r\n\x1a\n" + noise, ("unknown type",)),
        Hostile("program.exe", b"MZ\x90\x00" + noise, ("unknown type",)),
        Hostile("..", b"no name at all", ("unknown type",)),
        Hostile("script.html", b"<script>" + b"alert(1);" * 9000 + b"</script>", ("empty",)),
        Hostile("deep.html", b"<div>" * 15_000 + b"deep", ("indexed", "too slow", "too much memory")),
        Hostile("laughs.html", f"<!DOCTYPE d [{_LAUGHS}]><p>&l9; words".encode(), ("indexed",)),
        Hostile("stars.md", b"**a " * 500, ("indexed",)),
        Hostile("brackets.md", b"[" * 500 + b"(" * 500, ("indexed",)),
        Hostile("commas.csv", b"," * 150_000, ("empty",)),
        Hostile("not-closed.csv", b'a,b\n"' + b"wine,\n" * 500, ("indexed",)),
        Hostile("n\x00ul\r\n.txt", b"\x00N\x00U\x00L \x00 in UTF-16", ("indexed", "not text")),
        Hostile("x" * 2000 + ".txt", b"A name of two thousand letters.", ("indexed",)),
    ]
