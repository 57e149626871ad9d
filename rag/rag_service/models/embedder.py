"""The embedder: a BERT-like sentence encoder, such as all-MiniLM-L6-v2, run by CTranslate2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ctranslate2
import numpy
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from rag_service.models.batching import WORKERS, Lane
from rag_service.models.convert import converted, read_json
from rag_service.models.engines import Vectors
from rag_service.models.find import ModelFolder
from rag_service.models.recipe import read_recipe
from rag_service.types import Encoded, TokenVectors

Places = NDArray[numpy.int32]

_VARIABLE = "RAG_EMBEDDER"
# So many tokens, about four passages, keep a core as busy as more would; a question waits for them at most.
_BATCH = 600


class BertEmbedder:
    """What belongs to a question goes before what is being ingested (`encode_passages`)."""

    def __init__(self, folder: ModelFolder, models_dir: Path, compute: str) -> None:
        """Loads the model; converts it first where that has not been done. Raises UnfitModel."""
        recipe = read_recipe(folder)
        model = converted(folder, compute, models_dir, _VARIABLE)
        self._first_token_alone = recipe.pooling == "cls"
        self._query, self._document = recipe.query, recipe.document
        self._tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(recipe.longest)
        self._counter = Tokenizer.from_str(self._tokenizer.to_str())
        self._counter.no_truncation()
        self._encoder = ctranslate2.Encoder(str(model), compute_type=compute, inter_threads=WORKERS, intra_threads=1)
        self._lane = Lane("embed", self._forward, _BATCH, size=len, workers=WORKERS)
        self.dimension = int(read_json(folder.path / "config.json")["hidden_size"])
        self.limit = recipe.longest - self._counter.num_special_tokens_to_add(False)
        self.name = folder.name
        self.identity = recipe.identity(folder, compute)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in self._counter.encode_batch(texts, add_special_tokens=False)]

    def places(self, texts: Sequence[str]) -> list[Places]:
        encodings = self._tokenizer.encode_batch([self._document + text for text in texts])
        return [_own(encoding, len(self._document))[1] for encoding in encodings]

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return self._encode(texts, self._document, urgent=True)[0]

    def embed_question(self, question: str) -> Vectors:
        vector: Vectors = self._encode([question], self._query, urgent=True)[0][0]
        return vector

    def encode_passages(self, texts: Sequence[str], urgent: bool = False) -> Encoded:
        return self._with_tokens(texts, self._document, urgent)

    def encode_question(self, question: str) -> Encoded:
        return self._with_tokens([question], self._query, urgent=True)

    def _with_tokens(self, texts: Sequence[str], prompt: str, urgent: bool) -> Encoded:
        vectors, states, encodings = self._encode(texts, prompt, urgent)
        tokens = [_tokens_of(one, encoding, len(prompt)) for one, encoding in zip(states, encodings, strict=True)]
        return Encoded(vectors, tuple(tokens))

    def _encode(self, texts: Sequence[str], prompt: str, urgent: bool) -> tuple[Vectors, list[Vectors], list[Encoding]]:
        """One vector for each text, its tokens' states, and where these stand in it."""
        encodings = self._tokenizer.encode_batch([prompt + text for text in texts])
        waiting = self._lane.submit([encoding.ids for encoding in encodings], urgent)
        states = [future.result() for future in waiting]
        pooled = [one[0] if self._first_token_alone else one.mean(axis=0) for one in states]
        vectors = numpy.stack(pooled) if pooled else numpy.zeros((0, self.dimension), dtype=numpy.float32)
        return _unit(vectors), states, encodings

    def _forward(self, batch: Sequence[list[int]]) -> list[Vectors]:
        """Each text's last hidden layer, `(n_tokens, dimension)` without padding."""
        output = numpy.array(self._encoder.forward_batch(list(batch)).last_hidden_state)
        return [output[row, : len(ids)] for row, ids in enumerate(batch)]


def _tokens_of(states: Vectors, encoding: Encoding, prompt: int) -> TokenVectors:
    """Of a text's hidden states those of its own tokens; `prompt` is the length of what stands before it."""
    own, places = _own(encoding, prompt)
    return TokenVectors(_unit(states[own]), places)


def _own(encoding: Encoding, prompt: int) -> tuple[NDArray[numpy.bool_], Places]:
    """Which tokens are the text's own, `(n_tokens,)`, and where those stand in it."""
    places = numpy.array(encoding.offsets, dtype=numpy.int32).reshape(-1, 2)
    own = (numpy.array(encoding.special_tokens_mask, dtype=bool) == 0) & (places[:, 0] >= prompt)
    return own, places[own] - prompt


def _unit(rows: Vectors) -> Vectors:
    return numpy.ascontiguousarray(rows / numpy.linalg.norm(rows, axis=1, keepdims=True), dtype=numpy.float32)
