"""Files of every kind become text; bad ones get a reason, and do nothing to the process that asked."""

from __future__ import annotations

import io

import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from rag_service.documents import Extracted
from rag_service.errors import LoadFailed
from rag_service.loaders import Limits, extract, kind_of, parsers
from rag_service.loaders import __main__ as child


def pdf(*pages: str, password: str = "") -> bytes:
    """A PDF with one line of text on each page; "" makes a page without text."""
    writer = PdfWriter()
    font = DictionaryObject({
        NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1"),
        NameObject("/BaseFont"): NameObject("/Helvetica"),
    })  # fmt: skip
    for text in pages:
        page = writer.add_blank_page(400, 400)
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode() if text else b"0 0 10 10 re f")
        page[NameObject("/Contents")] = writer._add_object(content)
    if password:
        writer.encrypt(password)
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


def read(name: str, data: bytes, limits: Limits) -> Extracted:
    """What the child process reads, which must be what its parser gives here."""
    extracted = extract(name, data, limits)
    assert parsers.parse(kind_of(name, data), data, limits.text_bytes).text.strip() == extracted.text
    return extracted


def failure(name: str, data: bytes, limits: Limits) -> LoadFailed:
    with pytest.raises(LoadFailed) as caught:
        extract(name, data, limits)
    return caught.value


def test_a_pdf_keeps_its_pages(limits: Limits) -> None:
    extracted = read("a.pdf", pdf("Wine is red.", "", "Beer is not."), limits)

    texts = [extracted.text[page.start : page.end] for page in extracted.pages]
    assert texts == ["Wine is red.", "", "Beer is not."]
    assert [page.number for page in extracted.pages] == [1, 2, 3]


def test_a_pdf_is_known_by_its_first_bytes(limits: Limits) -> None:
    assert read("wrongly-named.txt", pdf("Wine is red."), limits).text == "Wine is red."


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (pdf("secret", password="open sesame"), "encrypted"),
        (pdf("cut off")[:-200], "damaged"),
        (pdf("", ""), "only pictures"),
        (b"%PDF-1.7\nnothing of a PDF follows\n%%EOF", "damaged"),
    ],
)
def test_a_pdf_that_cannot_be_read_says_why(data: bytes, code: str, limits: Limits) -> None:
    assert failure("a.pdf", data, limits).code == code
    with pytest.raises(LoadFailed) as here:
        parsers.parse("pdf", data, limits.text_bytes)
    assert here.value.code == code


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.txt", b"", "empty"),
        ("a.txt", b" \n\t ", "empty"),
        ("a.md", b"---\ntitle: nothing else\n---\n", "empty"),
        ("a.html", b"<script>alert(1)</script>", "empty"),
        ("no-suffix", b"text", "unknown type"),
        ("a.txt", b"\x89PNG\r\n\x1a\n and what follows", "unknown type"),
        ("a.txt", b"\x00\x01\x02" * 9, "not text"),
        ("a.txt", bytes(range(1, 32)) * 30, "not text"),
        ("a.txt", b"x" * (1024 * 1024 + 1), "too large"),
    ],
)
def test_a_file_that_is_no_document_says_why(name: str, data: bytes, code: str, limits: Limits) -> None:
    assert failure(name, data, limits).code == code


def test_text_that_grows_beyond_its_limit_is_refused(limits: Limits) -> None:
    small = Limits(limits.file_bytes, limits.seconds, limits.memory_bytes, text_bytes=1000)

    assert failure("a.txt", b"wine " * 300, small).code == "too large"


def test_a_reader_without_enough_memory_fails_alone(limits: Limits) -> None:
    tight = Limits(limits.file_bytes, limits.seconds, memory_bytes=24 * 1024 * 1024, text_bytes=limits.text_bytes)

    assert failure("a.pdf", pdf("text"), tight).code in ("damaged", "too much memory")


def test_a_reader_that_takes_too_long_is_ended(limits: Limits) -> None:
    hasty = Limits(limits.file_bytes, seconds=0.001, memory_bytes=limits.memory_bytes, text_bytes=limits.text_bytes)

    assert failure("a.txt", b"text", hasty).code == "too slow"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Rosé für alle".encode(), "Rosé für alle"),
        ("\ufeffRosé".encode(), "Rosé"),
        ("Rosé".encode("utf-16"), "Rosé"),
        ("\ufeffRosé".encode("utf-16-be"), "Rosé"),
        ("Rosé".encode("utf-32"), "Rosé"),
        ("Rosé without a mark".encode("utf-16-le"), "Rosé without a mark"),
        ("Rosé without a mark".encode("utf-16-be"), "Rosé without a mark"),
        ("Rosé für alle".encode("latin-1"), "Rosé für alle"),
        ("Вино бывает красным и белым. ".encode("cp1251") * 20, "Вино бывает красным и белым. " * 20),
        (b"one\r\ntwo\rthree\x07", "one\ntwo\nthree"),
    ],
)
def test_encodings_are_found(data: bytes, text: str, limits: Limits) -> None:
    assert read("a.txt", data, limits).text == text.strip()


def test_markdown_loses_its_marks_and_keeps_its_words(limits: Limits) -> None:
    source = (
        b"---\ntitle: x\n---\n# Acids #\n\nTartaric **acid** is\n_strong_, see [the list](http://x.y).\n\n"
        b"* one\n* `two`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\ncode *stays*\n```\n"
        b"<!-- not this -->\n> quoted\n\n***\n"
    )

    assert read("a.md", source, limits).text == (
        "Acids\n\nTartaric acid is strong, see the list.\n\n- one\n- two\n\na: 1 | b: 2\n\ncode *stays*\n\nquoted"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "Grade | Allowance\n--- | ---:\nA | 40 *EUR*\nB | 32 EUR\nAnd so on.",
            "Grade: A | Allowance: 40 EUR\nGrade: B | Allowance: 32 EUR\n\nAnd so on.",
        ),
        ("Paid is\na | b\n--- | ---\n1 | 2", "Paid is a | b\na: 1 | b: 2"),
        ("| | Allowance |\n|---|---|\n| B | |\n| C | a\\|b |", "B\nC | Allowance: a|b"),
        ("| Grade | Allowance |\n|---|---|\n\nNothing.", "Grade | Allowance\n\nNothing."),
        ("either | or\n---\nText", "either | or\n\nText"),
        ("| a | b |\n| 1 | 2 |", "a | b\n1 | 2"),
        ("|---|---|\n| 1 | 2 |", "1 | 2"),
    ],
)
def test_a_row_of_a_markdown_table_names_its_columns(source: str, expected: str, limits: Limits) -> None:
    assert read("a.md", source.encode(), limits).text == expected


def test_html_shows_what_a_browser_shows(limits: Limits) -> None:
    source = (
        b"<title>Wine</title><style>p{}</style><p>Red <b>and</b>\nwhite</p>after"
        b"<ul><li>one<li>two</ul><table><tr><td>1<td>2</table><!-- no --><script>no</script><pre>a\n b</pre>"
    )

    text = read("a.html", source, limits).text

    assert text == "Wine\n\nRed and white\n\nafter\n\n- one\n- two\n\n1 | 2\n\na\nb"


def test_html_says_its_own_encoding(limits: Limits) -> None:
    source = '<meta charset="iso-8859-2"><p>Zażółć gęślą</p>'.encode("iso-8859-2")

    assert read("a.html", source, limits).text == "Zażółć gęślą"
    assert read("a.html", b'<meta charset="no-such"><p>Plain</p>', limits).text == "Plain"


def test_html_may_nest_deeply(limits: Limits) -> None:
    assert read("a.html", b"<div>" * 20_000 + b"deep", limits).text == "deep"


@pytest.mark.parametrize("marks", [b"**a ", b"[", b"![", b"_a ", b"`a", b"<!--", b"- [a]("])
def test_markdown_of_nothing_but_marks_is_read_within_the_limit(marks: bytes, limits: Limits) -> None:
    assert extract("a.md", marks * (60_000 // len(marks)), limits).text  # in time that grew with the square: too slow


def test_the_child_alone_reads_its_arguments() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        child.main(["text", "many", "1", "1"])
