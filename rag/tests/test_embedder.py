"""One pass through the embedder gives a text's vector and those of its tokens, each with its place."""

from __future__ import annotations

import numpy
import pytest

from rag_service.models.embedder import BertEmbedder

TEXTS = ["Sulphur dioxide keeps wine from browning.", "Yes?", "Çava, naïve 酒 🍷: unbelievably!", ""]


def test_every_token_but_the_special_ones_is_given_with_its_place(embedder: BertEmbedder) -> None:
    encoded = embedder.encode_passages(TEXTS)

    assert [len(tokens.vectors) for tokens in encoded.tokens] == embedder.count(TEXTS)
    first, *_, empty = encoded.tokens
    pieces = [TEXTS[0][start:end] for start, end in first.places]
    assert pieces == ["Sul", "ph", "ur", "dioxide", "keeps", "wine", "from", "browning", "."]
    assert empty.vectors.shape == (0, embedder.dimension)
    for tokens in encoded.tokens:
        numpy.testing.assert_allclose(numpy.linalg.norm(tokens.vectors, axis=1), 1.0, atol=1e-5)


def test_a_tokens_vector_is_its_state_in_the_last_layer_whatever_stands_beside_it_in_the_batch(
    embedder: BertEmbedder,
) -> None:
    [alone] = embedder.encode_passages(TEXTS[:1]).tokens

    batch = embedder.encode_passages(["A far longer text stands before it in the batch. " * 9, TEXTS[0]])

    numpy.testing.assert_allclose(batch.tokens[1].vectors, alone.vectors, atol=1e-5)


@pytest.mark.parametrize("count", [253, 254, 255, 400])
def test_tokens_end_at_the_embedders_limit(embedder: BertEmbedder, count: int) -> None:
    [tokens] = embedder.encode_passages(["wine " * count]).tokens

    assert len(tokens.vectors) == len(tokens.places) == min(count, embedder.limit)
    assert tokens.places[-1].tolist() == [5 * (len(tokens.places) - 1), 5 * len(tokens.places) - 1]


def test_no_text_gives_no_vector(embedder: BertEmbedder) -> None:
    encoded = embedder.encode_passages([])

    assert encoded.vectors.shape == (0, embedder.dimension)
    assert encoded.tokens == ()
