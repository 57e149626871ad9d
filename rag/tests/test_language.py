"""Sentences and words, in English and in other languages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from rag_service.language import (
    NEGATIONS,
    content_stems,
    content_words,
    is_content,
    language_of,
    sentences,
    stem,
    word_spans,
    words,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wine is red. Beer is not!  Is water?", ["Wine is red.", "Beer is not!", "Is water?"]),
        ("Dr. Cortez wrote it, e.g. in 2009. It holds.", ["Dr. Cortez wrote it, e.g. in 2009.", "It holds."]),
        ("It is 3.5 g. per litre.", ["It is 3.5 g. per litre."]),
        ("See No. 5. He said no. Then he left.", ["See No. 5.", "He said no.", "Then he left."]),
        ("J. R. Tolkien lives. He said “no.” He left.", ["J. R. Tolkien lives.", "He said “no.”", "He left."]),
        ("Heading\n\nText here", ["Heading", "Text here"]),
        ("List:\n- one\n- two", ["List:", "- one", "- two"]),
        ("See Docket No. FAA–2020–06. It is open.", ["See Docket No. FAA–2020–06.", "It is open."]),
        ("It rose. 2019 was wet.", ["It rose.", "2019 was wet."]),
        ("", []),
    ],
)  # fmt: skip
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("de", ["Am 4. Mai kam z. B. Dr. Weiß.", "Er sagte: „Nein.“", "Dann ging er."]),
        ("de", ["Das war um 700 v. Chr. am Rhein.", "1987 wurde es bzw. er verkauft."]),
        ("fr", ["« Où est-il ? »", "Élise ne sait pas."]),
        ("cs", ["Čerpadlo stojí.", "Řeka teče."]),
        ("ru", ["Насос стоит в г. Москве.", "Он работает."]),
        ("ko", ["펌프는 지하실에 있다.", "밤에 작동한다."]),
        ("zh", ["酒是红色的。", "水不是。"]),
        ("hi", ["पंप तहखाने में है।", "यह रात में चलता है।"]),
    ],
)
def test_sentences_end_as_their_language_ends_them(language: str, expected: list[str]) -> None:
    text = ("" if language == "zh" else " ").join(expected)

    assert [text[start:end] for start, end in sentences(text, language=language)] == expected


def test_sentences_of_a_part_keep_their_place_in_the_whole() -> None:
    text = "Zero. One is here. Two."

    assert [text[start:end] for start, end in sentences(text, 6)] == ["One is here.", "Two."]


def test_a_row_of_closing_marks_takes_no_longer_than_other_text() -> None:
    text = "." + "»" * 2000 + "a"  # to try each way of grouping them would not end

    assert [text[start:end] for start, end in sentences(text)] == [text]


def test_stems_bring_forms_of_a_word_together() -> None:
    assert content_stems("What does it ferment?") == content_stems("fermenting") == content_stems("Fermentation")
    assert content_stems("Die Häuser", "de") == content_stems("des Hauses", "de")
    assert content_stems("Все насосы", "ru") == content_stems("насоса", "ru")
    assert stem("pompa", "xx") == "pompa"


def test_negations_are_words_but_no_subject() -> None:
    spoken = words("It isn't red, and can’t be green.")

    assert [word for word in spoken if word in NEGATIONS] == ["n't", "n't"]
    assert content_words("It isn't red") == ["red"]
    assert content_words("Ist er nicht rot?", "de") == ["rot"]
    assert content_words("not the") == ["not", "the"]
    assert (is_content("nie", "de"), is_content("nie", "en")) == (False, True)


def test_scripts_without_blanks_are_found_by_pairs_of_characters() -> None:
    assert content_stems("水泵", "zh") <= content_stems("水泵在地下室里", "zh")
    assert not content_stems("阀门", "zh") & content_stems("水泵在地下室里", "zh")
    assert content_stems("ปั๊มน้ำ", "th") <= content_stems("มีปั๊มน้ำอยู่", "th")


@pytest.mark.parametrize("text", ["Python3で水泵。", "It isn't red", "हिन्दी में", "e\u0301te\u0301 ＰＵＭＰ"])
def test_words_stand_where_they_say(text: str) -> None:
    for word, start, end in word_spans(text):
        assert words(text[start:end]) == [word]


def test_full_width_letters_are_the_same_word() -> None:
    assert words("ＰＵＭＰ１２ हिन्दी") == ["pump12", "हिन्दी"]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "The pump stands in the cellar and works at night."),
        ("de", "Die Pumpe steht im Keller und arbeitet in der Nacht."),
        ("fr", "La pompe est dans la cave et elle marche la nuit."),
        ("es", "La bomba está en el sótano y funciona por la noche."),
        ("it", "La pompa si trova nella cantina e funziona di notte."),
        ("sv", "Pumpen står i källaren och den arbetar på natten."),
        ("pl", "Pompa stoi w piwnicy i pracuje tylko w nocy, bo jest taniej."),
        ("ru", "Насос стоит в подвале и работает ночью."),
        ("el", "Η αντλία είναι στο υπόγειο."),
        ("ja", "ポンプは地下にあります。"),
        ("zh", "水泵在地下室里。"),
        ("ar", "المضخة في القبو"),
        ("en", "12 34"),
        ("en", ""),
    ],
)
def test_the_language_is_told_by_script_and_function_words(language: str, text: str) -> None:
    assert language_of(text) == language


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_threads_do_not_disturb_each_others_stems() -> None:
    asked = [f"{start}{number}ingly" for number in range(300) for start in ("connect", "fermentation", "nationaliz")]
    alone = [stem(word) for word in asked]
    stem.cache_clear()

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(stem, asked, chunksize=1))

    assert together == alone
