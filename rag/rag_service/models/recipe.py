"""What a sentence encoder's folder says beside its weights: which modules it has, and how a text becomes one vector."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from rag_service.errors import UnfitModel
from rag_service.models.convert import read_json
from rag_service.models.find import ModelFolder

_VARIABLE = "RAG_EMBEDDER"
_KNOWN = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True)
class Recipe:
    """`pooling`: mean or cls. `query` and `document` are put before a text. `longest`: tokens, special ones counted.
    `modules` in their order. `layers`: what the weights alone do not say of them."""

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
        raise UnfitModel(folder.name, "it leaves its prompt out of the mean", _VARIABLE)
    layers = tuple(str(config.get(key)) for key in ("num_attention_heads", "hidden_act", "layer_norm_eps"))
    return Recipe(_pooling(folder, pooling), *prompts, longest, tuple(modules), layers)


def _modules(folder: ModelFolder) -> dict[str, str]:
    """The folder of each module; none where the folder says nothing: then a mean over the tokens is meant."""
    path = folder.path / "modules.json"
    listed = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    modules = {str(one["type"]).rpartition(".")[2]: str(one["path"]) for one in listed}
    for name in modules:
        if name not in _KNOWN:
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
    """`mean` or `cls`, as the folder says; sentence-transformers takes the mean where it says nothing."""
    older = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    ways = [older.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on]
    way = config.get("pooling_mode") or ("mean" if not ways else " and ".join(ways))
    if way not in ("mean", "cls"):
        raise UnfitModel(folder.name, f"it pools its tokens by {way}, not mean or cls", _VARIABLE)
    return str(way)
