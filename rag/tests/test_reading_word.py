"""Word files: what is shown is read, in its order and with its structure; what is hidden or deleted is not."""

from __future__ import annotations

import re

import pytest
from make_documents import SPACES, docx, paragraph, relations, table, zipped

from rag_service.errors import LoadFailed
from rag_service.reading import Limits, extract, word
from rag_service.reading.blocks import Piece, Reading

LARGE = 1_000_000


def read(body: str, **parts: bytes) -> Reading:
    return word.read(docx(body, **parts), LARGE)


def shown(body: str, **parts: bytes) -> list[str]:
    """Each piece as it is shown: its label and its words in one line."""
    return [" ".join(f"{one.label} {one.text}".split()) for one in read(body, **parts).pieces if one.text.strip()]


def kinds(body: str, **parts: bytes) -> list[str]:
    return [one.kind for one in read(body, **parts).pieces if one.text.strip()]


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def part(tag: str, content: str) -> bytes:
    return f"<w:{tag} {SPACES}>{content}</w:{tag}>".encode()


def item(text: str, level: int = 0, number: int = 1) -> str:
    place = f'<w:pPr><w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr></w:pPr>'
    return f"<w:p>{place}<w:r><w:t>{text}</w:t></w:r></w:p>"


def level(place: int, written: str, shape: str, more: str = "", start: int = 1) -> str:
    return (
        f'<w:lvl w:ilvl="{place}"><w:start w:val="{start}"/><w:numFmt w:val="{written}"/>{more}'
        f'<w:lvlText w:val="{shape}"/></w:lvl>'
    )


def numbering(*levels: str, uses: str = '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>') -> bytes:
    return part("numbering", f'<w:abstractNum w:abstractNumId="0">{"".join(levels)}</w:abstractNum>{uses}')


def test_headings_paragraphs_items_and_rows_keep_their_kind_and_order(limits: Limits) -> None:
    body = (
        paragraph("Wine", "Title")
        + paragraph("Acids", "H1")
        + "<w:p><w:r><w:t>Tartaric</w:t><w:tab/><w:t>acid</w:t></w:r><w:r><w:t> is strong.</w:t></w:r></w:p>"
        + paragraph("Values", "Mine")
        + table((paragraph("Acid"), paragraph("Taste")), (paragraph("Malic"), paragraph("green") + paragraph("apple")))
        + paragraph("one", "Items")
        + paragraph("circular", "Loop")
    )

    extracted = extract("a.docx", docx(body), limits)

    assert extracted.text.split("\n\n") == [
        "Wine", "Acids", "Tartaric acid is strong.", "Values", "Acid | Taste\nMalic | green apple", "- one", "circular",
    ]  # fmt: skip
    assert [(one.level, one.title) for one in extracted.headings] == [(1, "Wine"), (1, "Acids"), (2, "Values")]


def test_parts_are_found_by_relationships_wherever_they_lie() -> None:
    line = f'<w:p>{run("Opened in 1931")}<w:r><w:footnoteReference w:id="2"/></w:r></w:p>'
    archive = {
        "_rels/.rels": relations(a=("officeDocument", "/content/main.xml")),
        "content/main.xml": part("document", f"<w:body>{line}</w:body>"),
        "content/_rels/main.xml.rels": relations(n=("footnotes", "../other/NOTES.xml")),
        "Other/notes.xml": part("footnotes", f'<w:footnote w:id="2">{paragraph("Others say 1932.")}</w:footnote>'),
    }

    pieces = word.read(zipped(archive), LARGE).pieces

    assert [(one.kind, one.text, one.label) for one in pieces] == [
        ("paragraph", "Opened in 1931", ""), ("note", "Others say 1932.", "[1]"),
    ]  # fmt: skip


def test_automatic_numbers_are_labels_that_count_restart_and_nest() -> None:
    levels = (level(0, "upperRoman", "Article %1."), level(1, "decimal", "%1.%2"), level(2, "lowerLetter", "(%3)"))
    body = item("a") + item("b") + item("c", 1) + item("d", 2) + item("e", 2) + item("f", 1) + item("g") + item("h", 1)

    assert shown(body, word__numbering=numbering(*levels)) == [
        "Article I. a", "Article II. b", "II.1 c", "(a) d", "(b) e", "II.2 f", "Article III. g", "III.1 h",
    ]  # fmt: skip
    arabic = (level(0, "upperRoman", "%1."), level(1, "decimal", "%1.%2", "<w:isLgl/>"))
    assert shown(item("a") + item("b", 1), word__numbering=numbering(*arabic)) == ["I. a", "1.1 b"]


def test_a_list_may_begin_again_or_go_on_after_a_paragraph() -> None:
    again = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="7"/></w:lvlOverride>'
    use = '<w:num w:numId="{}"><w:abstractNumId w:val="0"/>{}</w:num>'
    uses = use.format(1, "") + use.format(2, again)
    body = item("a") + paragraph("Between.") + item("b") + item("c", number=2) + item("d", number=2)

    assert shown(body, word__numbering=numbering(level(0, "decimal", "%1)"), uses=uses)) == [
        "1) a", "Between.", "2) b", "7) c", "8) d",
    ]  # fmt: skip


def test_bullets_are_items_and_numbers_by_style_reach_headings() -> None:
    bullets = numbering(level(0, "bullet", "\uf0b7"))
    assert shown(item("dry"), word__numbering=bullets) == ["- dry"]
    assert kinds(item("dry") + paragraph("• sweet"), word__numbering=bullets) == ["item", "item"]

    numbered = numbering(level(0, "decimal", "%1", '<w:pStyle w:val="H"/>'))
    said = '<w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr>'
    style = f'<w:style w:styleId="H"><w:name w:val="heading 1"/>{said}</w:style>'
    parts = {"word__numbering": numbered, "word__styles": part("styles", style)}
    assert shown(paragraph("Scope", "H") + paragraph("Terms", "H"), **parts) == ["1 Scope", "2 Terms"]
    assert kinds(paragraph("Scope", "H"), **parts) == ["heading"]
    removed = f'<w:p><w:pPr><w:pStyle w:val="H"/><w:numPr><w:numId w:val="0"/></w:numPr></w:pPr>{run("Annex")}</w:p>'
    assert shown(removed, **parts) == ["Annex"]


@pytest.mark.parametrize(
    ("properties", "level"),
    [
        ('<w:pStyle w:val="Heading2"/>', 2),
        ('<w:pStyle w:val="berschrift3"/>', 3),
        ('<w:outlineLvl w:val="2"/>', 3),
        ('<w:pStyle w:val="H1"/><w:outlineLvl w:val="9"/>', None),
        ('<w:pStyle w:val="H1"/><w:pPrChange><w:pPr><w:pStyle w:val="Normal"/></w:pPr></w:pPrChange>', 1),
        ('<w:pPrChange><w:pPr><w:pStyle w:val="H1"/></w:pPr></w:pPrChange>', None),
    ],
)
def test_what_is_a_heading(properties: str, level: int | None) -> None:
    [piece] = read(f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>Rules</w:t></w:r></w:p>").pieces

    assert (piece.level if piece.kind == "heading" else None) == level


def test_a_text_box_stands_behind_its_paragraph_and_alternatives_are_read_once() -> None:
    box = "<w:pict><v:shape xmlns:v='v'><v:textbox><w:txbxContent>{}</w:txbxContent></v:textbox></v:shape></w:pict>"
    boxed = box.format(paragraph("Stamp")) + "<w:t>Rules</w:t>"
    choice = (
        f'<mc:AlternateContent xmlns:mc="m"><mc:Choice>{box.format(paragraph("Once"))}</mc:Choice>'
        f"<mc:Fallback>{box.format(paragraph('Twice'))}</mc:Fallback></mc:AlternateContent>"
    )

    heading = f'<w:p><w:pPr><w:pStyle w:val="H1"/></w:pPr><w:r>{boxed}</w:r></w:p>'
    pieces = read(f"{heading}<w:p><w:r><w:t>Text</w:t>{choice}</w:r></w:p>").pieces

    assert [(one.kind, one.text) for one in pieces] == [
        ("heading", "Rules"), ("paragraph", "Stamp"), ("paragraph", "Text"), ("paragraph", "Once"),
    ]  # fmt: skip


def test_hidden_and_deleted_words_are_left_out() -> None:
    style = '<w:style w:styleId="Hid"><w:rPr><w:vanish/></w:rPr></w:style>'
    style += '<w:style w:styleId="Sub"><w:basedOn w:val="Hid"/></w:style>'
    seen, by_style = '<w:vanish w:val="0"/>', '<w:rStyle w:val="Hid"/>'
    body = (
        f"<w:p>{run('Price 40.')}{run('Secret 25.', '<w:vanish/>')}{run(' Net.', seen)}</w:p>"
        + paragraph("Secret paragraph", "Sub")
        + f"<w:p>{run('Secret run', by_style)}</w:p>"
        + f"<w:p><w:ins>{run('Inserted')}</w:ins><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>"
        + f"<w:moveFrom>{run('moved')}</w:moveFrom></w:p>"
        + f"<w:tbl><w:tr><w:trPr><w:del/></w:trPr><w:tc>{paragraph('gone')}</w:tc></w:tr></w:tbl>"
    )

    assert shown(body, word__styles=part("styles", style)) == ["Price 40. Net.", "Inserted"]


def test_a_deleted_paragraph_end_and_a_large_initial_join_paragraphs() -> None:
    deleted = f"<w:p><w:pPr><w:rPr><w:del/></w:rPr></w:pPr>{run('The pump is dark')}</w:p>"
    initial = f'<w:p><w:pPr><w:framePr w:dropCap="drop"/></w:pPr>{run("O")}</w:p>'

    assert shown(deleted + paragraph("green.")) == ["The pump is darkgreen."]
    assert shown(initial + paragraph("nce upon a time")) == ["Once upon a time"]
    assert shown(table((deleted, paragraph("b")))) == ["The pump is dark | b"]


@pytest.mark.parametrize(
    ("math", "text"),
    [
        ("<m:f><m:num>1</m:num><m:den>2</m:den></m:f>", "1/2"),
        ("<m:f><m:num>a+b</m:num><m:den>2</m:den></m:f>", "(a+b)/2"),
        ("<m:sSup><m:e>10</m:e><m:sup>-6</m:sup></m:sSup>", "10^(-6)"),
        ("<m:sSub><m:e>x</m:e><m:sub>1</m:sub></m:sSub>", "x_1"),
        ("<m:rad><m:deg/><m:e>x+1</m:e></m:rad>", "√(x+1)"),
        ("<m:rad><m:deg>3</m:deg><m:e>x</m:e></m:rad>", "∛x"),
        (
            '<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>i=1</m:sub><m:sup>n</m:sup><m:e>x</m:e></m:nary>',
            "∑_(i=1)^n x",
        ),
        ('<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val="]"/></m:dPr><m:e>a</m:e></m:d>', "[a]"),
        ("<m:func><m:fName>sin</m:fName><m:e>x</m:e></m:func>", "sin x"),
        ("<m:m><m:mr><m:e>a</m:e><m:e>b</m:e></m:mr><m:mr><m:e>c</m:e><m:e>d</m:e></m:mr></m:m>", "a, b; c, d"),
    ],
)  # fmt: skip
def test_equations_become_a_line(math: str, text: str) -> None:
    written = re.sub(r">([^<>]+)<", r"><m:r><m:t>\1</m:t></m:r><", math)

    assert shown(f"<w:p>{run('So ')}<m:oMath>{written}</m:oMath></w:p>") == [f"So {text}"]


def field(code: str, result: str = "", data: str = "") -> str:
    ended = f'<w:r><w:fldChar w:fldCharType="separate"/></w:r>{run(result)}' if result else ""
    return (
        f'<w:r><w:fldChar w:fldCharType="begin">{data}</w:fldChar></w:r><w:r><w:instrText>{code}</w:instrText></w:r>'
        f'{ended}<w:r><w:fldChar w:fldCharType="end"/></w:r>'
    )


RAISED = '<w:vertAlign w:val="superscript"/>'
TICKED = "<w:ffData><w:checkBox><w:checked/></w:checkBox></w:ffData>"
EMPTY = "<w:ffData><w:checkBox><w:default w:val='0'/></w:checkBox></w:ffData>"
LIST = '<w:result w:val="1"/><w:listEntry w:val="red"/><w:listEntry w:val="white"/>'
CHOSEN = f"<w:ffData><w:ddList>{LIST}</w:ddList></w:ffData>"
RUBY = "<w:ruby><w:rt><w:r><w:t>とう</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>東</w:t></w:r></w:rubyBase></w:ruby>"


def control(properties: str, content: str) -> str:
    return f"<w:sdt><w:sdtPr>{properties}</w:sdtPr><w:sdtContent>{run(content)}</w:sdtContent></w:sdt>"


def test_an_equation_may_stand_outside_of_paragraphs() -> None:
    assert shown("<m:oMathPara><m:oMath><m:r><m:t>E=m</m:t></m:r></m:oMath></m:oMathPara>") == ["E=m"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (field("REF x", "page 3"), "page 3"),
        (field(r"EQ \f(1;2)"), "1/2"),
        (field(r"EQ \r(3,x)"), "∛x"),
        (field(r"EQ m\s\up8(2)"), "m^2"),
        (field(r'EQ \* jc2 \o\ad(\s\up 9(とうきょう),東京)'), "東京"),
        (field("SYMBOL 97 \\f &quot;Symbol&quot;"), "α"),
        (field("FORMCHECKBOX", data=TICKED), "☒"),
        (field("FORMCHECKBOX", data=EMPTY), "☐"),
        (field("FORMDROPDOWN", data=CHOSEN), "white"),
        ('<w:fldSimple w:instr="AUTHOR"><w:r><w:t>Eva</w:t></w:r></w:fldSimple>', "Eva"),
        ('<w:r><w:sym w:font="Symbol" w:char="F061"/></w:r>', "α"),
        ('<w:r><w:sym w:font="Wingdings" w:char="F0FE"/></w:r>', "☒"),
        (run("\uf0b0", '<w:rFonts w:ascii="Symbol"/>'), "°"),
        (control("<x:checkbox xmlns:x='x'><x:checked x:val='0'/></x:checkbox>", "?"), "☐"),
        (control("<w:showingPlcHdr/>", "Click here"), ""),
        (f"<w:r>{RUBY}</w:r>", "東"),
        (run("10") + run("6", RAISED), "10^6"),
        (run("1") + run("st", RAISED), "1st"),
        ("<w:r><w:t>Left</w:t><w:ptab/><w:t>Right</w:t></w:r>", "Left Right"),
        ("<w:r><w:t>non</w:t><w:noBreakHyphen/><w:t>smoker a</w:t><w:softHyphen/><w:t>b</w:t></w:r>", "non-smoker ab"),
    ],
)  # fmt: skip
def test_what_a_line_says(content: str, text: str) -> None:
    assert shown(f"<w:p>{run('It is ')}{content}</w:p>") == [f"It is {text}".strip()]


def cells(*texts: str, properties: str = "", row: str = "") -> str:
    inner = "".join(f"<w:tc><w:tcPr>{properties}</w:tcPr>{paragraph(text)}</w:tc>" for text in texts)
    return f"<w:tr><w:trPr>{row}</w:trPr>{inner}</w:tr>"


def test_rows_say_the_names_of_their_columns() -> None:
    marked = cells("City", "River", row="<w:tblHeader/>") + cells("Ostrava", "Oder")
    by_values = cells("City", "Depth") + cells("Ostrava", "12 m") + cells("Brno", "7 m")
    by_style = "<w:tblPr><w:tblLook w:firstRow='1'/></w:tblPr>" + cells("City", "River") + cells("Ostrava", "Oder")
    pairs = "<w:tblPr><w:tblLook w:val='04A0'/></w:tblPr>" + cells("Name:", "Eva") + cells("Town:", "Brno")
    numbers = cells("1", "2") + cells("3", "4")

    assert shown(f"<w:tbl>{marked}</w:tbl>") == ["City: Ostrava | River: Oder"]
    assert shown(f"<w:tbl>{by_values}</w:tbl>") == ["City: Ostrava | Depth: 12 m", "City: Brno | Depth: 7 m"]
    assert shown(f"<w:tbl>{by_style}</w:tbl>") == ["City: Ostrava | River: Oder"]
    assert shown(f"<w:tbl>{pairs}</w:tbl>") == ["Name: Eva", "Town: Brno"]
    assert shown(f"<w:tbl>{numbers}</w:tbl>") == ["1 | 2", "3 | 4"]
    assert shown(f"<w:tbl>{cells('only', 'one row')}</w:tbl>") == ["only | one row"]
    assert shown(f"<w:tbl>{cells('a', '', 'c')}</w:tbl>") == ["a | | c"]


def test_merged_cells_say_their_words_in_each_row_and_under_each_name() -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{paragraph(text)}</w:tc>"

    begins, goes_on, wide = '<w:vMerge w:val="restart"/>', "<w:vMerge/>", '<w:gridSpan w:val="2"/>'
    body = (
        f"<w:tr>{cell('City', begins)}{cell('Depth', wide)}</w:tr>"
        f"<w:tr>{cell('', goes_on)}{cell('mean')}{cell('most')}</w:tr>"
        f"<w:tr>{cell('Ostrava', begins)}{cell('12 m')}{cell('20 m')}</w:tr>"
        f"<w:tr>{cell('', goes_on)}{cell('13 m')}{cell('21 m')}</w:tr>"
    )

    assert shown(f"<w:tbl>{body}</w:tbl>") == [
        "City: Ostrava | Depth mean: 12 m | Depth most: 20 m",
        "City: Ostrava | Depth mean: 13 m | Depth most: 21 m",
    ]


def test_a_table_of_one_column_is_a_frame_around_its_text() -> None:
    assert kinds(table((paragraph("Rules", "H1") + paragraph("Text."),))) == ["heading", "paragraph"]


def test_headers_are_read_once_and_page_numbers_are_not() -> None:
    header = part("hdr", paragraph("Contract KX-4711"))
    footer = part("ftr", f"<w:p>{run('Page ')}{field('PAGE', '3')}{run(' of ')}{field('NUMPAGES', '9')}</w:p>")
    section = '<w:sectPr><w:headerReference r:id="header"/><w:footerReference r:id="footer"/></w:sectPr>'
    body = f"<w:p><w:pPr>{section}</w:pPr></w:p>" + paragraph("Body.") + section

    assert shown(body, word__header=header, word__footer=footer) == ["Contract KX-4711", "Body."]


def test_a_first_header_counts_only_where_it_is_shown() -> None:
    section = '<w:sectPr><w:headerReference w:type="first" r:id="header"/>{}</w:sectPr>'
    header = part("hdr", paragraph("Cover"))

    assert shown(paragraph("Body.") + section.format(""), word__header=header) == ["Body."]
    assert shown(paragraph("Body.") + section.format("<w:titlePg/>"), word__header=header) == ["Cover", "Body."]


def test_notes_and_comments_follow_the_paragraph_that_refers_to_them() -> None:
    refers = '<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:commentReference w:id="0"/></w:r>'
    body = f"<w:p>{run('Opened in 1931')}{refers}{run(' at last.')}</w:p>" + paragraph("Next.")
    notes = f'<w:footnote w:type="separator" w:id="0">{paragraph("---")}</w:footnote>'
    notes += f'<w:footnote w:id="2">{paragraph("Or 1932.")}</w:footnote>'

    found = shown(
        body,
        word__footnotes=part("footnotes", notes),
        word__comments=part("comments", f'<w:comment w:id="0">{paragraph("Repainted.")}</w:comment>'),
    )

    assert found == ["Opened in 1931 at last.", "[1] Or 1932.", "Comment: Repainted.", "Next."]


def test_descriptions_of_pictures_are_read_but_not_names_of_files() -> None:
    drawing = '<w:p><w:r><w:drawing><wp:inline xmlns:wp="wp"><wp:docPr descr="{}"/></wp:inline></w:drawing></w:r></w:p>'

    assert shown(drawing.format("Sales rose to 90") + drawing.format("image1.png")) == ["Picture: Sales rose to 90"]


def test_diagrams_and_charts_say_their_words() -> None:
    diagram = b"<d><pt><t><p><r><t>Sort, then weigh</t></r></p></t></pt></d>"
    graphic = '<w:p><w:r><w:drawing><g:graphicData xmlns:g="g" uri="x/{}">{}</g:graphicData></w:drawing></w:r></w:p>'
    assert shown(graphic.format("diagram", ""), word__diagramData=diagram) == ["Sort, then weigh"]

    points = '<pt idx="0"><v>{}</v></pt><pt idx="1"><v>{}</v></pt>'
    chart = (
        "<chartSpace><chart><title><t>Depths</t></title><ser><tx><pt idx='0'><v>Metres</v></pt></tx>"
        f"<cat>{points.format('Ostrava', 'Brno')}</cat><val>{points.format(12, 7.000000000000001)}</val></ser></chart>"
        "</chartSpace>"
    )
    assert shown(graphic.format("chart", '<c:chart xmlns:c="c" r:id="chart"/>'), word__chart=chart.encode()) == [
        "Depths", "Ostrava | Metres: 12", "Brno | Metres: 7",
    ]  # fmt: skip


def chunk(name: str, content: bytes) -> Reading:
    archive = {
        "_rels/.rels": relations(a=("officeDocument", "document.xml")),
        "document.xml": f'<w:document {SPACES}><w:body><w:altChunk r:id="c"/></w:body></w:document>'.encode(),
        "_rels/document.xml.rels": relations(c=("aFChunk", name)),
        name: content,
    }
    return word.read(zipped(archive), LARGE)


def test_files_within_the_file_are_read_or_named() -> None:
    page = b"<html><body><p>Three years.</p></body></html>"
    for name, content in (
        ("a.html", page),
        ("a.txt", b"Three years."),
        ("a.docx", docx(paragraph("Three years."))),
        ("a.rtf", b"{\\rtf1 Three years.}"),
        ("a.dat", b"MIME-Version: 1.0\nContent-Type: text/html\n\n" + page),
        ("a.mht", b"MIME-Version: 1.0\nContent-Type: text/html\n\n" + page),
    ):
        assert [one.text for one in chunk(name, content).pieces if one.text.strip()] == ["Three years."], name

    for name, content in (("a.bin", b"x"), ("a.docx", docx(paragraph("cut off"))[:-60])):
        [warning] = chunk(name, content).warnings
        assert warning.code == "not read"
        assert name in warning.detail


def test_an_embedded_object_is_named_in_a_warning() -> None:
    embedded = '<w:object><o:OLEObject xmlns:o="o" ProgID="Excel.Sheet.12"/></w:object>'

    [warning] = read(f"<w:p><w:r><w:t>See</w:t>{embedded}</w:r></w:p>").warnings

    assert "Excel" in warning.detail


def test_the_file_says_its_title_and_author() -> None:
    core = b"<cp xmlns:dc='d'><dc:title>Rules</dc:title><dc:creator>Eva</dc:creator></cp>"
    archive = {
        "_rels/.rels": relations(a=("officeDocument", "d.xml"), b=("core-properties", "c.xml")),
        "d.xml": f"<w:document {SPACES}>{paragraph('x')}</w:document>".encode(),
        "c.xml": core,
    }

    assert word.read(zipped(archive), LARGE).metadata == {"title": "Rules", "author": "Eva"}


def test_a_file_of_pictures_says_so(limits: Limits) -> None:
    archive = {
        "_rels/.rels": relations(a=("officeDocument", "d.xml")),
        "d.xml": f"<w:document {SPACES}><w:p/></w:document>".encode(),
        "_rels/d.xml.rels": relations(i=("image", "i.png")),
    }

    with pytest.raises(LoadFailed) as caught:
        extract("scan.docx", zipped(archive), limits)

    assert caught.value.code == "only pictures"


def test_code_keeps_its_lines() -> None:
    style = part("styles", '<w:style w:styleId="C"><w:name w:val="Source Code"/></w:style>')

    pieces = read(paragraph("if x:", "C") + paragraph("    y", "C"), word__styles=style).pieces

    assert pieces == [Piece("code", "if x:"), Piece("code", "    y", joined="\n")]
