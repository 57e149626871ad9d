"""Plain text and tables as text: their encoding, their rows, and the structure that lines show."""

from __future__ import annotations

import random

import pytest

from rag_service.errors import LoadFailed
from rag_service.reading import blocks, csv, text
from rag_service.reading.blocks import Reading, assemble
from rag_service.types import Extracted

LIMIT = 1024 * 1024


def table(source: str | bytes) -> Extracted:
    return assembled(csv.read(source if isinstance(source, bytes) else source.encode(), LIMIT))


def plain(source: str | bytes) -> Extracted:
    return assembled(text.read(source if isinstance(source, bytes) else source.encode(), LIMIT))


def assembled(reading: Reading) -> Extracted:
    return assemble(reading, LIMIT)


def kinds(extracted: Extracted) -> list[tuple[str, str]]:
    return [(block.kind, extracted.text[block.start : block.end]) for block in extracted.blocks]


# Texts of the languages that an encoding was made for.
@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1252", "“It’s on” – déjà vu at the café costs €5."),
        ("cp1252", "Über die Brücke führt der Weg – für Fußgänger."),
        ("cp1252", "È possibile stabilire che cosa è stato."),
        ("mac_roman", "L’été est fermé. Déjà vu à la crèche, où l’hôtel brûle."),
        ("mac_roman", "Die Brücke führt über den Fluß; für Fußgänger schön."),
        ("mac_roman", "El año pasado el jardín tenía más árboles que éste."),
        ("cp850", "Die Brücke führt über den Fluß; für Fußgänger schön."),
        ("cp1250", "Čerpadlo stojí ve sklepě a pracuje jen v noci, když je elektřina levná."),
        ("iso8859_2", "Čerpadlo stojí ve sklepě a pracuje jen v noci, když je elektřina levná."),
        ("cp1250", "Pompa stoi w piwnicy i działa tylko w nocy, bo prąd jest wtedy tańszy."),
        ("iso8859_2", "Pompa stoi w piwnicy i działa tylko w nocy, bo prąd jest wtedy tańszy."),
        ("cp1254", "Pompa bodrumda duruyor ve yalnız geceleri çalışıyor, çünkü ışık ucuz."),
        ("cp1251", "Насос стоит в подвале и работает ночью."),
        ("koi8_r", "Насос стоит в подвале и работает ночью."),
        ("cp866", "Насос стоит в подвале и работает ночью."),
        ("mac_cyrillic", "Насос стоит в подвале и работает ночью. Для него Япония далека."),
        ("cp1253", "Η αντλία είναι στο υπόγειο και λειτουργεί τη νύχτα."),
        ("gb18030", "水泵在地下室，夜间工作。水压为五巴。"),
        ("big5", "水泵在地下室，夜間工作。水壓為五巴。"),
        ("shift_jis", "ポンプは地下にあり、夜間に動作します。"),
        ("euc_jp", "ポンプは地下にあり、夜間に動作します。"),
        ("iso2022_jp", "ポンプは地下にあり、夜間に動作します。"),
        ("euc_kr", "펌프는 지하실에 있고 밤에만 작동한다."),
        ("utf-16", "Насос стоит в подвале."),
        ("utf-16-le", "Насос стоит в подвале."),
        ("utf-16-be", "The pump is green."),
        ("utf-32-le", "The pump is green."),
        ("utf-8-sig", "Größe"),
    ],
)
def test_a_text_is_read_in_the_encoding_that_it_was_written_in(encoding: str, words: str) -> None:
    assert plain(words.encode(encoding)).text == words


def test_a_damaged_character_leaves_utf8_what_it_is() -> None:
    extracted = plain("Größe über Öl, naïve ".encode() + b"caf\xe9" + " – faßt 5 €".encode())

    assert extracted.text == "Größe über Öl, naïve caf\ufffd – faßt 5 €"
    assert [(warning.code, warning.detail) for warning in extracted.warnings] == [
        ("characters replaced", "Damaged characters, shown as \ufffd: 1.")
    ]
    assert plain("Größe").warnings == ()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (
            bytes(random.Random(1).choices(range(32, 127), k=40) + random.Random(1).choices(range(128, 256), k=260)),
            "encoding not known",
        ),
        (bytes(random.Random(1).choices(range(256), k=300)), "not text"),
        (b"\x00\x01\x02" * 9, "not text"),
        (bytes(range(1, 32)) * 30, "not text"),
    ],
)
def test_what_no_encoding_makes_words_of_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        plain(data)

    assert caught.value.code == code


def test_colours_and_what_was_typed_over_are_left_out() -> None:
    assert plain("\x1b[32mINFO\x1b[0m pump\x1b]0;title\x07 on").text == "INFO pump on"
    assert plain("N\bNA\bAM\bME\bE and _\bx, 10%\b\b\b20%").text == "NAME and x, 20%"


PROSE = (
    "The pump stands in the cellar and it works at night only, since power is cheap\n"
    "then, and the noise wakes nobody. The water pressure is five bar, and the valve\n"
    "is closed at noon."
)


def test_lines_that_a_margin_broke_are_joined_and_others_stay() -> None:
    address = "Ann Smith\n12 Mill Lane\nOstrava"
    poem = (
        "The river runs beside the mill and never stops to rest,\nThe miller hears it in the night and knows it is the"
        " best,\nThe wheel goes round the whole day long and grinds the golden grain,\nAnd when the summer heat is gone"
        " the river brings the rain."
    )

    assert kinds(plain(f"{PROSE}\n\n{address}\n\n{poem}")) == [
        ("paragraph", PROSE.replace("\n", " ")),
        ("paragraph", address),
        ("paragraph", poem),
    ]


def test_chinese_lines_are_joined_without_blanks_and_hyphens_stay() -> None:
    assert plain("水泵在地下室里，夜间工作，因为那时电价便\n宜，而且噪音不会吵醒其他的人。水压为五巴。").text == (
        "水泵在地下室里，夜间工作，因为那时电价便宜，而且噪音不会吵醒其他的人。水压为五巴。"
    )
    hyphen = PROSE.replace("night only, since power is cheap\nthen", "night only, for it is a well-\nknown pump")
    assert "it is a well-known pump" in plain(hyphen).text


def test_a_title_of_a_section_may_end_with_a_full_stop() -> None:
    source = "Section 12. Definitions.\n\nA boat is a vessel.\n\nSection 13 applies to boats.\n\nNo boat may stay."

    assert [heading.title for heading in plain(source).headings] == ["Section 12. Definitions."]


def test_indented_lines_open_paragraphs() -> None:
    book = (
        "   The first paragraph of the book begins with an indent and goes on for a few\nlines until it ends here.\n"
        "   The second one begins with an indent as well, as it was usual in old books\nthat were set by hand."
    )

    assert [words[:10] for _, words in kinds(plain(book))] == ["The first ", "The second"]


def test_long_lines_are_paragraphs_themselves() -> None:
    line = "A paragraph on one line that goes on for more than a hundred and twenty characters, " * 2

    assert kinds(plain(f"{line}end.\nA short one.\n{line}end.")) == [
        ("paragraph", f"{line}end."), ("paragraph", "A short one."), ("paragraph", f"{line}end."),
    ]  # fmt: skip


def test_headings_are_underlined_numbered_or_in_capitals() -> None:
    source = (
        f"THE PUMP MANUAL\n\n{PROSE}\n\nParts\n=====\nThe lid is steel.\n\n1 Introduction\n\nIt is green.\n\n"
        "1.1 Who reads this\n\nAll do.\n\n2. Cleaning the filter\n\nWash it.\n\nChapter 3: The end\n\nDone.\n\n"
        "SEE ALSO\n    The other manual."
    )

    assert [(heading.level, heading.title) for heading in plain(source).headings] == [
        (1, "THE PUMP MANUAL"), (1, "Parts"), (1, "1 Introduction"), (2, "1.1 Who reads this"),
        (1, "2. Cleaning the filter"), (1, "Chapter 3: The end"), (1, "SEE ALSO"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line", ["A short line without a stop", "20 March 2020", "12 bottles of wine", "STOP!", "A-17 B-4", "You need:"]
)
def test_a_short_line_alone_is_no_heading(line: str) -> None:
    assert plain(f"{PROSE}\n\n{line}\n\n{PROSE}").headings == ()


def test_lists_are_items_with_their_marks() -> None:
    source = (
        "You need:\n- a cloth\n- a brush with\n  soft hair\n- water\nThen go on.\n\n1. Open the lid\n\n2. Wash it\n"
        "   in cold water\n\n3. Close it\n\na) first\nb) second\n   1) deep\nc) third"
    )

    assert kinds(plain(source)) == [
        ("paragraph", "You need:"), ("item", "- a cloth"), ("item", "- a brush with soft hair"), ("item", "- water"),
        ("paragraph", "Then go on."), ("item", "1. Open the lid"), ("item", "2. Wash it in cold water"),
        ("item", "3. Close it"), ("item", "a) first"), ("item", "b) second"), ("item", "1) deep"), ("item", "c) third"),
    ]  # fmt: skip
    assert [(block.label, block.level) for block in plain(source).blocks][-3:] == [("b)", 1), ("1)", 2), ("c)", 1)]


def test_a_number_that_begins_a_line_of_prose_is_no_item() -> None:
    source = (
        "The pump broke in the night and nobody in the house knew what was to be done on\n"
        "12. May, when the water rose in the cellar and the noise woke all the people in\n"
        "the house. J. Smith\nJ. Smith came."
    )

    assert {kind for kind, _ in kinds(plain(source))} == {"paragraph"}


@pytest.mark.parametrize(
    "source",
    [
        "Item     Price   Kg\nPump     5.00    12\nValve            3\nFilter   1.20    1",
        "Item     Price   Kg\n----     -----   --\nPump     5.00    12\nValve            3\nFilter   1.20    1",
        "| Item | Price | Kg |\n|---|---|---|\n| Pump | 5.00 | 12 |\n| Valve | | 3 |\n| Filter | 1.20 | 1 |",
        "+--+--+--+\n|Item|Price|Kg|\n+--+--+--+\n|Pump|5.00|12|\n|Valve||3|\n|Filter|1.20|1|\n+--+--+--+",
        "Item\tPrice\tKg\nPump\t5.00\t12\nValve\t\t3\nFilter\t1.20\t1",
        "Item;Price;Kg\nPump;5.00;12\nValve;;3\nFilter;1.20;1",
    ],
)
def test_tables_among_text_are_rows(source: str) -> None:
    rows = [
        ("row", "Item: Pump | Price: 5.00 | Kg: 12"),
        ("row", "Item: Valve | Kg: 3"),
        ("row", "Item: Filter | Price: 1.20 | Kg: 1"),
    ]

    assert kinds(plain(f"{PROSE}\n\n{source}\n\nEnd of it."))[1:-1] == rows
    assert kinds(plain(source)) == rows


def test_spreadsheets_unicode_text_is_a_table() -> None:
    assert kinds(plain("Plant\tTons\nNorth\t5".encode("utf-16"))) == [("row", "Plant: North | Tons: 5")]


def test_code_keeps_its_lines_and_logs_are_lines() -> None:
    code = "def start(pump):\n    if pump.full:\n\n        return   True"
    source = f"{PROSE}\n\n```\n{code}\n```\n\n    $ pump --start\n    $ pump --stop\n\n[server]\nport = 80\nhost = x"

    assert kinds(plain(source))[1:] == [
        ("code", code), ("code", "$ pump --start\n$ pump --stop"), ("code", "[server]\nport = 80\nhost = x"),
    ]  # fmt: skip
    log = "2024-05-01 10:00:00 INFO started\n2024-05-01 10:00:01 WARN slow"
    assert kinds(plain(log)) == [("row", line) for line in log.split("\n")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("Country,2019,2020\nNorway,5,6\n", "Country: Norway | 2019: 5 | 2020: 6"),
        ("Plant,City,1/22/20,1/23/20\nNorth,Brno,0,1\n", "Plant: North | City: Brno | 1/22/20: 0 | 1/23/20: 1"),
        ("# exported 1 May\n# by tool\nPlant,Tons\nNorth,5\n", "exported 1 May\n\nby tool\n\nPlant: North | Tons: 5"),
        ("#plant\ttons\tkg\nNorth\t5\t1\nS\t6\t2", "plant: North | tons: 5 | kg: 1\nplant: S | tons: 6 | kg: 2"),
        ("#,Name\n1,Ann\n2,Bob\n", "#: 1 | Name: Ann\n#: 2 | Name: Bob"),
        ("Report\n\nPlant;Tons;City\nNorth;5;Brno\n", "Report\n\nPlant: North | Tons: 5 | City: Brno"),
        ("Report;;\nPlant;Tons;City\nNorth;5;Brno\n", "Report\n\nPlant: North | Tons: 5 | City: Brno"),
        ("Date,Open,Date,Close\n1 May,5,2 May,6\n", "Date: 1 May | Open: 5 | Date: 2 May | Close: 6"),
        ("Plant,Tons,,\nNorth,5,x,y\n", "Plant: North | Tons: 5 | x | y"),
        (",name\n0,Riesling\n", "0 | name: Riesling"),
        ("What is it?,Who made it?\nA pump,Ann\n", "What is it?: A pump | Who made it?: Ann"),
        ("a,b\n1,2\na,b\n3,4\n", "a: 1 | b: 2\na: 3 | b: 4"),
        ("sep=|\na|b\n1|2\n", "a: 1 | b: 2"),
        ("a;b;c\n1,5;2,5;3\n4,5;1;2", "a: 1,5 | b: 2,5 | c: 3\na: 4,5 | b: 1 | c: 2"),
        ("a\tb\n1,5\t2\n", "a: 1,5 | b: 2"),
        ('id,text\n1,"a, b\nc, d"\n2,"say ""five"""\n', 'id: 1 | text: a, b c, d\nid: 2 | text: say "five"'),
        ('x,y\n"say \\"hi\\", ok",2\n', 'x: say "hi", ok | y: 2'),
        ('it\tkg\n"Best" tin\t5\n"b\t1\n12" nail\t2', 'it: "Best" tin | kg: 5\nit: "b | kg: 1\nit: 12" nail | kg: 2'),
        ("Plant,Tons\nNorth\nSouth,6,x,y\n", "Plant: North\nPlant: South | Tons: 6 | x | y"),
        ("1,2\n3,4\n", "1 | 2\n3 | 4"),
        ("5,,7\n8,9,\n", "5 | | 7\n8 | 9"),
        ("Norway,Oslo,5\nPeru,Lima,7\n", "Norway | Oslo | 5\nPeru | Lima | 7"),
        ("Norway,1905,2019\nPeru,1821,2020\n", "Norway | 1905 | 2019\nPeru | 1821 | 2020"),
        ("Norway,Oslo\nPeru,Lima\nNorway,Bergen\n", "Norway | Oslo\nPeru | Lima\nNorway | Bergen"),
        ("only,one line\n", "only | one line"),
        ("same,row\n" * 3, "\n".join(["same | row"] * 3)),
        ("", ""),
    ],
)  # fmt: skip
def test_a_row_says_its_columns_names_where_there_are_any(source: str, expected: str) -> None:
    assert table(source).text == expected


def test_a_row_knows_the_names_of_its_values() -> None:
    assert [block.names for block in table("a,b,c\n1,,3\n").blocks] == [("a", "c")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_table_is_read_in_any_encoding(encoding: str) -> None:
    assert table("name;Säure\nMüller;7,2\n".encode(encoding)).text == "name: Müller | Säure: 7,2"


def test_a_table_of_too_many_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (blocks, csv):
        monkeypatch.setattr(module, "MOST_BLOCKS", 2000)
    assert len(table("1,2\n" * 2000).blocks) == 2000
    with pytest.raises(LoadFailed, match="over 2,000 paragraphs and rows"):
        table("1,2\n" * 2001)
