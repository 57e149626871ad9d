"""Markdown becomes typed pieces: as it is shown, with the words that its writer meant."""

from __future__ import annotations

import pytest

from rag_service.reading import Limits, extract
from rag_service.reading.blocks import assemble
from rag_service.reading.markdown import read
from rag_service.types import Extracted

MOST = 10**7


def document(source: str) -> Extracted:
    return assemble(read(source.encode(), MOST), MOST)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Tartaric **acid** is\n_strong_, see [the list](http://x.y/a_(b)).", "Tartaric acid is strong, see the list."),
        ("`__init__.py`, __init__.py, self.__class__.x, __Note__", "__init__.py, __init__.py, self.__class__.x, Note"),
        ("2**10 and 3**5, a**2 + b**2, 2*3*4, *so* **it** is", "2**10 and 3**5, a**2 + b**2, 2*3*4, so it is"),
        ("Tom &amp; Ann, 5&nbsp;km, &lt;pump&gt;", "Tom & Ann, 5 km, <pump>"),
        ("List<int>, Map<K, V>, <your-name>", "List<int>, Map<K, V>, <your-name>"),
        ("Use the <script> tag, or <s>.\n\nMore.", "Use the <script> tag, or <s>.\n\nMore."),
        ("if a <b and c> d", "if a <b and c> d"),
        ("See [the manual][m] and [shop].\n\n[m]: http://x 'M'\n[shop]: http://y", "See the manual and shop."),
        ("See [[Pump manual|the manual]] and [[Shop]] ![[photo.png]]#tag", "See the manual and Shop #tag"),
        ("if [[ -f x ]]", "if [[ -f x ]]"),
        ("![A *pump*](x.png)", "A pump"),
        ("12 Mill Lane  \nOstrava\\\nCzechia", "12 Mill Lane\nOstrava\nCzechia"),
        ("Press <kbd>Ctrl</kbd>+C.<br>Wait. 10<sup>6</sup>", "Press Ctrl+C.\nWait. 10^6"),
        ("The fee is ~~100~~ 80", "The fee is 80"),
        ("水泵在\n地下室", "水泵在地下室"),
        ("either | or\n---\nText", "either | or\n\nText"),
        ("Text<!-- not this -->\n\n***\n\n> quoted", "Text\n\nquoted"),
        ("!!! note\n    Turn it off.", "Note\n\nTurn it off."),
    ],
)  # fmt: skip
def test_marks_go_and_words_stay(source: str, text: str) -> None:
    assert document(source).text == text


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("```\na\n~~~\nb\n```", "a\n~~~\nb"),
        ("````md\n```sh\nx\n```\n# no heading\n````", "```sh\nx\n```\n# no heading"),
        ("    # install\n    a | b", "# install\na | b"),
        ("> ```\n> # no heading\n>   x\n> ```", "# no heading\n  x"),
    ],
)
def test_code_keeps_its_lines(source: str, code: str) -> None:
    read = document(f"Run:\n\n{source}\n\n# After\n")

    assert [(one.kind, read.text[one.start : one.end]) for one in read.blocks] == [
        ("paragraph", "Run:"), ("code", code), ("heading", "After"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Grade | Allowance\n--- | ---:\nA | 40 *EUR*\nB |\n\nSo.", "Grade: A | Allowance: 40 EUR\nGrade: B\n\nSo."),
        ("|City|Depth|\n|-|-|\n|Brno|7 m|", "City: Brno | Depth: 7 m"),
        ("> | City | Depth |\n> |---|---|\n> | Brno | 7 m |", "City: Brno | Depth: 7 m"),
        (
            "| Op | Means |\n|---|---|\n| `a | b` | or |\n| `c \\| d` | x |",
            "Op: a | b | Means: or\nOp: c | d | Means: x",
        ),
        ("| | Allowance |\n|---|---|\n| B | |\n| C | a\\|b |", "B\nC | Allowance: a|b"),
        ("| Step |\n|---|\n| Open |", "Step: Open"),
        ("| a | b |\n| 1 | 2 |", "| a | b |\n| 1 | 2 |"),
        ("<table>\n<tr>\n\n<td>Pump</td>\n\n<td>green</td>\n</tr>\n</table>", "Pump | green"),
    ],
)
def test_a_row_of_a_table_names_its_columns(source: str, text: str) -> None:
    assert document(source).text == text


def test_headings_have_their_level_and_no_marks() -> None:
    read = document("Title\n==\nIntro\n\nSub\n---\n\n### Deep ###\n\n# Pumps {#pumps .big}\n\n> ## Quoted\n")

    assert [(one.level, one.title) for one in read.headings] == [
        (1, "Title"), (2, "Sub"), (3, "Deep"), (1, "Pumps"), (2, "Quoted"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("1. a\n1. b", "1. a\n2. b"),
        ("3. a\n5. b", "3. a\n5. b"),
        ("* a\n  1. b\n* [x] c\n* [ ] d", "- a\n1. b\n- ☒ c\n- ☐ d"),
        ("Pump\n: It lifts water.", "Pump: It lifts water."),
    ],
)
def test_items_keep_their_marks(source: str, text: str) -> None:
    read = document(source)

    assert read.text == text
    assert {block.kind for block in read.blocks} == {"item"}


def test_footnotes_are_notes() -> None:
    read = document("Wine[^a] is red.\n\n[^a]: Mostly.\n")

    assert read.text == "Wine [1] is red.\n\n1. Mostly."
    assert [block.kind for block in read.blocks] == ["paragraph", "note"]


@pytest.mark.parametrize(
    ("front", "facts"),
    [
        ("---\ntitle: 'Pump: manual'\n---", {"title": "Pump: manual"}),
        ('---\ntags: [x, "y"]\nlist:\n  - p\n  - q\nempty:\n---', {"tags": "x, y", "list": "p, q"}),
        ("---\ntext: >\n  two\n  lines\ndate: 2020-01-02 # when\n...", {"text": "two lines", "date": "2020-01-02"}),
        ("---\nnested:\n  key: value\nlast: 1\n---", {"last": "1"}),
        ('+++\ntitle = "Pump"\ntags = ["x", "y"]\n+++', {"title": "Pump", "tags": "x, y"}),
        ("---\n" + "".join(f"key{n}: v\n" for n in range(90)) + "---", {f"key{n}": "v" for n in range(90)}),
    ],
)
def test_front_matter_is_what_is_known_of_the_file(front: str, facts: dict[str, str]) -> None:
    read = document(f"{front}\n\nTurn the key.\n")

    assert read.metadata == facts
    assert read.text.endswith("Turn the key.")
    assert "---" not in read.text


@pytest.mark.parametrize(
    "source", ["---\nText here\n---\nmore", "---\n\nNote: a rule\n\n---\n", "+++\nnot toml\n+++\n"]
)
def test_lines_of_marks_are_no_front_matter_by_themselves(source: str) -> None:
    assert document(source).metadata == {}


def test_sentences_that_are_indented_like_code_are_read_as_text() -> None:
    found = document(
        "*    *   63\n\n    *   Who drives may **not** stop longer than\n        three minutes on the road.\n"
    )
    code = document("Run:\n\n    cp -r here there and then over there.\n")

    assert ("item", "- Who drives may not stop longer than three minutes on the road.") in [
        (one.kind, found.text[one.start : one.end]) for one in found.blocks
    ]
    assert code.blocks[1].kind == "code"


def test_title_and_description_are_said_once() -> None:
    front = "---\ntitle: Pump manual\ndescription: How it works\n---\n"

    assert document(f"{front}Turn the key.").text == "Pump manual\n\nHow it works\n\nTurn the key."
    assert document(f"{front}# Pump manual\n\nHow it works").text == "Pump manual\n\nHow it works"


def test_a_damaged_character_is_reported() -> None:
    [warning] = assemble(read("Größe, naïve, façade ".encode() + b"\xff", MOST), MOST).warnings

    assert warning.code == "characters replaced"


def test_html_around_markdown_hides_nothing_that_follows() -> None:
    read = document("<div align=center>\n\n# Pump\n\n</div>\n\n<iframe src=x>\n\nAfter.\n\n<title>\n\nLast.")

    assert read.text == "Pump\n\nAfter.\n\nLast."


@pytest.mark.parametrize(
    "marks", ["<s>", "**a ", "[", "![", "_a ", "__a", "`a", "<!--", "- [a](", "[[", "1*a", "<b ", "> ", "~~a ", "[^a]"]
)
def test_a_line_of_nothing_but_marks_is_read_within_the_limit(marks: str, limits: Limits) -> None:
    extract("a.md", b"x " + marks.encode() * (30_000 // len(marks)), limits)
