"""Office files for the tests, put together by hand so that a test can also make bad ones."""

from __future__ import annotations

import io
import zipfile

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"
SPACES = f'xmlns:w="{WORD}" xmlns:r="{RELATIONS}" xmlns:m="{MATH}"'
_STYLES = """
<w:style w:styleId="Title"><w:name w:val="Title"/></w:style>
<w:style w:styleId="H1"><w:name w:val="heading 1"/><w:pPr><w:outlineLvl w:val="0"/></w:pPr></w:style>
<w:style w:styleId="Mine"><w:name w:val="My own"/><w:basedOn w:val="H2"/></w:style>
<w:style w:styleId="H2"><w:name w:val="heading 2"/></w:style>
<w:style w:styleId="Loop"><w:name w:val="a"/><w:basedOn w:val="Loop"/></w:style>
<w:style w:styleId="Items"><w:name w:val="List"/><w:pPr><w:numPr/></w:pPr></w:style>
"""


def paragraph(text: str, style: str = "") -> str:
    chosen = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{chosen}<w:r><w:t>{text}</w:t></w:r></w:p>"


def table(*rows: tuple[str, ...]) -> str:
    cells = ("".join(f"<w:tc>{cell}</w:tc>" for cell in row) for row in rows)
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells) + "</w:tbl>"


def relations(**parts: tuple[str, str]) -> bytes:
    """A part of relationships: identity = (last step of the type, target)."""
    lines = (
        f'<Relationship Id="{key}" Type="{RELATIONS}/{kind}" Target="{target}"/>'
        for key, (kind, target) in parts.items()
    )
    return f"<Relationships>{''.join(lines)}</Relationships>".encode()


def docx(body: str, **parts: bytes) -> bytes:
    """A Word file with this body; `parts` adds parts or takes the place of one, `__` standing for a stroke. Each part
    beside the document is one that it uses, of the kind that its name says."""
    contents = {
        "_rels/.rels": relations(main=("officeDocument", "word/document.xml")),
        "word/styles.xml": f"<w:styles {SPACES}>{_STYLES}</w:styles>".encode(),
        "word/document.xml": f'<?xml version="1.0"?><w:document {SPACES}><w:body>{body}</w:body></w:document>'.encode(),
    }
    contents |= {name.replace("__", "/") + ".xml": content for name, content in parts.items()}
    used = (name[5:-4] for name in contents if name.startswith("word/") and name != "word/document.xml")
    contents["word/_rels/document.xml.rels"] = relations(**{name: (name, f"{name}.xml") for name in used})
    return zipped(contents)


def opendocument(kind: str, body: str, styles: str = "") -> bytes:
    """An OpenDocument file: `kind` is text, spreadsheet or presentation."""
    names = ("office", "text", "table", "style", "draw", "presentation", "svg", "fo")
    spaces = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in names)
    content = (
        f"<office:document-content {spaces}><office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    )
    mime = f"application/vnd.oasis.opendocument.{kind}"
    return zipped({"mimetype": mime.encode(), "content.xml": content.encode()})


def xlsx(*rows: str, more: str = "", drawing: str = "<wsDr/>") -> bytes:
    """A workbook of a sheet "Depths" with these rows and a hidden sheet; styles of cells: 1 a date, 2 a percentage."""
    formats = '<numFmts><numFmt numFmtId="164" formatCode="dd\\.mm\\.yyyy"/></numFmts>'
    styles = (
        f'<styleSheet>{formats}<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="9"/></cellXfs></styleSheet>'
    )
    sheets = '<sheet name="Depths" r:id="one"/><sheet name="Secret" state="hidden" r:id="two"/>'
    hidden = '<row r="1"><c t="inlineStr"><is><t>hidden words</t></is></c></row>'
    sheet = "<worksheet><sheetData>{}</sheetData>{}</worksheet>"
    return zipped({
        "_rels/.rels": relations(main=("officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook xmlns:r="{RELATIONS}"><sheets>{sheets}</sheets></workbook>'.encode(),
        "xl/_rels/workbook.xml.rels": relations(
            one=("worksheet", "sheets/one.xml"), two=("worksheet", "sheets/two.xml"), three=("styles", "styles.xml"),
            four=("sharedStrings", "strings.xml")),
        "xl/styles.xml": styles.encode(),
        "xl/strings.xml": b"<sst><si><t>Ostrava</t></si><si><r><t>Br</t></r><r><t>no</t></r></si></sst>",
        "xl/sheets/one.xml": sheet.format("".join(rows), more).encode(),
        "xl/sheets/_rels/one.xml.rels": relations(one=("drawing", "drawing.xml")),
        "xl/sheets/drawing.xml": drawing.encode(),
        "xl/sheets/two.xml": sheet.format(hidden, "").encode(),
    })  # fmt: skip


def pptx(*slides: str, notes: str = "", slide: str = "") -> bytes:
    """A presentation of slides, each the content of its tree of shapes; `notes` are the first one's, `slide`
    attributes of all."""
    place = f'xmlns:p="p" xmlns:a="a" xmlns:r="{RELATIONS}"'
    listed = "".join(f'<p:sldId r:id="s{number}" id="{number}"/>' for number in range(len(slides)))
    contents = {
        "_rels/.rels": relations(main=("officeDocument", "ppt/presentation.xml")),
        "ppt/presentation.xml": f"<p:presentation {place}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>".encode(),
        "ppt/_rels/presentation.xml.rels": relations(
            **{f"s{number}": ("slide", f"slides/{number}.xml") for number in range(len(slides))}
        ),
        "ppt/slides/_rels/0.xml.rels": relations(n=("notesSlide", "../notes.xml")),
        "ppt/notes.xml": f"<p:notes {place}>{shape(notes, 'body')}</p:notes>".encode(),
    }
    for number, shapes in enumerate(slides):
        content = f"<p:sld {place} {slide}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>"
        contents[f"ppt/slides/{number}.xml"] = content.encode()
    return zipped(contents)


def shape(words: str, place: str = "") -> str:
    """A shape with paragraphs of these lines; `place`: which placeholder it is, "" for none."""
    named = f'<p:nvPr><p:ph type="{place}"/></p:nvPr>' if place else "<p:nvPr/>"
    lines = "".join(f"<a:p><a:r><a:t>{line}</a:t></a:r></a:p>" for line in words.split("\n"))
    return f"<p:sp><p:nvSpPr>{named}</p:nvSpPr><p:txBody>{lines}</p:txBody></p:sp>"


def zipped(contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return written.getvalue()
