"""Headings, tables and lists keep their shape on the way from a file to its passages."""

from __future__ import annotations

from make_documents import docx, paragraph, table
from test_loaders import read

from rag_service.chunking import chunk
from rag_service.documents import Extracted, Heading
from rag_service.language import sentences
from rag_service.loaders import Limits


def titles(extracted: Extracted) -> list[tuple[int, str]]:
    """Level and title of each heading, after a look that each stands where it says."""
    for heading in extracted.headings:
        assert extracted.text[heading.start :].startswith(heading.title)
    return [(heading.level, heading.title) for heading in extracted.headings]


def test_a_word_file_keeps_headings_paragraphs_lists_and_rows(limits: Limits) -> None:
    body = (
        paragraph("Wine", "Title")
        + paragraph("Acids", "H1")
        + "<w:p><w:r><w:t>Tartaric</w:t><w:tab/><w:t>acid</w:t></w:r><w:r><w:t> is strong.</w:t></w:r></w:p>"
        + paragraph("Values", "Mine")
        + table(
            (paragraph("Acid"), paragraph("Taste")),
            (paragraph("Malic"), paragraph("green") + paragraph("apple", "H1") + table((paragraph("in"),))),
        )
        + paragraph("one", "Items")
        + paragraph("circular", "Loop")
    )

    extracted = read("a.docx", docx(body), limits)

    assert extracted.text.split("\n\n") == [
        "Wine", "Acids", "Tartaric acid is strong.", "Values", "Acid | Taste\nMalic | green apple in", "- one",
        "circular",
    ]  # fmt: skip
    assert titles(extracted) == [(1, "Wine"), (1, "Acids"), (2, "Values")]


def test_a_word_file_is_read_as_it_is_shown(limits: Limits) -> None:
    body = (
        "<w:p><w:ins><w:r><w:t>Inserted</w:t></w:r></w:ins><w:del><w:r><w:t>deleted</w:t></w:r></w:del></w:p>"
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>In a control.</w:t></w:r></w:p></w:sdtContent></w:sdt>"
        '<w:p><w:r><w:t>Outer</w:t><mc:AlternateContent xmlns:mc="m"><mc:Choice><w:p><w:r><w:t>Box</w:t></w:r></w:p>'
        "</mc:Choice><mc:Fallback><w:p><w:r><w:t>Twice</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent></w:r></w:p>"
    )
    notes = b'<w:footnotes xmlns:w="x"><w:footnote><w:p><w:r><w:t>A note.</w:t></w:r></w:p></w:footnote></w:footnotes>'

    extracted = read("a.docx", docx(body, word__footnotes=notes), limits)

    assert extracted.text.split("\n\n") == ["Inserted", "In a control.", "Box", "Outer", "A note."]


def test_a_table_as_text_says_its_header_in_each_row(limits: Limits) -> None:
    source = 'name;acidity;note\nRiesling;7,2;"dry, very; fresh\nand nice"\nMüller;;\n;1;x;more\n'
    expected = (
        "name: Riesling | acidity: 7,2 | note: dry, very; fresh and nice\nname: Müller\nacidity: 1 | note: x | more"
    )

    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        assert read("a.csv", source.encode(encoding), limits).text == expected


def test_delimiters_and_headers_are_found(limits: Limits) -> None:
    assert read("a.csv", b"a\tb\n1,5\t2\n", limits).text == "a: 1,5 | b: 2"
    assert read("a.tsv", b"sep=|\na|b\n1|2\n", limits).text == "a: 1 | b: 2"
    assert read("a.csv", b",name\n0,Riesling\n", limits).text == "0 | name: Riesling"
    assert read("a.csv", b"1,2\n3,4\n", limits).text == "1 | 2\n3 | 4"
    assert read("a.csv", b"a,a\n3,4\n", limits).text == "a | a\n3 | 4"
    assert read("a.csv", b"only,one line\n", limits).text == "only | one line"


def test_html_and_markdown_keep_headings_and_rows(limits: Limits) -> None:
    page = (
        b"<title>Wine</title><h1>Acids <i>of</i>\nwine</h1>x<h2>Values</h2><p hidden>no</p>"
        b"<table><tr><th>Name<th>pH<tr><td><p>Malic</p><p>acid</p><td>3.4<br>low</table>"
        b"<table><tr><td><h2>Layout</h2><p>one</p><p>two</p><table><tr><td>in<td>ner</table></table>&#1;forged"
    )
    html = read("a.html", page, limits)
    assert html.text.split("\n\n") == [
        "Wine", "Acids of wine", "x", "Values", "Name | pH\nMalic acid | 3.4 low", "Layout", "one", "two", "in | ner",
        "forged",
    ]  # fmt: skip
    assert titles(html) == [(1, "Acids of wine"), (2, "Values"), (2, "Layout")]

    source = (
        b"Title\n==\nIntro\n\nSub\n---\n\n### Deep ###\n| a | b |\n|--|:-|\n| 1|2 |\n\n- item\n---\n\x01forged\n#\n"
    )
    markdown = read("a.md", source, limits)
    assert markdown.text == "Title\n\nIntro\n\nSub\n\nDeep\n\na: 1 | b: 2\n\n- item\n\nforged #"
    assert titles(markdown) == [(1, "Title"), (2, "Sub"), (3, "Deep")]


def test_a_row_is_one_sentence_and_is_never_cut() -> None:
    rows = [f"name: Wine {number} | note: Dry. Very fresh | year: 19{number:02}" for number in range(40)]
    text = "Values\n\n" + "\n".join(rows) + "\n\nAfter. That."

    assert [text[start:end] for start, end in sentences(text)] == ["Values", *rows, "After.", "That."]
    spans = chunk(Extracted(text), lambda texts: [len(one.split()) for one in texts], 40, 12)
    for span in spans:
        assert set(text[span.start : span.end].split("\n")) <= {"Values", "", *rows, "After. That."}


def test_a_passage_knows_the_headings_it_stands_under() -> None:
    text = (
        "Wine\n\nAcids\n\n"
        + "Tartaric acid is strong. " * 8
        + "\n\nMalic\n\n"
        + "It is green. " * 8
        + "\n\nBeer\n\n"
        + "It is brewed. " * 8
    )
    headings = tuple(
        Heading(level, text.index(title), title)
        for level, title in ((1, "Wine"), (2, "Acids"), (3, "Malic"), (1, "Beer"))
    )

    spans = chunk(Extracted(text, headings=headings), lambda texts: [len(one.split()) for one in texts], 35, 0)

    assert [(text[span.start : span.start + 4], span.heading) for span in spans] == [
        ("Wine", "Wine > Acids"), ("Mali", "Wine > Acids > Malic"), ("Beer", "Beer"),
    ]  # fmt: skip
