"""Web pages become typed pieces: what a browser shows, in its order, and of a large page the main content alone."""

from __future__ import annotations

import pytest

from rag_service.errors import LoadFailed
from rag_service.reading import Limits, extract, kind_of
from rag_service.reading.blocks import assemble
from rag_service.reading.html import read
from rag_service.types import Extracted

MOST = 10**7


def page(source: str | bytes, content: str = "main") -> Extracted:
    return assemble(read(source if isinstance(source, bytes) else source.encode(), MOST, content), MOST)


def failure(source: str | bytes) -> LoadFailed:
    with pytest.raises(LoadFailed) as caught:
        page(source)
    return caught.value


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>Red <b>and</b>\nwhite</p>after<!-- no --><script>no</script>", "Red and white\n\nafter"),
        ("<div><span>Hel</span><span>lo</span></div><button>Go</button><button>Stop</button>", "Hello\n\nGo Stop"),
        ("<label>Name</label><input value=Ann><input type=hidden value=no>", "Name Ann"),
        ("<input type=checkbox checked>yes <input type=radio>no", "☒ yes ☐ no"),
        ("<select><option>Red<option selected>Blue</select>", "Blue"),
        ("<details><summary>More</summary>Folded.</details>", "More\n\nFolded."),
        ("12 Mill Lane<br>Ostrava<br><br>Call first", "12 Mill Lane\nOstrava\n\nCall first"),
        ('<span style="display:block">One</span><span style="display:block">Two</span>', "One\n\nTwo"),
        ("Press <img alt='the red button' src=x.png> twice<img alt=IMG_2041.jpg>", "Press the red button twice"),
        ("<img alt='A pump'><p>A pump in the cellar</p>", "A pump in the cellar"),
        ("<ruby>東京<rp>(</rp><rt>とうきょう</rt></ruby>に行く", "東京に行く"),
        ("He said <q>no</q>", "He said “no”"),
        ("The fee is <s>100</s> <del>90</del> 80 euro", "The fee is 80 euro"),
        ("<svg><title>Icon</title><text>Valve</text></svg>", "Valve"),
    ],
)
def test_words_stand_as_a_browser_shows_them(source: str, text: str) -> None:
    assert page(source).text == text


@pytest.mark.parametrize(
    "hidden",
    [
        "<p hidden>no", "<p style='display: none'>no", "<p style=visibility:hidden>no", "<p style='opacity:0'>no",
        "<p style='text-indent:-9999px'>no", "<dialog>no</dialog>", "<template>no</template>",
        "<noscript>no</noscript>",
        "<style>.x, #y {display:none}</style><p class='a x'>no", "<style>#y{visibility:hidden}</style><p id=y>no",
    ],
)  # fmt: skip
def test_what_is_hidden_is_left_out(hidden: str) -> None:
    assert page(f"<p>Shown</p>{hidden}").text == "Shown"


@pytest.mark.parametrize(
    "shown",
    [
        "<p aria-hidden=true>yes", "<p style='opacity:0.5'>yes", "<p style='font-size:0.9em'>yes", "<dialog open>yes",
        "<style>@media print{.x{display:none}}</style><p class=x>yes", "<p hidden=until-found>yes",
        "<style>.x{display:none} .x{display:block}</style><p class=x>yes",
    ],
)  # fmt: skip
def test_what_only_looks_hidden_is_kept(shown: str) -> None:
    assert page(shown).text == "yes"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("10<sup>6</sup> per m<sup>2</sup>, 10<sup>-3</sup>, 2<sup>n+1</sup>", "10^6 per m^2, 10^-3, 2^(n+1)"),
        ("1<sup>st</sup> of XX<sup>e</sup> Pump<sup>®</sup>", "1st of XXe Pump®"),
        ("full.<sup>12</sup> Bees<sup>3</sup> dance<sup><a href=#n1>4</a></sup>", "full. 12 Bees 3 dance 4"),
        ("H<sub>2</sub>O, x<sub>1</sub>, 10<sub>2</sub>", "H2O, x1, 10_2"),
        (
            "<math><mfrac><mn>1</mn><mn>2</mn></mfrac><mo>+</mo><msup><mi>x</mi><mrow><mi>n</mi><mo>+</mo><mn>1</mn>"
            "</mrow></msup><annotation>no</annotation></math>",
            "1/2+x^(n+1)",
        ),
    ],
)
def test_powers_and_marks_of_notes_do_not_grow_together_with_what_is_before(source: str, text: str) -> None:
    assert page(source).text == text


def test_headings_may_hold_blocks() -> None:
    read = page("<h2><div>Opening hours</div></h2>x<h3>One<br>Two</h3><div role=heading aria-level=4>Three</div>")

    assert [(one.level, one.title) for one in read.headings] == [(2, "Opening hours"), (3, "One Two"), (4, "Three")]


def test_a_heading_that_is_never_closed_loses_no_words() -> None:
    words = "word " * 60

    assert page(f"<h2><p>{words}<p>{words}").text == f"{words.strip()}\n\n{words.strip()}"


def test_code_keeps_its_lines() -> None:
    read = page("<pre><code>def f(x):\n    if x:\n        return 1\n</code></pre><pre><div>a</div><div> b</div></pre>")

    assert read.text == "def f(x):\n    if x:\n        return 1\n\na\n b"
    assert [block.kind for block in read.blocks] == ["code", "code"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<ol><li>Open</li><li value=5>Turn</li><li>Stop</li></ol>", "1. Open\n5. Turn\n6. Stop"),
        ("<ol start=27 type=a><li>x</ol><ol type=I start=4><li>y</ol>", "aa. x\nIV. y"),
        ("<ol reversed><li>x<li>y</ol>", "2. x\n1. y"),
        ("<ul><li>p<ol><li>q</ol>tail</ul>", "- p\n1. q\ntail"),
        ("<ol><li><p>One</p><p>more</p></ol>", "1. One\nmore"),
        ("<ol><li><h3>Open</h3>the lid</ol>", "1. Open\n\nthe lid"),
        (
            "<dl><dt>Pump<dd>It lifts water.<dt>A<dt>B:<dd>both<dt>alone</dl>",
            "Pump: It lifts water.\nA, B: both\nalone",
        ),
    ],
)
def test_items_keep_their_numbers_and_terms(source: str, text: str) -> None:
    assert page(source).text == text


def test_items_know_how_deep_they_are() -> None:
    blocks = page("<p>x</p><ul><li>a<ul><li>b</ul></ul><dl><dt>t<dd>d</dl>").blocks

    assert [(one.kind, one.level) for one in blocks] == [("paragraph", 0), ("item", 1), ("item", 2), ("item", 1)]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("<tr><th>City<th>Depth<tr><td>Ostrava<td>12 m", "City: Ostrava | Depth: 12 m"),
        ("<tr><td><b>City</b><td><b>Depth</b><tr><td>Brno<td>7 m", "City: Brno | Depth: 7 m"),
        ("<tr><td>Gas<td><td>7<tr><td><td>4<td>", "Gas | | 7\n| 4 |"),
        ("<tr><th><th>2019<th>2020<tr><td>Gas<td><td>7", "Gas | 2020: 7"),
        ("<tr><th>Name<td>Ann<tr><th>Age:<td>5", "Name: Ann\nAge: 5"),
        ("<tr><th>City<th>Depth", "City | Depth"),
        ("<thead><tr><th>Step<tbody><tr><td>Open", "Step: Open"),
        (
            "<thead><tr><th rowspan=2>City<th colspan=2>2019<tr><th>Q1<th>Q2<tbody><tr><td rowspan=2>Brno<td>1<td>2"
            "<tr><td>3<td>4<tr><td colspan=3>Source: office",
            "City: Brno | 2019 Q1: 1 | 2019 Q2: 2\nCity: Brno | 2019 Q1: 3 | 2019 Q2: 4\nSource: office",
        ),
        ("<tr><th>Day<th>Mon<th>Tue<tr><td>Night<td colspan=2>closed", "Day: Night | Mon: closed | Tue: closed"),
        ("<caption>Pumps</caption><tr><th>A<th>B<tr><td><p>1</p><p>2</p><td><ul><li>3", "Pumps\n\nA: 1 2 | B: 3"),
    ],
)
def test_a_row_of_a_table_names_its_columns(rows: str, text: str) -> None:
    assert page(f"<table>{rows}</table>").text == text


def test_a_table_that_places_things_on_the_page_is_none() -> None:
    read = page("<table><tr><td>Left<td><h2>Layout</h2><p>one</p><table><tr><td>in<td>ner</table></table>")

    assert read.text == "Left\n\nLayout\n\none\n\nin | ner"


def test_a_table_of_wide_cells_stays_within_the_limit() -> None:
    wide = b"<table><tr><th colspan=250>y<th>z<tr><td rowspan=65000 colspan=250>" + b"words " * 200 + b"<td>1"
    with pytest.raises(LoadFailed) as caught:
        read(wide + b"<tr><td>2" * 1000, 100_000)

    assert caught.value.code == "too large"


@pytest.mark.parametrize(
    ("label", "encoding", "words"),
    [
        ("iso-8859-1", "cp1252", "“It’s done” – €5"),
        ("utf-8", "utf-8", "Zażółć gęślą"),
        ("iso-8859-2", "iso-8859-2", "Zażółć gęślą"),
        ("x-sjis", "cp932", "ポンプ"),
        ("gb2312", "gb18030", "水泵在地下室"),
        ("iso-8859-1", "utf-8", "Größe"),
        ("utf-8", "cp1252", "naïve Größe"),
        ("no-such", "utf-8", "Größe"),
        ("rot13", "utf-8", "Plain"),
    ],
)
def test_a_page_says_its_encoding_as_browsers_take_it(label: str, encoding: str, words: str) -> None:
    assert page(f"<meta charset={label}><p>".encode() + words.encode(encoding)).text == words
    assert page(f'<?xml version="1.0" encoding="{label}"?><p>'.encode() + words.encode(encoding)).text == words


def test_one_bad_byte_is_replaced_and_reported() -> None:
    read = page("<meta charset=utf-8><p>Größe, naïve, façade ".encode() + b"\xff" + b" and more.")

    assert read.text == "Größe, naïve, façade \ufffd and more."
    assert [warning.code for warning in read.warnings] == ["characters replaced"]
    assert page("<p>Größe, naïve, façade ".encode() + b"\xff" + b" and more.").warnings == read.warnings


def test_bytes_that_are_no_text_are_refused() -> None:
    assert failure(b"<meta charset=utf-8>\xc3\xa9\xc3\xa9\xc3\xa9" + bytes(range(0x80, 0x83)) * 30).code == "not text"


def test_the_title_is_the_first_heading_unless_the_page_says_it() -> None:
    assert page("<title>Wine</title><p>Red.").text == "Wine\n\nRed."
    assert page("<title>Acids – Wine</title><h1>Acids</h1><p>Sour.").text == "Acids\n\nSour."
    assert page("<title>T</title><p>The Tall Tree.").text == "T\n\nThe Tall Tree."


def test_a_page_says_what_is_known_of_it() -> None:
    read = page(
        "<html lang=de><title>Säuren</title><meta name=description content='Über  Säuren'>"
        "<meta name=author content=Ann>"
        '<script type="application/ld+json">{"@graph": [{"datePublished": "2020-01-02"}]}</script><p>Sauer.'
    )

    assert read.metadata == {
        "title": "Säuren", "description": "Über Säuren", "author": "Ann", "date": "2020-01-02", "language": "de",
    }  # fmt: skip


def test_an_article_for_search_engines_is_read_where_the_page_shows_nothing() -> None:
    data = '<script type="application/ld+json">{"@type": "Article", "articleBody": "Bees dance. They do."}</script>'

    assert page(f"<div id=root></div>{data}").text == "Bees dance. They do."
    assert page(f"<p>Bees dance. They do so every day.</p>{data}").text == "Bees dance. They do so every day."


def test_a_page_without_text_says_what_to_do() -> None:
    assert "JavaScript" in failure("<title>T</title><div id=app></div><script src=x></script>").detail
    assert "a.html" in failure("<title>T</title><frameset><frame src=a.html></frameset>").detail
    assert failure("<title>T</title>").code == "empty"


@pytest.mark.parametrize(
    "opening", ["<!DOCTYPE html>", "\ufeff<html>", '<?xml version="1.0"?>\n<!-- c --><!DOCTYPE html PUBLIC "x"><html>']
)
def test_a_page_is_known_by_how_it_begins(opening: str, limits: Limits) -> None:
    data = f"{opening}<p>The pump is green.".encode()

    assert kind_of("page.txt", data) == "html"
    assert extract("page.txt", data, limits).text == "The pump is green."


PARAGRAPHS = [
    f"Paragraph {number}: bees dance on the comb to tell the others where food is to be found." for number in range(20)
]
ARTICLE = "<h1>Bees</h1>" + "".join(f"<p>{one}</p>" for one in PARAGRAPHS)
AROUND = (
    "<nav><a href=/>Home</a> <a href=/x>Wasps</a></nav><div class='cookie-banner'>We use cookies to improve this site "
    "and to show adverts that are of interest to you.</div>",
    "<div class=comments><p>First! I have always said that bees are the best of all animals, with cats.</p></div>"
    + "<div>" + "".join(f"<div><h3><a href=/{n}>Teaser number {n} here</a></h3>Soon</div>" for n in range(4)) + "</div>"
    + "<footer>Copyright 2026</footer>",
)  # fmt: skip


def test_of_a_large_page_the_main_content_is_read() -> None:
    read = page(f"{AROUND[0]}<div><div class=text>{ARTICLE}</div></div>{AROUND[1]}")

    assert read.text.split("\n\n") == ["Bees", *PARAGRAPHS]


def test_all_of_a_page_is_read_where_that_is_asked(limits: Limits) -> None:
    data = f"<html>{AROUND[0]}<div><div class=text>{ARTICLE}</div></div>{AROUND[1]}".encode()
    everything = Limits(limits.file_bytes, limits.seconds, limits.memory_bytes, limits.text_bytes, html="all")

    assert "cookies" not in extract("a.html", data, limits).text
    for words in ("Home", "cookies", "First!", "Teaser number 3", "Copyright"):
        assert words in extract("a.html", data, everything).text


@pytest.mark.parametrize(
    "inside",
    [
        "<pre><span class=comment># a comment in code</span></pre>",
        "<aside class=note>A note of the manual.</aside>",
        "<section id=comments><h2>Comments in YAML</h2><p>They begin with a mark.</p></section>",
        "<h3><button>How is it cleaned?</button></h3><p>With water.</p>",
        "<h4><a href=/std/x>fn pump</a> in <a href=/std/y>cellar</a></h4>",
        "<table><tr><th>Valve<th>Bar<tr><td>A<td>5</table>",
        "<div class=elementor-widget>Words in a page builder's box.</div>",
    ],
)
def test_what_documentation_is_made_of_is_content(inside: str) -> None:
    source = f"{AROUND[0]}<main><div>{ARTICLE}{inside}</div></main>{AROUND[1]}"

    assert page(inside, "all").text.split("\n\n")[-1] in page(source).text


def test_a_page_of_nothing_but_what_is_left_out_is_read_whole() -> None:
    posts = "".join(f"<div class=comment><p>{one}</p></div>" for one in PARAGRAPHS)

    assert page(f"<div>{posts}</div>").text.split("\n\n") == PARAGRAPHS


def test_a_small_page_is_read_whole_but_for_its_menu() -> None:
    assert page("<nav>Home</nav><p>The pump.</p><div class=comments>Green.</div>").text == "The pump.\n\nGreen."


def test_a_page_may_nest_deeply(limits: Limits) -> None:
    assert extract("a.html", b"<div>" * 10_000 + b"deep", limits).text == "deep"
