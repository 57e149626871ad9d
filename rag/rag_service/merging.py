"""Hits that belong together become one: neighbours in a document are joined, copies of a passage are dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from rag_service.documents import Hit, Passage
from rag_service.language import words

# So long may joined passages be, in characters: about 450 tokens, which a generator's window of 512 still takes.
LONGEST = 2000
# Between two neighbours stands white space alone; more of it than this is looked at for nothing.
_WIDEST_GAP = 100
# Copies: so much of all groups of three words are in both (Broder, On the resemblance of documents, 1997), and every
# number is: two versions of a rule that differ in nothing but a limit say different things.
COPY = 0.9

# Gives `text[start:end]` of the document that the passage with this number is of.
TextBetween = Callable[[int, int, int], str]


def gathered(ranked: Iterable[Hit], top_k: int, text_between: TextBetween) -> list[Hit]:
    """At most `top_k` hits, best first, of which no two are neighbours that fit one hit, or copies of each other. No
    more of `ranked` is asked for once there are so many."""
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
    return kept


def copies(one: str, other: str) -> bool:
    """Whether two passages say the same in nearly the same words."""
    (first, its_numbers), (second, other_numbers) = _said(one), _said(other)
    return its_numbers == other_numbers and len(first & second) >= COPY * len(first | second)


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
    """Both as one hit, or None where they are no neighbours or too long together."""
    first, second = sorted((better.passage, other.passage), key=lambda passage: (passage.start, passage.end))
    end = max(first.end, second.end)
    if first.document_id != second.document_id or end - first.start > LONGEST:
        return None
    gap = second.start - first.end
    between = text_between(first.chunk_id, first.end, second.start) if 0 < gap <= _WIDEST_GAP else ""
    if gap > 0 and not between.isspace():
        return None
    text = first.text + between + second.text[max(0, -gap) :]
    passage = Passage(
        better.passage.chunk_id, first.document_id, first.document, first.page, first.start, end, text, first.heading
    )
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
