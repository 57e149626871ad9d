"""PDF files for tests, written object by object: what each one shows is in the test."""

from __future__ import annotations

from collections.abc import Sequence

_FONTS = (
    "/F1 <</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>> "
    "/B1 <</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold/Encoding/WinAnsiEncoding>> "
    "/C1 <</Type/Font/Subtype/Type1/BaseFont/Courier/Encoding/WinAnsiEncoding>> "
    "/W1 <</Type/Font/Subtype/TrueType/BaseFont/ABCDEF+Wingdings2/Encoding/WinAnsiEncoding>> "
    "/S1 <</Type/Font/Subtype/TrueType/BaseFont/ABCDEF+Own>>"
)
# A font whose codes are the characters' own, in UTF-16.
_UNICODE_FONT = (
    "<</Type/Font/Subtype/Type0/BaseFont/Any/Encoding/Identity-H/ToUnicode 3 0 R/DescendantFonts[<</Type/Font"
    "/Subtype/CIDFontType2/BaseFont/Any/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>/DW 600>>]>>"
)
_TO_UNICODE = (
    "begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange 256 beginbfrange\n"
    + "\n".join(f"<{high:02x}00> <{high:02x}ff> <{high:02x}00>" for high in range(256))
    + "\nendbfrange endcmap"
)
# A grey picture over the whole page.
PICTURE = "q 612 0 0 792 0 0 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \x80 EI Q\n"


def pdf_of_objects(*objects: str, trailer: str = "") -> bytes:
    """A PDF of objects as they are given, numbered from 1; the first is the catalog."""
    written = b"%PDF-1.7\n"
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(written))
        written += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    written += f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}".encode()
    end = f"trailer<</Size {len(places) + 1}/Root 1 0 R{trailer}>>\nstartxref\n{written.rfind(b'xref')}\n%%EOF"
    return written + end.encode()


def stream(content: str, entries: str = "") -> str:
    return f"<</Length {len(content)}{entries}>>stream\n{content}\nendstream"


def pdf_of_pages(
    *contents: str, catalog: str = "", page: str = "", objects: Sequence[str] = (), trailer: str = ""
) -> bytes:
    """A PDF of pages in Letter size with these content streams. `catalog`, `page`, `trailer`: further entries of these;
    `objects`: further objects, numbered from 4."""
    first = 4 + len(objects)
    kids = " ".join(f"{first + 2 * place} 0 R" for place in range(len(contents)))
    written = [
        f"<</Type/Catalog/Pages 2 0 R{catalog}>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(contents)}>>",
        stream(_TO_UNICODE),
        *objects,
    ]
    for content in contents:
        fonts = f"/Resources<</Font<<{_FONTS} /U1 {_UNICODE_FONT}>>/XObject<</I1 4 0 R>>>>"
        contents_at = f"/Contents {len(written) + 2} 0 R"
        written += [f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]{fonts}{contents_at}{page}>>", stream(content)]
    return pdf_of_objects(*written, trailer=trailer)


def at(x: float, y: float, text: str, font: str = "F1", size: float = 11, turn: str = "1 0 0 1") -> str:
    """Text with its base line's beginning at a place, from the lower left corner, in points."""
    if font == "U1":
        shown = f"<{text.encode('utf-16-be').hex()}>"
    else:
        shown = "(" + text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") + ")"
    return f"BT /{font} {size} Tf {turn} {x} {y} Tm {shown} Tj ET\n"


def lines(x: float, y: float, *texts: str, font: str = "F1", size: float = 11, step: float = 14) -> str:
    return "".join(at(x, y - step * row, text, font, size) for row, text in enumerate(texts))


def pdf(*pages: str, password: str = "") -> bytes:
    """A PDF with one line of text on each page; "" makes a page with a picture and no text. `password`: it asks for
    one, and for no certain one."""
    locked = f"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<{'5a' * 32}>/U<{'a5' * 32}>>>/ID[<00><00>]"
    contents = [at(20, 200, text, size=12) if text else PICTURE for text in pages]
    return pdf_of_pages(*contents, trailer=locked if password else "")
