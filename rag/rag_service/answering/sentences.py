"""Which sentences of the passages speak of the question, the one that speaks most of it first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy

from rag_service.language import WITHOUT_BLANKS, content_stems, language_of, sentences, words
from rag_service.models.engines import Embedder
from rag_service.search.maxsim import Places, Vectors, signs, token_cosines, width_of, word_tokens
from rag_service.search.merge import contradictions
from rag_service.types import Block, BlockKind, Hit, Part, TokenVectors

# Measured on 612 questions (docs/decisions/answering.md): the weights of a sentence's passage and of the question's
# numbers in it; how far behind the best sentence another one is still evidence, and how many there are at most.
_BY_PASSAGE = 0.1
_BY_NUMBERS = 0.07
_BY_NAMES = 0.1  # of rows and items, which are like each other but for what they are about
# In scripts without blanks also the question's words: an embedder that does not know a script confuses its signs.
_BY_WORDS = 0.3
_WITHIN, _MOST_QUOTES = 0.12, 4
_LONGEST_LIST = 600  # characters of a sentence with the list that it announces
YES_OR_NO = re.compile(
    r"^\W*(is|are|was|were|do|does|did|can|could|may|must|should|shall|will|would|has|have|had)\b", re.IGNORECASE
)
# How far lines of code stand behind a sentence, where the question asks for none.
_BEHIND = 0.15
_OF_CODE = re.compile(
    r"\b(?:code|commands?|functions?|scripts?|snippets?|syntax|examples?|methods?|call|run|variables?|options?|flags?|"
    r"query|queries|befehle?|commandes?|comandos?|команд\w*)\b|[_(){}=<>`]|--\w",
    re.IGNORECASE,
)
_CLOSING_MARKS = "\"'”’»)] "
_QUOTED_QUESTION = re.compile(r"""["“„«][^"“”„«»]*[?？؟]\s?["”“»]""")

_OPENING = 500  # characters that tell the language of a passage

Place = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Asked:
    """A question, its language, and those of its tokens that have a letter or a digit: `vectors` `(n, dimension)`,
    `places` `(n, 2)`."""

    text: str
    language: str
    vectors: Vectors
    places: Places


@dataclass(frozen=True)
class Evidence:
    """An answer and the quote it stands on; `start` counts from the beginning of the document's text. `score`: how much
    of the question the quote speaks of; `likes`, `(n,)`: each of the question's tokens, how like it is to the nearest
    in the quote or its heading. `heading` is the heading's text where it stands in the passage, `kind`
    that of the block it is of. `contradicts`: the documents that say otherwise."""

    answer: str
    quote: str
    start: int
    hit: Hit
    score: float = 0.0
    heading: str = ""
    kind: BlockKind = "paragraph"
    contradicts: tuple[str, ...] = ()
    likes: Vectors = field(default_factory=lambda: numpy.zeros(0, numpy.float32), compare=False, repr=False)


def asked_of(question: str, tokens: TokenVectors) -> Asked:
    """The question with what the embedder's `encode_question` gave for its tokens."""
    kept = word_tokens(tokens.places, question)
    return Asked(question, language_of(question), tokens.vectors[kept], tokens.places[kept])


def quoted(ranked: Sequence[Evidence]) -> list[Evidence]:
    """The sentences to quote: the first, and those that are nearly as good; none of none."""
    return [one for one in ranked[:_MOST_QUOTES] if one.score >= ranked[0].score - _WITHIN]


def ranked_sentences(asked: Asked, hits: Sequence[Hit], embedder: Embedder) -> list[Evidence]:
    """The sentences of the hits, the one that speaks most of the question first: each token of the question looks for
    its like among the sentence's, which the embedder saw in their passage, so that "it" is like what it stands for
    (late interaction, as for passages, and by the same stored signs). The order, not the score, also heeds which of the
    question's numbers a sentence holds: to the embedder, 1234 and 1239 are nearly the same."""
    parts = [part for hit in hits for part in hit.parts]
    tokens = dict(zip((part.passage for part in parts), _tokens(asked.vectors, parts, embedder), strict=True))
    found: dict[tuple[str, str], Evidence] = {}  # passages overlap, texts repeat: each sentence once, at its best
    for hit in hits:
        text, start = hit.passage.text, hit.passage.start
        likes = numpy.concatenate([tokens[part.passage][0] for part in hit.parts], axis=1)
        places = numpy.concatenate([tokens[part.passage][1] + part.passage.start - start for part in hit.parts])
        for heading, place, kind in candidates(text, hit.passage.blocks, start):
            nearest = _nearest(likes, places, [heading, *_stated(text, place)])
            score = (float(nearest.mean()) if nearest.size else 0.0) + _BY_PASSAGE * hit.score
            quote = text[slice(*place)]
            title = text[slice(*heading)]
            evidence = Evidence(quote, quote, start + place[0], hit, round(score, 4), title, kind, likes=nearest)
            key = hit.passage.document_id, quote
            if key not in found or found[key].score < evidence.score:
                found[key] = evidence
    numbers = _numbers(asked.text)
    own = set() if YES_OR_NO.match(asked.text) else content_stems(asked.text, asked.language)
    behind = 0.0 if _OF_CODE.search(asked.text) else _BEHIND

    asks = set(words(asked.text)) if asked.language in WITHOUT_BLANKS else set()

    names = {word.lower() for word in re.findall(r"(?<=\w\W)[^\W\d_a-z]\w+", asked.text)}

    def rank(one: Evidence) -> float:
        said = set(words(one.quote))
        ahead = _BY_NUMBERS * _share(numbers, _numbers(one.quote)) + _BY_WORDS * _share(asks, said)
        ahead += _BY_NAMES * _share(names, said) * (one.kind in ("row", "item"))
        is_title = one.quote[-1] not in ".!。" and content_stems(one.quote, asked.language) <= own  # "Invoice 17"
        return one.score + ahead - behind * (one.kind == "code") - is_title

    ranked = sorted(found.values(), key=rank, reverse=True)
    first, others = ranked[:_MOST_QUOTES], ranked[_MOST_QUOTES:]
    return [replace(one, contradicts=_contradicting(one, first, asked.text)) for one in first] + others


def _contradicting(one: Evidence, others: Sequence[Evidence], question: str) -> tuple[str, ...]:
    """The documents with a sentence that says the same with another number, name or negation. A difference in a word of
    the question is no contradiction: that sentence is about something else."""
    documents = [
        other.hit.passage.document
        for other in others
        if one.kind == other.kind == "paragraph"
        and len(words(one.quote)) > 3
        and one.hit.passage.document_id != other.hit.passage.document_id
        and contradictions(one.quote, other.quote, question)
    ]
    return tuple(dict.fromkeys(documents))


def candidates(text: str, blocks: Sequence[Block], start: int = 0) -> Iterator[tuple[Place, Place, BlockKind]]:
    """The places in the text of what could be an answer, each after that of its heading (or an empty one) and with the
    kind of its block: a list item or a table's row as a whole, else sentences, with a list or code that they announce.
    Headings and questions answer nothing. `start` is where the text begins in that which the blocks are of."""
    heading, language = (0, 0), language_of(text[:_OPENING])
    for number, block in enumerate(blocks):
        place = max(block.start - start, 0), min(block.end - start, len(text))
        if block.kind == "heading":
            heading = place
            continue
        whole = block.kind in ("item", "row", "code")
        for one in [place] if whole else sentences(text, *place, language):
            announces = text[one[1] - 1] in ":：" and one[1] == place[1] and block.kind in ("paragraph", "item")
            end = _end_of_list(blocks[number:], min(one[0] + _LONGEST_LIST, len(text)) + start) - start
            if _states(text, one):
                yield heading, (one[0], max(end, one[1])) if announces else one, block.kind
    if not blocks:
        yield from (
            (heading, place, "paragraph") for place in sentences(text, language=language) if _states(text, place)
        )


def _end_of_list(blocks: Sequence[Block], most: int) -> int:
    """Where the items or the code end that follow the first block, as far as they fit; of an item, those under it."""
    announcing, *others = blocks
    end = announcing.end
    for block in others:
        is_under = announcing.kind != "item" or block.level > announcing.level
        if block.kind not in ("item", "code") or block.end > most or not is_under:
            break
        end = block.end
    return end


def _states(text: str, place: Place) -> bool:
    ends = text[slice(*place)].rstrip(_CLOSING_MARKS)
    return not ends.endswith(("?", "？", "؟")) and any(content_stems(text[slice(*one)]) for one in _stated(text, place))


def _stated(text: str, place: Place) -> list[Place]:
    """What a sentence says itself: without the questions that it quotes."""
    marks = [place[0], *(mark for found in _QUOTED_QUESTION.finditer(text, *place) for mark in found.span()), place[1]]
    return list(zip(marks[::2], marks[1::2], strict=True))


def _numbers(text: str) -> set[str]:
    return {word for word in words(text) if word[0].isdigit()}


def _share(wanted: set[str], found: set[str]) -> float:
    return len(wanted & found) / len(wanted) if wanted else 0.0


def _tokens(asked: Vectors, parts: Sequence[Part], embedder: Embedder) -> list[tuple[Vectors, Places]]:
    """Of each passage how like its tokens are to the question's, `(n_question, n_tokens)`, and their places in it."""
    texts = [part.passage.text for part in parts]
    places = [one[word_tokens(one, text)] for one, text in zip(embedder.places(texts), texts, strict=True)]
    packed = [part.signs or b"" for part in parts]
    # Stored without tokens, or replaced by another passage between two looks into the store.
    unfit = [place for place, one in enumerate(packed) if len(one) != len(places[place]) * width_of(asked)]
    if unfit:
        encoded = embedder.encode_passages([texts[place] for place in unfit], urgent=True)
        for place, tokens in zip(unfit, encoded.tokens, strict=True):
            packed[place] = signs(tokens, texts[place])
    return [(token_cosines(asked, one), where) for one, where in zip(packed, places, strict=True)]


def _nearest(likes: Vectors, places: Places, within: Sequence[Place]) -> Vectors:
    """Each of the question's tokens, its likeness to the nearest token within the places; empty where there is none."""
    inside = numpy.zeros(len(places), dtype=bool)
    for start, end in within:
        inside |= (places[:, 0] >= start) & (places[:, 1] <= end)
    nearest: Vectors = likes[:, inside].max(axis=1) if inside.any() and len(likes) else numpy.zeros(0, numpy.float32)
    return nearest
