"""The embedder: a BERT-like sentence encoder, such as all-MiniLM-L6-v2, run by CTranslate2."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import numpy
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from rag_service.errors import UnfitModel
from rag_service.models.batching import WORKERS, Lane
from rag_service.models.convert import converted, read_json
from rag_service.models.engines import Vectors
from rag_service.models.find import ModelFolder
from rag_service.types import Encoded, TokenVectors

Places = NDArray[numpy.int32]

_VARIABLE = "RAG_EMBEDDER"
# So many tokens, about four passages, keep a core as busy as more would; a question waits for them at most.
_BATCH = 600
_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")


class BertEmbedder:
    """What belongs to a question goes before what is being ingested (`encode_passages`)."""

    def __init__(self, folder: ModelFolder, models_dir: Path, compute: str, workers: int = WORKERS) -> None:
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
        self._encoder = ctranslate2.Encoder(str(model), compute_type=compute, inter_threads=workers, intra_threads=1)
        self._lane = Lane("embed", self._forward, _BATCH, size=len, workers=workers)
        self.dimension = int(read_json(folder.path / "config.json")["hidden_size"])
        self.limit = recipe.longest - self._counter.num_special_tokens_to_add(False)
        self.name = folder.name
        self.identity = recipe.identity(folder, compute)

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in self._counter.encode_batch(texts, add_special_tokens=False)]

    def places(self, texts: Sequence[str]) -> list[Places]:
        encodings = self._tokenizer.encode_batch([self._document + text for text in texts])
        return [self._own(encoding, self._document)[1] for encoding in encodings]

    def _own(self, encoding: Encoding, prompt: str) -> tuple[NDArray[numpy.bool_], Places]:
        return own_tokens(encoding.offsets, encoding.special_tokens_mask, len(prompt))

    def encode_passages(self, texts: Sequence[str], urgent: bool = False) -> Encoded:
        return self._encode(texts, self._document, urgent)

    def encode_question(self, question: str) -> Encoded:
        return self._encode([question], self._query, urgent=True)

    def _encode(self, texts: Sequence[str], prompt: str, urgent: bool) -> Encoded:
        encodings = self._tokenizer.encode_batch([prompt + text for text in texts])
        waiting = self._lane.submit([encoding.ids for encoding in encodings], urgent)
        states = [future.result() for future in waiting]
        pooled = [one[0] if self._first_token_alone else one.mean(axis=0) for one in states]
        vectors = numpy.stack(pooled) if pooled else numpy.zeros((0, self.dimension), dtype=numpy.float32)
        each = [(one, *self._own(encoding, prompt)) for one, encoding in zip(states, encodings, strict=True)]
        return Encoded(unit(vectors), tuple(TokenVectors(unit(one[own]), places) for one, own, places in each))

    def _forward(self, batch: Sequence[list[int]]) -> list[Vectors]:
        """Each text's last hidden layer, `(n_tokens, dimension)` without padding."""
        output = numpy.array(self._encoder.forward_batch(list(batch)).last_hidden_state)
        return [output[row, : len(ids)] for row, ids in enumerate(batch)]


def own_tokens(offsets: Any, special: Any, prompt: int) -> tuple[NDArray[numpy.bool_], Places]:
    """Which tokens belong to the text itself, `(n_tokens,)`, and their places in it; `prompt` is the length of the text
    before it."""
    places = numpy.array(offsets, dtype=numpy.int32).reshape(-1, 2)
    own = (numpy.array(special, dtype=bool) == 0) & (places[:, 0] >= prompt)
    return own, places[own] - prompt


def unit(rows: Vectors) -> Vectors:
    lengths = numpy.linalg.norm(rows, axis=1, keepdims=True)
    return numpy.ascontiguousarray(rows / numpy.maximum(lengths, 1e-12), dtype=numpy.float32)


@dataclass(frozen=True)
class Recipe:
    """How an encoder is run, from its folder's files. `pooling`: mean or cls. `query` and `document` are put before a
    text. `longest`: tokens, special ones counted. `modules` in their order. `layers`: settings of the layers that the
    weights do not contain."""

    pooling: str
    query: str
    document: str
    longest: int
    modules: tuple[str, ...]
    layers: tuple[str, ...]

    def identity(self, folder: ModelFolder, compute: str) -> str:
        """Changes when the vectors may: with the weights, the tokenizer, and what is said here."""
        facts = json.dumps({"weights": folder.digest(), **asdict(self)}, sort_keys=True)
        return f"{compute}:sha256:{hashlib.sha256(facts.encode()).hexdigest()}"


def read_recipe(folder: ModelFolder) -> Recipe:
    """As sentence-transformers reads it. Raises UnfitModel, by name for a module whose work would be left out."""
    try:
        modules = _modules(folder)
        config = read_json(folder.path / "config.json")
        sentence = read_json(folder.path / "sentence_bert_config.json")
        prompts = _prompts(read_json(folder.path / "config_sentence_transformers.json"))
        pooling = read_json(folder.path / modules.get("Pooling", "1_Pooling") / "config.json")
        longest = int(sentence.get("max_seq_length") or config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnfitModel(
            folder.name, f"its files cannot be read ({type(error).__name__}: {error})", _VARIABLE
        ) from error
    if any(prompts) and not pooling.get("include_prompt", True):
        raise UnfitModel(folder.name, "it excludes its prompt from the mean", _VARIABLE)
    layers = tuple(str(config.get(key)) for key in ("num_attention_heads", "hidden_act", "layer_norm_eps"))
    return Recipe(_pooling(folder, pooling), *prompts, longest, tuple(modules), layers)


def _modules(folder: ModelFolder) -> dict[str, str]:
    """The folder of each module; none where the folder says nothing: then a mean over the tokens is meant."""
    path = folder.path / "modules.json"
    listed = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    modules = {str(one["type"]).rpartition(".")[2]: str(one["path"]) for one in listed}
    for name in modules:
        if name not in _KNOWN_MODULES:
            raise UnfitModel(folder.name, f"its module {name} would be left out", _VARIABLE)
    if len(modules) < len(listed):
        raise UnfitModel(folder.name, "it has two modules of the same kind", _VARIABLE)
    return modules


def _prompts(config: dict[str, Any]) -> tuple[str, str]:
    """What is put before a question and before a passage; names such as `passage` and a default have no effect there
    in sentence-transformers either."""
    prompts = config.get("prompts") or {}
    return prompts.get("query") or "", prompts.get("document") or ""


def _pooling(folder: ModelFolder, config: dict[str, Any]) -> str:
    """`mean` or `cls`, as the folder says; the mean, as in sentence-transformers, if it says nothing."""
    older = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    ways = [older.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on]
    way = config.get("pooling_mode") or ("mean" if not ways else " and ".join(ways))
    if way not in ("mean", "cls"):
        raise UnfitModel(folder.name, f"it pools its tokens by {way}, not mean or cls", _VARIABLE)
    return str(way)
