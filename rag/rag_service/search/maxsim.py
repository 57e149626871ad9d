"""Late interaction: each token of a question looks for its like in a passage; how like they are on average is the
passage's score (Khattab and Zaharia, ColBERT, 2020: MaxSim). Token vectors are kept as their signs, one bit a number:
a vector of 384 numbers takes 48 bytes, and the right passage is found as often (docs/decisions/search.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

from rag_service.types import TokenVectors

Vectors = NDArray[numpy.float32]
Places = NDArray[numpy.int32]

_AT_ONCE = 512  # tokens whose bits, as float32, stay in the processor's cache: a third less time than all at once


def word_tokens(places: Places, text: str) -> NDArray[numpy.bool_]:
    """Which tokens have a letter or a digit, `(n_tokens,)`: punctuation is like any other and says nothing."""
    return numpy.array([any(character.isalnum() for character in text[start:end]) for start, end in places], dtype=bool)


def word_vectors(tokens: TokenVectors, text: str) -> Vectors:
    """The vectors of the tokens that have a letter or a digit, `(n, dimension)`."""
    vectors: Vectors = tokens.vectors[word_tokens(tokens.places, text)]
    return vectors


def signs(tokens: TokenVectors, text: str) -> bytes:
    """The tokens of a passage as they are stored: for each, one bit a number, in whole bytes."""
    return numpy.packbits(word_vectors(tokens, text) > 0, axis=1).tobytes()


def interaction(question: Vectors, passages: Sequence[bytes]) -> NDArray[numpy.float32]:
    """How much of a question each passage speaks of, `(n_passages,)`, at most 1.

    `question` is what `word_vectors` returns for it, `passages` what `signs` returned. The cosine of a vector with
    another's signs stands for the cosine with the other (it is about 0.8 of it). 0 where either side has no token.
    """
    scores = numpy.zeros(len(passages), dtype=numpy.float32)
    filled = numpy.array([place for place, packed in enumerate(passages) if packed], dtype=numpy.intp)
    if len(question) == 0 or filled.size == 0:
        return scores
    cosines = token_cosines(question, b"".join(passages))
    lengths = [len(passages[place]) // width_of(question) for place in filled]
    starts = numpy.cumsum([0, *lengths[:-1]])
    scores[filled] = numpy.maximum.reduceat(cosines, starts, axis=1).mean(axis=0)
    return scores


def token_cosines(question: Vectors, packed: bytes) -> Vectors:
    """How like each token of the question is to each of the tokens that `signs` packed, `(n_question, n_tokens)`."""
    dimension = question.shape[1]
    rows = numpy.frombuffer(packed, dtype=numpy.uint8).reshape(-1, width_of(question))
    products = numpy.empty((len(question), len(rows)), dtype=numpy.float32)
    for start in range(0, len(rows), _AT_ONCE):
        bits = numpy.unpackbits(rows[start : start + _AT_ONCE], axis=1, count=dimension).astype(numpy.float32)
        numpy.matmul(question, bits.T, out=products[:, start : start + _AT_ONCE])
    # A sign is 2 * bit - 1.
    cosines: Vectors = (2 * products - question.sum(axis=1, keepdims=True)) / math.sqrt(dimension)
    return cosines


def width_of(question: Vectors) -> int:
    """The bytes that a token's signs take."""
    return (int(question.shape[1]) + 7) // 8
