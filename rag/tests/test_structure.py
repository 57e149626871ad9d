"""Headings, tables and lists keep their shape on the way from a file to its passages."""

from __future__ import annotations

from collections.abc import Sequence

from test_loaders import read

from rag_service.indexing.chunk import chunk
from rag_service.language import sentences
from rag_service.reading import Limits
from rag_service.reading.blocks import Piece, Reading, assemble
from rag_service.types import Extracted


def titles(extracted: Extracted) -> list[tuple[int, str]]:
    """Level and title of each heading, after a look that each stands where it says."""
    for heading in extracted.headings:
        assert extracted.text[heading.start :].startswith(heading.title)
    return [(heading.level, heading.title) for heading in extracted.headings]


def test_a_table_as_text_says_its_header_in_each_row(limits: Limits) -> None:
    source = 'name;acidity;note\nRiesling;7,2;"dry, very; fresh\nand nice"\nMüller;;\n;1;x;more\n'
    expected = (
        "name: Riesling | acidity: 7,2 | note: dry, very; fresh and nice\nname: Müller\nacidity: 1 | note: x | more"
    )

    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        assert read("a.csv", source.encode(encoding), limits).text == expected


def test_a_row_is_one_sentence_and_is_never_cut() -> None:
    rows = [f"name: Wine {number} | note: Dry. Very fresh | year: 19{number:02}" for number in range(40)]
    text = "Values\n\n" + "\n".join(rows) + "\n\nAfter. That."

    assert [text[start:end] for start, end in sentences(text)] == ["Values", *rows, "After.", "That."]
    spans = chunk(Extracted(text), lambda texts: [len(one.split()) for one in texts], 40, 12)
    for span in spans:
        assert set(text[span.start : span.end].split("\n")) <= {"Values", "", *rows, "After. That."}


def test_a_passage_knows_the_headings_it_stands_under() -> None:
    parts = [
        Piece("heading", "Wine", 1),
        Piece("heading", "Acids", 2),
        Piece("paragraph", "Tartaric acid is strong. " * 8),
        Piece("heading", "Malic", 3),
        Piece("paragraph", "It is green. " * 8),
        Piece("heading", "Beer", 1),
        Piece("paragraph", "It is brewed. " * 8),
    ]
    extracted = assemble(Reading(parts), 10_000)

    spans = chunk(extracted, lambda texts: [len(one.split()) for one in texts], 35, 0)

    assert [(extracted.text[span.start : span.start + 4], span.heading) for span in spans] == [
        ("Wine", "Wine > Acids"), ("Mali", "Wine > Acids > Malic"), ("Beer", "Beer"),
    ]  # fmt: skip


def test_a_row_an_item_and_a_line_of_code_are_not_cut() -> None:
    rows = [Piece("row", f"Valve: {number} | Checked: in the spring. Every year") for number in range(6)]
    code = Piece("code", "\n".join(f"    step{number}(). wait().  # twice. Then go" for number in range(6)))
    extracted = assemble(Reading([*rows, code]), 10_000)
    lines = {line.strip() for line in extracted.text.split("\n") if line}

    spans = chunk(extracted, lambda texts: [len(one.split()) for one in texts], 25, 10)

    assert len(spans) > 2
    for span in spans:
        assert {line.strip() for line in extracted.text[span.start : span.end].split("\n") if line.strip()} <= lines


def test_a_long_text_without_a_sentences_end_is_cut_in_one_pass() -> None:
    """Each character is looked at a few times at most, however long the text is."""
    looked = 0

    def count(texts: Sequence[str]) -> list[int]:
        nonlocal looked
        looked += sum(map(len, texts))
        return [len(one) // 5 for one in texts]

    text = "wine and water " * 40_000
    spans = chunk(Extracted(text), count, 160, 32)

    assert "".join(text.split()) == "".join("".join(text[one.start : one.end].split()) for one in spans)
    assert looked < 8 * len(text)
