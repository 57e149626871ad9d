"""Neighbours become one hit, copies are dropped, and no offset is ever wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.search.merge import LONGEST, contradictions, copies, merge_hits
from rag_service.types import Hit, Part, Passage

TEXTS = {
    name: "\n\n".join(
        f"{name} {number} tells of {word} and {word}s, and of what {word}s do in the year {number * 7}."
        for number, word in enumerate(["salt", "fish", "bell", "ship", "wall", "boat", "tree", "lamp"] * 4)
    )
    for name in ("One", "Two")
}


def hit(name: str, start: int, end: int, score: float = 0.5, rank: int | None = None) -> Hit:
    passage = Passage(start + 10_000 * (name == "Two"), name, name + ".txt", None, start, end, TEXTS[name][start:end])
    return Hit(passage, score, score, rank, None, (Part(passage, b""),))


def between(chunk_id: int, start: int, end: int) -> str:
    return TEXTS["Two" if chunk_id >= 10_000 else "One"][start:end]


spans = st.tuples(st.sampled_from(["One", "Two"]), st.integers(0, 1500), st.integers(20, 700))


@given(st.lists(spans, max_size=12, unique_by=lambda span: span[:2]), st.integers(1, 6))
def test_hits_are_whole_pieces_of_their_documents_and_lie_apart(found: list[tuple[str, int, int]], top_k: int) -> None:
    ranked = [hit(name, start, start + length, 1 - place / 20) for place, (name, start, length) in enumerate(found)]

    kept = merge_hits(ranked, top_k, between)

    assert len(kept) == min(top_k, len(kept))
    assert bool(kept) == bool(ranked)
    for one in kept:
        assert one.passage.text == TEXTS[one.passage.document_id][one.passage.start : one.passage.end]
        assert one.passage.end - one.passage.start <= max(LONGEST, 700)
    for place, one in enumerate(kept):
        for other in kept[place + 1 :]:
            apart = one.passage.document_id != other.passage.document_id
            first, second = sorted([one.passage, other.passage], key=lambda passage: passage.start)
            too_long = max(first.end, second.end) - first.start > LONGEST
            assert apart or too_long or second.start > first.end or copies(first.text, second.text)
    assert [one.score for one in kept] == sorted((one.score for one in kept), reverse=True)
    assert not ranked or kept[0].score == ranked[0].score


def test_three_neighbours_become_one_though_the_middle_comes_last() -> None:
    first, third = TEXTS["One"].index("One 1"), TEXTS["One"].index("One 3")
    middle = TEXTS["One"].index("One 2")
    end = TEXTS["One"].index("One 4") - 2

    [one] = merge_hits(
        [hit("One", first, middle - 2, 0.9, 4), hit("One", third, end, 0.8, 1), hit("One", middle, third - 2, 0.7)],
        4,
        between,
    )

    assert (one.passage.start, one.passage.end, one.score, one.dense_rank) == (first, end, 0.9, 1)
    assert one.passage.text == TEXTS["One"][first:end]


def test_what_stands_between_two_passages_keeps_them_apart() -> None:
    assert len(merge_hits([hit("One", 0, 50), hit("One", 52, 90)], 4, between)) == 2


def test_a_copy_is_dropped_and_named() -> None:
    original = hit("One", 0, 300, 0.9)
    copy = replace(original, passage=replace(original.passage, document_id="x", document="copy.txt"), score=0.8)

    [kept] = merge_hits([original, copy, copy], 4, between)

    assert (kept.passage.document, kept.also_in) == ("One.txt", ("copy.txt",))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda text: text, True),
        (lambda text: text.upper().replace(",", " -"), True),
        (lambda text: text.replace("tenth", "last"), True),
        (lambda text: text.replace("150", "160"), False),
        (lambda text: text.replace("a ", "o "), False),
        (lambda text: text[:100], False),
    ],
)
def test_copies_are_told_by_their_words_and_numbers(change: object, same: bool) -> None:
    syllables = [first + second for first in "bdfglmnrst" for second in "aeiou"]
    text = f"Of {' '.join(syllables)}, the tenth rule: wine holds 150 milligrams, {' '.join(reversed(syllables))}."

    assert copies(text, change(text)) is same  # type: ignore[operator]


LIMIT = (
    "Dry red wine may hold at most 150 milligrams of sulphur dioxide per litre, by the rule that Anna Thorne signed."
)


@pytest.mark.parametrize(
    ("old", "new"),
    [("150", "160"), ("may", "may not"), ("most", "least"), ("Anna", "Carla"), ("red", "red, by three of six,")],
)
def test_near_copies_that_contradict_each_other_are_both_shown_and_say_so(old: str, new: str) -> None:
    changed = LIMIT.replace(old, new, 1)
    same = new.startswith("red")

    kept = merge_hits([page("one", LIMIT), page("two", changed)], 4, between)

    assert len(kept) == 2
    assert [[place.document for place in one.contradicts] for one in kept] == (
        [[], []] if same else [["two.txt"], ["one.txt"]]
    )
    assert [one.also_in for one in kept] == [(), ()]


def test_a_contradiction_says_where_it_is() -> None:
    text = f"The cellar is dry. {LIMIT} It was signed in 1871."

    [place] = contradictions(text, text.replace("150", "160"))
    [added] = contradictions(text, text.replace("may", "may not"))

    assert text[slice(*place)] == "150"
    assert added == (text.index(" hold"), text.index("hold"))


def test_copies_and_other_statements_do_not_contradict() -> None:
    assert not contradictions(LIMIT, LIMIT.replace("the rule", "a rule"))
    assert not contradictions(LIMIT, "The cellar was dug in 1871.")


def test_a_word_that_turns_a_long_copy_into_its_contrary_is_not_lost() -> None:
    long = " ".join(f"{LIMIT} {word} is stored." for word in ("Salt", "Fish", "Corn", "Wool", "Flax", "Hemp"))
    turned = long.replace("may hold", "may not hold", 1)

    assert not copies(long, turned)
    assert copies(long, long.replace("stored", "kept", 1))


def page(name: str, text: str) -> Hit:
    passage = Passage(len(name), name, name + ".txt", None, 0, len(text), text)
    return Hit(passage, 0.5, 0.5, 1, None, (Part(passage, b""),))
