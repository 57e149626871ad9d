"""Hits that belong together become one: neighbours in a document are joined, copies of a passage are dropped. Near
copies that contradict each other are both kept, and say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from rag_service.language import NEGATIONS, is_content, word_spans, words
from rag_service.search.opposites import contrary, number
from rag_service.types import Contradiction, Hit

# So long may joined passages be, in characters: about 450 tokens, which a generator's window of 512 still takes.
LONGEST = 2000
# Between two neighbours stands white space alone; more of it than this is looked at for nothing.
_WIDEST_GAP = 100
# Copies: so much of all groups of three words are in both (Broder, On the resemblance of documents, 1997), and every
# number is: two versions of a rule that differ in nothing but a limit say different things.
COPY = 0.9
# Near copies: this share of the words is in both, in the same order. What takes the place of so few words is the same
# statement with another word; more is another statement.
_NEAR_COPY = 0.8
_MOST_REPLACED = 3

# Gives `text[start:end]` of the document that the passage with this number is of.
TextBetween = Callable[[int, int, int], str]


def merge_hits(ranked: Iterable[Hit], top_k: int, text_between: TextBetween, question: str = "") -> list[Hit]:
    """At most `top_k` hits, best first, of which no two are neighbours that fit one hit, or copies of each other.
    `ranked` is read only as far as that takes. A passage that differs from another in a word of the `question` is about
    something else, and does not contradict it."""
    kept: list[Hit] = []
    for hit in ranked:
        twin = next((place for place, other in enumerate(kept) if copies(hit.passage.text, other.passage.text)), None)
        if twin is not None:
            names = dict.fromkeys([*kept[twin].also_in, hit.passage.document])
            names.pop(kept[twin].passage.document, None)
            kept[twin] = replace(kept[twin], also_in=tuple(names))
        elif not _join(kept, hit, text_between):
            kept.append(hit)
        if len(kept) == top_k:
            break
    return [replace(hit, contradicts=_contradicting(hit, kept, question)) for hit in kept]


def copies(one: str, other: str) -> bool:
    """Whether two passages say the same in nearly the same words."""
    (first, its_numbers), (second, other_numbers) = _said(one), _said(other)
    alike = its_numbers == other_numbers and len(first & second) >= COPY * len(first | second)
    return alike and not contradictions(one, other)


def contradictions(one: str, other: str, question: str = "") -> list[tuple[int, int]]:
    """Where the first of two passages that are nearly equal differs from the other in a number, a name, a negation or a
    word and its contrary: start and end, which are between two words where only the other has words. Nowhere, if one of
    these is a word of the `question`: then the other is about something else."""
    places = _placed(one)
    first, second = [[text[start:end] for _, start, end in _placed(text)] for text in (one, other)]
    small, large = sorted((len(first), len(second)))
    if small < _NEAR_COPY * large or len({*first} & {*second}) < _NEAR_COPY / 2 * len({*first} | {*second}):
        return []
    matcher = SequenceMatcher(None, [word.lower() for word in first], [word.lower() for word in second], autojunk=False)
    if matcher.ratio() < _NEAR_COPY:
        return []
    ends = [0, *(end for _, _, end in places)]
    starts = [*(start for _, start, _ in places), len(one)]
    turned = [
        (a, b) for kind, a, b, c, d in matcher.get_opcodes() if kind != "equal" and _turned(first[a:b], second[c:d])
    ]
    asked = {*words(question)}
    if any(word.lower() in asked for a, b in turned for word in first[a:b]):
        return []
    return [(starts[a], ends[b]) if a < b else (ends[a], starts[a]) for a, b in turned]


def _turned(here: Sequence[str], there: Sequence[str]) -> bool:
    """Whether the words that stand here in place of those there make it another statement."""
    ours, theirs = [{word.lower() for word in side} for side in (here, there)]
    if bool(ours & NEGATIONS) != bool(theirs & NEGATIONS):
        return len(ours | theirs) <= _MOST_REPLACED
    if not 0 < max(len(here), len(there)) <= _MOST_REPLACED or not here or not there:
        return False
    numbers = [{number(word) for word in side} - {None} for side in (ours, theirs)]
    names = all(word[0].isupper() and is_content(word.lower()) for word in (*here, *there))
    return numbers[0] != numbers[1] or names or any(contrary(one, other) for one in ours for other in theirs)


def _contradicting(hit: Hit, others: Sequence[Hit], question: str) -> tuple[Contradiction, ...]:
    """Where other documents say something else than the hit."""
    mine = hit.passage
    return tuple(
        Contradiction(one.passage.document, mine.start + start, mine.start + end)
        for one in others
        if one.passage.document_id != mine.document_id
        for start, end in contradictions(mine.text, one.passage.text, question)
    )


@lru_cache(maxsize=256)
def _placed(text: str) -> tuple[tuple[str, int, int], ...]:
    """The words of a text with their places, which several comparisons ask for."""
    return tuple(word_spans(text))


@lru_cache(maxsize=256)
def _said(text: str) -> tuple[frozenset[tuple[str, ...]], frozenset[str]]:
    """The groups of three words of a text, and the words with a digit in it."""
    spoken = words(text)
    groups = (tuple(spoken[start : start + 3]) for start in range(max(1, len(spoken) - 2)))
    return frozenset(groups), frozenset(word for word in spoken if any(map(str.isdigit, word)))


def _join(kept: list[Hit], hit: Hit, text_between: TextBetween) -> bool:
    """Joins the hit with a kept neighbour, and the outcome with further ones, in the place of the best of them."""
    joined, position = hit, len(kept)
    while True:
        for place, other in enumerate(kept):
            better, worse = (other, joined) if place < position else (joined, other)
            both = _joined(better, worse, text_between)
            if both is not None:
                joined, position = both, min(place, position)
                del kept[place]
                break
        else:
            if joined is not hit:
                kept.insert(position, joined)
            return joined is not hit


def _joined(better: Hit, other: Hit, text_between: TextBetween) -> Hit | None:
    """Both as one hit, or None if they are not neighbours or are too long together."""
    first, second = sorted((better.passage, other.passage), key=lambda passage: (passage.start, passage.end))
    end = max(first.end, second.end)
    if first.document_id != second.document_id or end - first.start > LONGEST:
        return None
    gap = second.start - first.end
    between = text_between(first.chunk_id, first.end, second.start) if 0 < gap <= _WIDEST_GAP else ""
    if gap > 0 and not between.isspace():
        return None
    text = first.text + between + second.text[max(0, -gap) :]
    blocks = tuple(sorted({*first.blocks, *second.blocks}, key=lambda block: block.start))
    passage = replace(first, chunk_id=better.passage.chunk_id, end=end, text=text, blocks=blocks)
    return replace(
        better,
        passage=passage,
        similarity=max(better.similarity, other.similarity),
        late_interaction=_best(max, better.late_interaction, other.late_interaction),
        dense_rank=_best(min, better.dense_rank, other.dense_rank),
        lexical_rank=_best(min, better.lexical_rank, other.lexical_rank),
        also_in=tuple(dict.fromkeys([*better.also_in, *other.also_in])),
        parts=(*better.parts, *other.parts),
    )


def _best(choose: Callable[..., Any], one: Any, other: Any) -> Any:
    """The better of two numbers, either of which may be None."""
    known = [number for number in (one, other) if number is not None]
    return choose(known) if known else None
