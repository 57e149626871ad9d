"""Presentations, workbooks, OpenDocument files, e-books, mails, notebooks and Office's old files: known by their bytes,
read as they are shown, and refused by name."""

from __future__ import annotations

import json

import pytest
from make_documents import docx, opendocument, paragraph, pptx, shape, xlsx, zipped

from rag_service.errors import LoadFailed
from rag_service.reading import Limits, extract, kind_of, mail, notebook, office
from rag_service.reading.blocks import Reading

LARGE = 1_000_000


def shown(reading: Reading) -> list[str]:
    """Each piece as it is shown: its label and its words in one line."""
    return [" ".join(f"{one.label} {one.text}".split()) for one in reading.pieces if one.text.strip()]


def read(data: bytes) -> list[str]:
    return shown(office.read(data, LARGE))


def failure(data: bytes, name: str = "a.docx") -> LoadFailed:
    with pytest.raises(LoadFailed) as caught:
        office.read(data, LARGE)
    return caught.value


# What a file is


def ole(*streams: str) -> bytes:
    return b"\xd0\xcf\x11\xe0" + bytes(508) + b"".join(name.encode("utf-16-le") + bytes(64) for name in streams)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (ole("WordDocument"), "damaged", "Word file of before 2007"),
        (ole("Workbook"), "damaged", "Excel workbook of before 2007"),
        (ole("PowerPoint Document"), "damaged", "Save it as PPTX or PDF"),
        (ole("__substg1.0_1000001F"), "damaged", "Outlook message"),
        (ole("EncryptedPackage", "WordDocument"), "encrypted", "without a password"),
        (ole("VisioDocument"), "unknown type", "Visio"),
        (ole("Nothing"), "unknown type", "old kind of Office"),
        (zipped({"a.txt": b"x"}), "unknown type", "an archive, not a document; add the files in it"),
        (zipped({"Index/Document.iwa": b"x"}), "unknown type", "export it as PDF"),
        (zipped({"mimetype": b"application/vnd.oasis.opendocument.graphics"}), "unknown type", "graphics"),
        (zipped({"mimetype": b"application/vnd.oasis.opendocument.text"}), "damaged", "no part with its content"),
        (zipped({"mimetype": b"application/epub+zip"}), "damaged", "no list of its chapters"),
        (docx(paragraph("cut off"))[:-60], "damaged", "Save it again"),
    ],
)
def test_what_is_not_read_is_named(data: bytes, code: str, words: str) -> None:
    refused = failure(data)

    assert refused.code == code
    assert words in refused.detail


def test_an_encrypted_opendocument_file_says_so() -> None:
    manifest = b"<manifest><file-entry><encryption-data/></file-entry></manifest>"
    parts = {"mimetype": b"application/vnd.oasis.opendocument.text", "META-INF/manifest.xml": manifest}

    assert failure(zipped(parts)).code == "encrypted"


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("slides.docx", pptx(shape("Pumps", "title")), "Pumps"),
        ("table.zip", xlsx('<row r="1"><c t="s"><v>0</v></c></row>'), "Depths\n\nOstrava"),
        ("letter.txt", docx(paragraph("Kvass is brewed.")), "Kvass is brewed."),
        ("text.bin", opendocument("text", "<text:p>The pump is green.</text:p>"), "The pump is green."),
        ("rich.doc", b"{\\rtf1 The pump is green.}", "The pump is green."),
        ("fragment.rtf", b"{\\pard \\f0 The pump is green.\\par}", "The pump is green."),
        ("plain.docx", b"The pump is green.", "The pump is green."),
        ("mail.eml", b"From: a@b.org\nSubject: Pump\n\nIt is green.", "Pump\n\nFrom: a@b.org\n\nIt is green."),
        ("page.mht", b"Subject: Pump\nContent-Type: text/html\n\n<p>Green.</p>", "Pump\n\nGreen."),
    ],
)
def test_a_file_is_read_as_what_its_bytes_say(name: str, data: bytes, text: str, limits: Limits) -> None:
    assert extract(name, data, limits).text == text


@pytest.mark.parametrize(
    ("data", "advice"),
    [(b"\x89PNG\r\n", "OCR"), (b"%!PS-Adobe", "PDF"), (b"PAR1", "CSV"), (b"Rar!", "the files in it"), (b"ID3", "text")],
)
def test_other_types_are_named_with_advice(data: bytes, advice: str) -> None:
    with pytest.raises(LoadFailed, match=advice):
        kind_of("whatever.pdf", data)


# Presentations


def test_slides_are_pages_with_title_first_items_and_notes() -> None:
    box = shape("Standing above")
    reading = office.read(
        pptx(box + shape("Pumps", "title") + shape("one\ntwo", "body"), box, notes="Say hello."), LARGE
    )

    assert shown(reading) == [
        "Pumps", "Standing above", "- one", "- two", "Notes: Say hello.", "Slide 2", "Standing above",
    ]  # fmt: skip
    assert [one.page for one in reading.pieces] == [1, 1, 1, 1, 1, 2, 2]
    assert reading.pages == 2


def test_numbers_levels_raised_digits_and_tables_of_slides() -> None:
    lines = (
        '<a:p><a:pPr><a:buAutoNum type="alphaLcParenR" startAt="2"/></a:pPr><a:r><a:t>first</a:t></a:r></a:p>'
        '<a:p><a:pPr lvl="1"><a:buChar char="x"/></a:pPr><a:r><a:t>10</a:t></a:r>'
        '<a:r><a:rPr baseline="30000"/><a:t>6</a:t></a:r></a:p>'
    )
    listed = f"<p:sp><p:nvSpPr><p:nvPr/></p:nvSpPr><p:txBody>{lines}</p:txBody></p:sp>"
    cell = "<a:tc><a:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></a:txBody></a:tc>"
    rows = "".join(
        f"<a:tr>{cell.format(a)}{cell.format(b)}</a:tr>" for a, b in (("City", "River"), ("Brno", "Svratka"))
    )
    table = f'<a:tbl><a:tblPr firstRow="1"/>{rows}</a:tbl>'
    frame = f"<p:graphicFrame><a:graphic><a:graphicData>{table}</a:graphicData></a:graphic></p:graphicFrame>"

    reading = office.read(pptx(listed + frame), LARGE)

    assert shown(reading) == ["Slide 1", "b) first", "- 10^6", "City: Brno | River: Svratka"]
    assert [one.level for one in reading.pieces[1:3]] == [1, 2]


def test_a_hidden_slide_is_left_out_with_a_warning() -> None:
    hidden = pptx(shape("x"), slide='show="0"')

    reading = office.read(hidden, LARGE)

    assert reading.pieces == []
    assert [(one.code, one.page) for one in reading.warnings] == [("not read", 1)]


# Workbooks


def row(number: int, *values: str) -> str:
    def cell(place: int, value: str) -> str:
        where = f'r="{"ABCDE"[place]}{number}"'
        if value.startswith("<"):
            return value.replace("<c", f"<c {where}", 1)
        return f'<c {where} t="inlineStr"><is><t>{value}</t></is></c>' if value else ""

    return f'<row r="{number}">{"".join(cell(place, value) for place, value in enumerate(values))}</row>'


def test_a_sheet_says_its_columns_names_and_values_as_they_are_shown() -> None:
    day, share, sum_ = (
        '<c s="1"><v>45292</v></c>',
        '<c s="2"><v>0.25</v></c>',
        "<c><f>A1</f><v>0.30000000000000004</v></c>",
    )
    data = xlsx(
        row(1, "Towns in 2024"),
        row(2, "City", "Since", "Share", "Depth", "Open"),
        row(3, '<c t="s"><v>0</v></c>', day, share, sum_, '<c t="b"><v>1</v></c>'),
        row(5, '<c t="s"><v>1</v></c>', "", "", "<c><v>7</v></c>", ""),
        row(6, "Closed on Mondays."),
    )

    assert read(data) == [
        "Depths", "Towns in 2024", "City: Ostrava | Since: 2024-01-01 | Share: 25% | Depth: 0.3 | Open: TRUE",
        "City: Brno | Depth: 7", "Closed on Mondays.",
    ]  # fmt: skip


def test_tables_without_names_keep_their_places_and_empty_sheets_say_nothing() -> None:
    assert read(xlsx(row(1, "a", "", "c"), row(2, "d", "e", "f"))) == ["Depths", "a | | c", "d | e | f"]
    assert read(xlsx()) == []


def test_text_boxes_on_a_sheet_are_read() -> None:
    box = "<wsDr><sp><p><r><t>Closed in</t></r><r><t> May</t></r></p><p><r><t>Ask Eva</t></r></p></sp></wsDr>"

    assert read(xlsx(drawing=box)) == ["Depths", "Closed in May", "Ask Eva"]
    assert read(xlsx(row(1, "a", "b"), row(2, "c", "d"), drawing=box))[-2:] == ["Closed in May", "Ask Eva"]


# OpenDocument

LEVEL = (
    '<text:list-level-style-number text:level="{}" style:num-format="{}" style:num-prefix="{}" style:num-suffix="{}"/>'
)
NUMBERED = (
    f'<text:list-style style:name="L">{LEVEL.format(1, 1, "", ".")}{LEVEL.format(2, "a", "(", ")")}</text:list-style>'
)


def items(*texts: str, more: str = "") -> str:
    inner = "".join(f"<text:list-item><text:p>{text}</text:p></text:list-item>" for text in texts)
    return f'<text:list text:style-name="L"{more}>{inner}</text:list>'


def test_an_opendocument_text_keeps_headings_numbers_notes_and_rows() -> None:
    said = "<text:note-body><text:p>Or 1932.</text:p></text:note-body>"
    note = f"<text:note><text:note-citation>1</text:note-citation>{said}</text:note>"
    nested = f"<text:list-item><text:p>b</text:p>{items('c', 'd')}</text:list-item>"
    cell = "<table:table-cell><text:p>{}</text:p></table:table-cell>"
    body = (
        '<text:h text:outline-level="2">Rules</text:h>'
        f"<text:p>Opened<text:s/>in{note} 1931</text:p>"
        f'<text:list text:style-name="L"><text:list-item><text:p>a</text:p></text:list-item>{nested}</text:list>'
        + items("e", more=' text:continue-numbering="true"')
        + "<table:table><table:table-header-rows>"
        f"<table:table-row>{cell.format('City')}{cell.format('River')}</table:table-row>"
        f"</table:table-header-rows><table:table-row>{cell.format('Brno')}{cell.format('Svratka')}</table:table-row></table:table>"
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
    )

    reading = office.read(opendocument("text", body, NUMBERED), LARGE)

    assert shown(reading) == [
        "Rules", "Opened in 1931", "[1] Or 1932.", "1. a", "2. b", "(a) c", "(b) d", "3. e",
        "City: Brno | River: Svratka",
    ]  # fmt: skip
    assert reading.pieces[0].level == 2


def test_after_z_letters_of_an_opendocument_list_count_on_or_repeat() -> None:
    body = items("x").replace("<text:list-item>", '<text:list-item text:start-value="28">')
    lettered = LEVEL.format(1, "a", "", ")")
    for level, label in ((lettered, "ab)"), (lettered.replace("/>", ' style:num-letter-sync="true"/>'), "bb)")):
        style = f'<text:list-style style:name="L">{level}</text:list-style>'
        assert read(opendocument("text", body, style)) == [f"{label} x"]


def test_hidden_words_and_raised_numbers_of_an_opendocument_text() -> None:
    styles = (
        '<style:style style:name="H"><style:text-properties text:display="none"/></style:style>'
        '<style:style style:name="U"><style:text-properties style:text-position="super 58%"/></style:style>'
    )
    body = (
        '<text:p>Price 40.<text:span text:style-name="H"> Secret 25.</text:span></text:p>'
        '<text:p text:style-name="H">x</text:p>'
        '<text:p>10<text:span text:style-name="U">6</text:span> cells</text:p>'
    )

    assert read(opendocument("text", body, styles)) == ["Price 40.", "10^6 cells"]


def test_an_opendocument_spreadsheet_is_read_as_shown_and_repeats_within_bounds() -> None:
    cell = "<table:table-cell><text:p>{}</text:p></table:table-cell>"
    rows = "".join(
        f"<table:table-row>{cell.format(a)}{cell.format(b)}</table:table-row>"
        for a, b in (("City", "Depth"), ("Brno", "7 m"))
    )
    many = '<table:table-cell table:number-columns-repeated="16384"/>'
    empty = f'<table:table-row table:number-rows-repeated="1048576">{many}</table:table-row>'
    assert read(opendocument("spreadsheet", f'<table:table table:name="T">{rows}{empty}</table:table>')) == [
        "T", "City: Brno | Depth: 7 m",
    ]  # fmt: skip

    full = empty.replace("/></table:table-row>", "><text:p>wine</text:p></table:table-cell></table:table-row>")
    assert failure(opendocument("spreadsheet", f"<table:table>{full}</table:table>")).code == "too large"


def test_an_opendocument_presentation_has_pages() -> None:
    frame = "<draw:frame{}><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>"
    page = "<draw:page>" + frame.format("", "Body") + frame.format(' presentation:class="title"', "Pumps")
    notes = "<presentation:notes>" + frame.format("", "Say hello.") + "</presentation:notes></draw:page>"

    reading = office.read(opendocument("presentation", page + notes), LARGE)

    assert shown(reading) == ["Pumps", "Body", "Notes: Say hello."]
    assert reading.pages == 1


# E-books, mails, notebooks, Rich Text


def test_a_book_is_read_in_the_order_of_its_spine() -> None:
    book = (
        "<package xmlns:dc='d'><metadata><dc:title>Acids</dc:title><dc:creator>Eva</dc:creator></metadata>"
        "<manifest><item id='b' href='b.xhtml' media-type='application/xhtml+xml'/><item id='a' href='a.xhtml' "
        "media-type='application/xhtml+xml'/>"
        "<item id='n' href='a.xhtml' properties='nav' media-type='application/xhtml+xml'/>"
        "</manifest><spine><itemref idref='n'/><itemref idref='b'/><itemref idref='a'/></spine></package>"
    )
    page = "<html><head><title/></head><body><p><a id='x'/>{}</p></body></html>"
    parts = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": "<container><rootfiles><rootfile full-path='in/book.opf'/></rootfiles></container>",
        "in/book.opf": book,
        "in/a.xhtml": page.format("Malic acid is weak."),
        "in/b.xhtml": page.format("Tartaric acid is strong."),
    }

    reading = office.read(zipped({name: text.encode() for name, text in parts.items()}), LARGE)

    assert shown(reading) == ["Title: Acids | Author: Eva", "Tartaric acid is strong.", "Malic acid is weak."]
    assert reading.metadata == {"title": "Acids", "author": "Eva"}


def test_a_mail_is_read_with_its_head_and_the_names_of_its_attachments() -> None:
    source = (
        "From: =?utf-8?q?J=C3=B3zef?= <j@example.org>\nTo: eva@example.org\nDate: Mon, 1 Jan 2024 10:00:00 +0100\n"
        "Subject: Pump\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n"
        "--x\nContent-Type: multipart/alternative; boundary=y\n\n--y\nContent-Type: text/plain; charset=iso-8859-2\n\n"
        "Pompa jest \u017c\u00f3\u0142ta.\n--y\nContent-Type: text/html\n\n<p>Not this.</p>\n--y--\n"
        "--x\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=plan.pdf\n\n%PDF\n--x--\n"
    )

    reading = mail.read(source.encode("iso-8859-2"), LARGE)

    assert shown(reading) == [
        "Pump", "From: Józef <j@example.org> To: eva@example.org Date: Mon, 01 Jan 2024 10:00:00 +0100",
        "Pompa jest żółta.",
    ]  # fmt: skip
    assert reading.metadata is not None
    assert reading.metadata["title"] == "Pump"
    assert "plan.pdf" in reading.warnings[0].detail


def test_a_mail_in_html_or_within_a_mail_is_read() -> None:
    page = b"Subject: Pump\nContent-Type: text/html; charset=utf-8\n\n<meta charset=latin1><p>It is gr\xc3\xbcn.</p>"
    outer = (
        b"Subject: Fwd\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n\n"
        + page
        + b"\n--x--\n"
    )

    assert shown(mail.read(page, LARGE)) == ["Pump", "It is grün."]
    assert shown(mail.read(outer, LARGE)) == ["Fwd", "Pump", "It is grün."]
    assert shown(mail.read(page.decode().encode("utf-16"), LARGE)) == ["Pump", "It is grün."]


def test_what_is_no_mail_or_encrypted_says_so() -> None:
    with pytest.raises(LoadFailed, match="not a mail"):
        mail.read(b"just words", LARGE)
    with pytest.raises(LoadFailed, match="encrypted"):
        mail.read(b"Subject: x\nContent-Type: application/pkcs7-mime\n\nMIIB", LARGE)


def test_a_notebook_is_read_as_text_code_and_output() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Pumps\n", "\n", "They are green."]},
        {
            "cell_type": "code",
            "source": "print(1)",
            "outputs": [{"text": ["1\n"]}, {"data": {"text/plain": "<Figure>"}}],
        },
    ]
    reading = notebook.read(json.dumps({"nbformat": 4, "cells": cells}).encode(), LARGE)

    assert [(one.kind, one.text.strip()) for one in reading.pieces] == [
        ("heading", "Pumps"), ("paragraph", "They are green."),
        ("code", "print(1)"), ("code", "1"), ("code", "<Figure>"),
    ]  # fmt: skip
    for broken in (b"{}", b"[1]", b"{", b'{"cells": [1]}', b"[" * 100_000):
        with pytest.raises(LoadFailed, match="damaged"):
            notebook.read(broken, LARGE)


def test_rich_text_is_read_with_its_table() -> None:
    cells = "\\trowd\\cellx1000\\cellx2000 {}\\cell {}\\cell\\row"
    source = (
        "{\\rtf1\\ansi The pump is gr\\'fcn.\\par " + cells.format("City", "Depth") + cells.format("Brno", "7 m") + "}"
    )

    assert read(source.encode()) == ["The pump is grün.", "City: Brno | Depth: 7 m"]


@pytest.mark.parametrize("name", ["a.doc", "a.rtf", "a.odt", "a.pptx", "a.xlsx", "a.epub", "a.eml", "a.ipynb"])
def test_nesting_without_end_is_the_files_verdict(name: str, limits: Limits) -> None:
    deep = {
        "a.doc": ole("WordDocument") * 50,
        "a.rtf": b"{\\rtf1 " + b"{" * 200_000,
        "a.odt": opendocument("text", "<text:section>" * 20_000),
        "a.pptx": pptx("<p:grpSp>" * 20_000),
        "a.xlsx": xlsx("<row>" * 20_000),
        "a.epub": zipped({"mimetype": b"application/epub+zip", "META-INF/container.xml": b"<a>" * 20_000}),
        "a.eml": b"Subject: x\nContent-Type: message/rfc822\n\n" * 3000,
        "a.ipynb": b"[" * 100_000,
    }
    with pytest.raises(LoadFailed) as caught:
        extract(name, deep[name], limits)

    assert caught.value.code in ("damaged", "empty")
