"""What a PDF shows is what is read, in the order of reading; what cannot be read is said."""

from __future__ import annotations

import re
import zlib

import pytest
from pdf_files import PICTURE, at, lines, pdf, pdf_of_objects, pdf_of_pages, stream

from rag_service.errors import LoadFailed
from rag_service.reading import Limits, extract, kind_of
from rag_service.reading.blocks import assemble
from rag_service.reading.pdf import read
from rag_service.types import Extracted

TEXT = 1024 * 1024
GREEN = "The pump is green."
WHOLE = pdf(GREEN)


def extracted(data: bytes) -> Extracted:
    return assemble(read(data, TEXT), TEXT)


def text_of(*contents: str) -> str:
    return extracted(pdf_of_pages(*contents)).text


def blocks_of(*contents: str) -> list[tuple[str, str]]:
    found = extracted(pdf_of_pages(*contents))
    return [(block.kind, found.text[block.start : block.end]) for block in found.blocks]


def codes_of(data: bytes) -> list[tuple[str, int | None]]:
    return [(warning.code, warning.page) for warning in extracted(data).warnings]


def failure(data: bytes) -> LoadFailed:
    with pytest.raises(LoadFailed) as caught:
        extracted(data)
    return caught.value


# Opening


@pytest.mark.parametrize(
    "data",
    [
        b"<html>%!\n" + WHOLE,
        b"X" * 3000 + WHOLE,
        WHOLE.removesuffix(b"%%EOF"),
        WHOLE.removesuffix(b"%%EOF") + b"%EOF",
        WHOLE + b"\n% comment" * 1000,
        WHOLE.replace(b"/Kids[4 0 R]/Count 1", b"/Kids[4 0 R 2 0 R]/Count 2"),
    ],
    ids=["a page before", "junk before", "no end mark", "wrong end mark", "long tail", "page tree in a circle"],
)
def test_a_file_that_viewers_open_is_read(data: bytes, limits: Limits) -> None:
    assert kind_of("a.pdf", data) == "pdf"
    assert extract("a.pdf", data, limits).text == GREEN


def test_a_pdf_is_known_by_its_first_bytes(limits: Limits) -> None:
    assert extract("wrongly-named.txt", WHOLE, limits).text == GREEN


def test_pages_keep_their_places() -> None:
    found = extracted(pdf("Wine is red.", "", "Beer is not."))

    assert [found.text[page.start : page.end].strip() for page in found.pages] == ["Wine is red.", "", "Beer is not."]
    assert [block.page for block in found.blocks] == [1, 3]


@pytest.mark.parametrize(
    ("data", "code", "says"),
    [
        (pdf("secret", password="open sesame"), "encrypted", "without a password"),
        (WHOLE[:-400], "damaged", "export it again"),
        (b"%PDF-1.7\nnothing of a PDF follows\n%%EOF", "damaged", "no page"),
        (pdf("", ""), "only pictures", "text recognition"),
        (pdf_of_pages("60 60 m 300 300 l S"), "empty", "drawing but no text"),
        (pdf_of_pages(""), "empty", "empty"),
    ],
)
def test_a_pdf_that_cannot_be_read_says_why(data: bytes, code: str, says: str) -> None:
    assert failure(data).code == code
    assert says in failure(data).detail


def test_a_broken_page_costs_no_other_page() -> None:
    broken = zlib.compress(at(60, 700, "Lost.").encode() * 50)[:20].decode("latin-1")
    data = pdf_of_objects(
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R 9 0 R 4 0 R 7 0 R]/Count 4>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 5 0 R>>>>/Contents 6 0 R>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 5 0 R>>>>/Contents 8 0 R>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        stream(at(60, 700, "One is whole.")),
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 5 0 R>>>>/Contents 6 0 R>>",
        stream(broken, "/Filter/FlateDecode"),
    )

    assert extracted(data).text == "One is whole.\n\nOne is whole."
    assert codes_of(data) == [("page lost", 2), ("no text", 3)]


def test_an_operand_that_is_none_costs_no_words_before_it() -> None:
    broken = "BT /F1 11 Tf 60 700 Td [(Page two) FR 13674] TJ ET"

    assert text_of(at(60, 700, "Page one."), broken, at(60, 700, "Page three.")).split("\n\n") == [
        "Page one.", "Page two", "Page three.",
    ]  # fmt: skip


@pytest.mark.parametrize("further", ["", " /NeedsRendering true"])
def test_a_form_that_only_asks_to_wait_is_refused(further: str) -> None:
    wait = at(60, 700, "Please wait... Your viewer may not be able to display this file.")
    data = pdf_of_pages(wait, catalog=f"/AcroForm<</Fields[]/XFA 4 0 R>>{further}", objects=[stream("<xdp/>")])

    assert failure(data).code == "unknown type"


def test_attachments_are_named_as_not_read() -> None:
    tree = "/Names<</EmbeddedFiles<</Names[(a.txt) <</Type/Filespec/F(a.txt)/EF<</F 4 0 R>>>>]>>>>"
    data = pdf_of_pages(at(60, 700, GREEN), catalog=tree, objects=[stream("words", "/Type/EmbeddedFile")])

    assert codes_of(data) == [("attachment", None)]


def test_a_scan_with_a_stamp_on_it_is_read_with_a_warning() -> None:
    data = pdf_of_pages(PICTURE + at(400, 750, "Received in May"), at(60, 700, GREEN), PICTURE)

    assert extracted(data).text == f"Received in May\n\n{GREEN}"
    warnings = extracted(data).warnings
    assert [(one.code, one.page) for one in warnings] == [("only pictures", 1), ("only pictures", 3)]
    assert not any(re.search(r"[Pp]age \d", one.detail) for one in warnings)  # whoever shows them names the page


# Characters

SHIFTED = "7KH SXPS LV JUHHQ DQG LW VWDQGV LQ WKH FHOODU"
CIRCULAR = "Gur chzc vf terra naq vg fgnaqf va gur pryyne orybj gur ubhfr"


@pytest.mark.parametrize("text", [SHIFTED, CIRCULAR, "Íàñîñ ñòîèò â ïîäâàëå è ðàáîòàåò íî÷üþ"])
@pytest.mark.parametrize("font", ["S1", "U1"])
def test_letters_that_are_no_language_are_refused_or_left_out_with_a_warning(text: str, font: str) -> None:
    garbled = at(60, 700, text.encode("latin-1").decode("cp1252") if font == "S1" else text, font)
    mixed = pdf_of_pages(garbled + at(60, 600, GREEN), at(60, 700, "The valve is red."))

    assert failure(pdf_of_pages(garbled)).code == "not text"
    assert extracted(mixed).text == f"{GREEN}\n\nThe valve is red."
    assert codes_of(mixed) == [("unreadable characters", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "Prší a vítr fouká skrz les, strč prst skrz krk, vlk zmrzl, smrk krčí hrb.",
        "PUMP, VALVE AND FILTER: SEE THE MANUAL OF THE WORKS",
        "Xin vui lòng đọc kỹ hướng dẫn sử dụng trước khi dùng máy bơm này ở nhà",
        "Насос стоит в подвале и работает ночью",
        "Sold by XXXXXXXX, XXXXXX and XXXXXXX to XXXXXXXX, XXXX XXXXXX",
        "AB-1234 KX-88 QR-5 TZ-77 XX-12 WW-9",
    ],
)
def test_words_of_any_language_are_no_garbage(text: str) -> None:
    assert text_of(at(20, 700, text, "U1", 8)) == text


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("\ufee1\ufefc\ufeb3", "سلام"),
        ("ＰＵＭＰ　ＡＢ１２　ｶﾞｽ", "PUMP AB12 ガス"),
        ("the \ufb01lter \ufb02ows", "the filter flows"),
        ("电价，便宜。", "电价，便宜。"),
        ("m² ½", "m² ½"),
        ("M¨uller", "Müller"),
    ],
)
def test_forms_of_letters_are_the_letters(shown: str, text: str) -> None:
    assert text_of(at(60, 700, shown, "U1")) == text


@pytest.mark.parametrize("gap", [" ", ""])
def test_letters_set_apart_are_words(gap: str) -> None:
    if gap:
        spaced = at(60, 700, "T h e  p u m p  i s  g r e e n")
    else:
        spaced = "BT /F1 11 Tf 6 Tc 60 700 Td [(The) -600 (pump) -600 (is) -600 (green)] TJ ET"

    assert text_of(spaced) == "The pump is green"


@pytest.mark.parametrize(
    "twice",
    [
        at(60, 700, GREEN) + at(60.4, 700, GREEN),
        "".join(at(60 + 8 * place + shift, 700, one) for place, one in enumerate("GREEN") for shift in (0, 0.5)),
    ],
)
def test_text_printed_twice_to_look_bold_is_read_once(twice: str) -> None:
    assert text_of(twice) in (GREEN, "GREEN")


def test_raised_and_lowered_signs_stay_with_their_words() -> None:
    raised = at(60, 700, "About 10") + at(103.5, 705, "6", size=7) + at(111, 700, "cells per m")
    raised += at(166, 705, "2", size=7) + at(173, 700, "of H") + at(193, 697, "2", size=7) + at(197, 700, "O grow.")

    assert text_of(raised) == "About 10^6 cells per m^2 of H2O grow."


# Lines

LEFT = ("Bees dance on the comb to tell", "where food is. The angle shows", "the way from the sun, and the",
        "length of the run shows how far", "the flowers stand from the hive.")  # fmt: skip
RIGHT = ("Wasps build with paper that they", "chew from dry wood. A nest lasts", "one summer only, and in the cold",
         "all but the young queens die out", "before the first snow has come.")  # fmt: skip


@pytest.mark.parametrize("order", ["left first", "right first", "by row"])
def test_the_left_column_comes_before_the_right_one(order: str) -> None:
    left, right = lines(60, 700, *LEFT).splitlines(True), lines(320, 700, *RIGHT).splitlines(True)
    by_row = [line for pair in zip(left, right, strict=True) for line in pair]
    content = {"left first": left + right, "right first": right + left, "by row": by_row}[order]
    title = at(60, 730, "Insects and what they build, a reader for the long evenings of winter", size=16)

    assert blocks_of(title + "".join(content)) == [
        ("heading", "Insects and what they build, a reader for the long evenings of winter"),
        ("paragraph", " ".join(LEFT)),
        ("paragraph", " ".join(RIGHT)),
    ]


def test_a_table_is_read_row_by_row_and_its_header_names_the_values() -> None:
    header = at(60, 700, "Grade", "B1") + at(200, 700, "Allowance", "B1") + at(340, 700, "Remark", "B1")
    rows = at(60, 686, "A") + at(200, 686, "40") + at(60, 672, "B") + at(200, 672, "32") + at(340, 672, "from May")

    assert blocks_of(header + rows) == [
        ("row", "Grade: A | Allowance: 40"),
        ("row", "Grade: B | Allowance: 32 | Remark: from May"),
    ]


def test_a_table_without_a_header_keeps_the_places_of_empty_cells() -> None:
    rows = at(60, 700, "Lid") + at(200, 700, "steel") + at(340, 700, "new")
    rows += at(60, 686, "Rim") + at(340, 686, "old") + at(60, 672, "Cap") + at(200, 672, "brass") + at(340, 672, "old")

    assert [text for _, text in blocks_of(rows)] == ["Lid | steel | new", "Rim | | old", "Cap | brass | old"]


def rows_at(*rows: tuple[str, ...], font: str = "F1") -> str:
    """Rows of cells, 110 points apart."""
    return "".join(
        at(60 + 110 * column, 700 - 14 * place, cell, font)
        for place, row in enumerate(rows)
        for column, cell in enumerate(row)
    )


def test_a_header_under_the_lines_of_a_form_names_the_values() -> None:
    rows = rows_at(
        ("Patient", "Ann Lee", "Ward B"), ("Test", "Result", "Unit"), ("Iron", "12", "mg"), ("Zinc", "9", "mg")
    )

    assert blocks_of(rows) == [
        ("row", "Patient | Ann Lee | Ward B"),
        ("row", "Test: Iron | Result: 12 | Unit: mg"),
        ("row", "Test: Zinc | Result: 9 | Unit: mg"),
    ]


def test_years_name_the_values_under_them() -> None:
    rows = rows_at(("State", "1951-1961", "2011"), ("Goa", "7.77", "8.1"), ("Assam", "34.98", "16.9"))

    plain = rows_at(("Goa", "2019", "x"), ("Assam", "2020", "y"), ("Bihar", "2021", "z"))

    assert blocks_of(rows)[0] == ("row", "State: Goa | 1951-1961: 7.77 | 2011: 8.1")
    assert blocks_of(plain)[0] == ("row", "Goa | 2019 | x")


def test_a_year_beside_its_label_names_no_column_of_words() -> None:
    form = rows_at(("Name", "Ann", "Year", "2022"), ("Claim", "SF-1", "Make", "Jeep"), ("Phone", "425", "Trim", "Red"))

    assert blocks_of(form)[:2] == [("row", "Name | Ann | Year | 2022"), ("row", "Claim | SF-1 | Make | Jeep")]


def test_numbers_beside_words_are_a_table_and_no_columns() -> None:
    names = ("Basic earnings for each share", "Diluted earnings of the share", "Return on all the net assets")
    words, values = lines(60, 700, *names), lines(330, 700, *(f"-{row}15,424,679,151.15" for row in range(3)))

    assert blocks_of(words + values)[0] == ("row", f"{names[0]} | -015,424,679,151.15")


def test_two_blanks_after_a_sentence_part_no_cells() -> None:
    first = at(60, 700, "Time is allotted for each issue.") + at(
        222, 700, "The board may reply to comments at once or later,"
    )
    second = at(60, 686, "as it decides by itself.") + at(
        186, 686, "It should be noted that complaints are heard as well."
    )

    assert len(blocks_of(first + second)) == 1


def test_a_line_that_ends_with_a_preposition_goes_on() -> None:
    long = "The estimated cost of the repair and of all that the rules ask for is of"

    assert blocks_of(
        lines(
            60,
            700,
            long,
            "1,200,000 euro in this year.",
            "It was paid in two parts by the town of Corran, and by the state, which had asked for it long ago.",
        )
    )[0][1].startswith(f"{long} 1,200,000 euro")


def test_bullets_in_a_font_of_signs_are_bullets() -> None:
    bullets = "".join(at(60, 700 - 14 * row, "y", "W1") for row in range(2))

    assert blocks_of(bullets + lines(75, 700, "Know the causes.", "Name the signs.")) == [
        ("item", "• Know the causes."), ("item", "• Name the signs."),
    ]  # fmt: skip


def test_a_blank_of_no_width_after_a_ligature_parts_no_word() -> None:
    assert text_of(at(60, 700, "to defi ") + at(90, 700, "ne it")) == "to define it"


def test_lines_that_each_begin_with_a_capital_stay_lines() -> None:
    items = [f"Item {row} costs {7 * row} euro and weighs {3 * row} kg" for row in range(12)]

    assert blocks_of(lines(60, 700, *items)) == [("row", item) for item in items]


@pytest.mark.parametrize(("font", "deep"), [("F1", 20), ("C1", 26.4)])
def test_code_keeps_its_lines_and_indents(font: str, deep: float) -> None:
    code = at(60, 700, "def start(pump):", font) + at(60 + deep, 686, "if pump.is_full and pump.pressure > 5:", font)
    code += at(60 + deep, 672, "    return pump.start(slowly=True)", font) + at(60 + deep, 658, "return None", font)
    prose = lines(60, 600, "This is what starts the pump, which stands in the cellar of the old house and which",
                  "works at night, as power is cheap then, and the noise wakes nobody up.")  # fmt: skip

    assert blocks_of(code + prose)[0] == (
        "code",
        "def start(pump):\n    if pump.is_full and pump.pressure > 5:\n        return pump.start(slowly=True)\n"
        "    return None",
    )


PROSE = ("The pump stands in the cellar and it works at night only, since power",
         "is cheap then, and the noise of it does not wake up the other people.")  # fmt: skip


@pytest.mark.parametrize(
    "heading",
    [
        at(60, 660, "2 Cleaning the filter", size=16),
        at(60, 660, "2 Cleaning the filter", "B1"),
        at(60, 652, "2 Cleaning the filter"),
        at(60, 652, "CLEANING THE FILTER"),
    ],
    ids=["large", "bold", "numbered", "capitals"],
)
def test_headings_are_known_by_how_they_look(heading: str) -> None:
    found = blocks_of(lines(60, 700, *PROSE) + heading + lines(60, 630, *PROSE))

    assert [kind for kind, _ in found] == ["paragraph", "heading", "paragraph"]
    assert found[1][1].lower().endswith("cleaning the filter")


def test_levels_of_headings_follow_their_sizes() -> None:
    content = at(60, 740, "Pumps", size=22) + at(60, 715, "Cleaning", size=16) + lines(60, 690, *PROSE)

    assert [(one.level, one.title) for one in extracted(pdf_of_pages(content)).headings] == [
        (1, "Pumps"),
        (2, "Cleaning"),
    ]


def test_bookmarks_are_headings_of_their_page() -> None:
    outline = ["<</First 5 0 R/Last 5 0 R/Count 1>>", "<</Title(Cleaning)/Parent 4 0 R/Dest[6 0 R/Fit]>>"]
    content = at(60, 700, "Cleaning") + at(60, 686, "Open the lid and wash the filter.")
    found = extracted(pdf_of_pages(content, catalog="/Outlines 4 0 R", objects=outline))

    assert [(one.level, one.title) for one in found.headings] == [(1, "Cleaning")]


def test_list_items_keep_their_marks_and_their_lines() -> None:
    items = lines(
        60, 700, "1. Open the lid, which is held by four screws of", "   brass, and take it off.", "2. Wash it."
    )
    signs = at(60, 600, "\x95 one") + at(60, 586, "\x95 two")

    assert blocks_of(items + signs) == [
        ("item", "1. Open the lid, which is held by four screws of brass, and take it off."),
        ("item", "2. Wash it."),
        ("item", "• one"),
        ("item", "• two"),
    ]


@pytest.mark.parametrize(
    ("parted", "whole"),
    [
        (("This is a state-of-", "the-art pump, a well-", "known part, see RFC-", "2119."),
         "This is a state-of-the-art pump, a well-known part, see RFC-2119."),
        (("Die Pumpe steht im Kel\u00ad", "ler und läuft."), "Die Pumpe steht im Keller und läuft."),
        (("Dnes je silná bouř-", "ka a trwał-", "ość."), "Dnes je silná bouřka a trwałość."),
        (("Насос стоит в под-", "вале."), "Насос стоит в подвале."),
        (("The long-lived part. A long-", "lived one."), "The long-lived part. A long-lived one."),
        (("Ein- und Aus-", "gabe, In-", "und Ausland."), "Ein- und Ausgabe, In- und Ausland."),
        (("水泵在地下室里，电价便", "宜，五巴", "，阀门关闭。"), "水泵在地下室里，电价便宜，五巴，阀门关闭。"),
        (("夜間に動作しま", "す。"), "夜間に動作します。"),
        (("The night pump", "works."), "The night pump works."),
    ],
)  # fmt: skip
def test_lines_are_joined_to_words(parted: tuple[str, ...], whole: str) -> None:
    assert text_of(lines(60, 700, *parted, font="U1")) == whole


def test_what_a_page_interrupts_goes_on_after_it() -> None:
    found = extracted(
        pdf_of_pages(
            at(60, 60, "The night pump has an infor-"), at(60, 700, "mation plate, which"), at(60, 700, "is new.")
        )
    )

    assert found.text == "The night pump has an information plate, which is new."
    assert [page.start for page in found.pages] == [0, found.text.index("mation"), found.text.index("is new")]


def test_a_note_does_not_stand_in_the_midst_of_a_paragraph() -> None:
    first = lines(60, 100, *PROSE[:1]) + at(60, 60, "1 A note in small letters.", size=8)

    assert [text for _, text in blocks_of(first, lines(60, 700, *PROSE[1:]))] == [
        "1 A note in small letters.", " ".join(PROSE),
    ]  # fmt: skip


def test_running_titles_and_page_numbers_are_left_out() -> None:
    said = ["One is here.", "Two was there.", "Three is late.", "Four is the last."]
    pages = [
        at(60, 760, f"Pumps, edition 2026, page {page} of 4") + at(60, 740, text) + at(300, 30, str(page))
        for page, text in enumerate(said, start=1)
    ]

    assert text_of(*pages).split("\n\n") == said


def test_rows_of_a_table_over_pages_are_no_running_titles() -> None:
    pages = [
        lines(60, 760, *(f"Item {50 * page + row} costs {7 * row + page} euro" for row in range(50)))
        for page in range(4)
    ]

    assert text_of(*pages).count("Item") == 200


def test_text_from_right_to_left_keeps_its_order() -> None:
    visual = "المضخة في القبو"[::-1]

    assert text_of(at(60, 700, visual, "U1")) == "المضخة في القبو"


def test_turned_text_is_read_after_the_rest() -> None:
    beside = at(30, 300, "Printed in May", turn="0 1 -1 0")

    assert text_of(beside + lines(60, 700, *PROSE)).split("\n\n") == [" ".join(PROSE), "Printed in May"]


# Hidden and lost


def _field(entries: str) -> bytes:
    box = "<</Type/Annot/Rect[100 600 300 620]"
    return pdf_of_pages(at(60, 605, "Plant:"), page="/Annots[4 0 R]", objects=[f"{box}{entries}>>", DRAWN])


DRAWN = stream(
    "BT /F1 11 Tf 2 5 Td (Ostrava works) Tj ET",
    "/Type/XObject/Subtype/Form/BBox[0 0 200 20]"
    "/Resources<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>",
)


@pytest.mark.parametrize(
    "entries",
    [
        "/Subtype/Widget/FT/Tx/T(name)/F 4/AP<</N 5 0 R>>",
        "/Subtype/Widget/FT/Tx/T(name)/F 4/V(Ostrava works)",
        "/Subtype/FreeText/Contents(Ostrava works)/DA(/F1 11 Tf)",
        "/Subtype/FreeText/AP<</N 5 0 R>>",
        "/Subtype/Stamp/AP<</N 5 0 R>>",
    ],
)
def test_what_is_written_in_fields_and_notes_is_read(entries: str) -> None:
    assert extracted(_field(entries)).text == "Plant: Ostrava works"


@pytest.mark.parametrize("entries", ["/Subtype/Widget/FT/Tx/F 2/V(hidden)", "/Subtype/Text/Contents(a comment)"])
def test_what_no_reader_sees_on_the_page_is_not_read(entries: str) -> None:
    assert extracted(_field(entries)).text == "Plant:"


PRICE = at(60, 605, "The price is 40.")


@pytest.mark.parametrize(
    "hidden",
    [
        "1 1 1 rg " + at(60, 590, "The price is 25."),
        at(60, -300, "The price is 25."),
        at(2000, 605, "Hidden."),
        "3 Tr " + at(60, 590, "The price is 25."),
    ],
    ids=["white on white", "below the page", "beside the page", "not drawn"],
)
def test_what_cannot_be_seen_is_left_out(hidden: str) -> None:
    assert text_of(PRICE + hidden) == "The price is 40."


def test_white_on_a_dark_ground_and_the_text_of_a_scan_are_read() -> None:
    dark = "0 0 0.5 rg 50 580 300 24 re f 1 1 1 rg " + at(60, 590, "White on blue.")

    assert text_of(dark) == "White on blue."
    assert text_of(PICTURE + "3 Tr " + at(60, 590, "Found by text recognition.")) == "Found by text recognition."
