"""A model's folder as CTranslate2 wants it, made from the safetensors once and kept: needs numpy, and no PyTorch.

Two architectures: BERT, which embedders such as all-MiniLM-L6-v2 are, and T5, which flan-t5 is. Weights are named as
transformers names them; where they go is CTranslate2's own specification, as its converter fills it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ctranslate2
import numpy
from numpy.typing import NDArray

from rag_service.errors import UnfitModel
from rag_service.models.find import ModelFolder

Weights = Mapping[str, NDArray[numpy.float32]]

_RECIPE = "1"  # to be raised whenever something below changes what comes out
_SUMS = "sha256.json"

log = logging.getLogger(__name__)


def converted(folder: ModelFolder, compute: str, models_dir: Path, variable: str) -> Path:
    """Where the converted model is: made now where it is not there yet, or no longer whole. Raises UnfitModel.

    `compute` is `int8` or `float32`: how the weights are stored and multiplied. float16 is not among them: T5's
    activations overflow it.
    """
    try:
        config, digest = read_json(folder.path / "config.json"), folder.digest()
    except (OSError, ValueError) as error:
        raise UnfitModel(folder.name, f"its files cannot be read ({error})", variable) from error
    builders: dict[str, Callable[[dict[str, Any], Weights, list[str]], Any]] = {"bert": _bert, "t5": _t5}
    build = builders.get(str(config.get("model_type")))
    if build is None:
        raise UnfitModel(folder.name, f"its architecture is {config.get('model_type')}, not bert or t5", variable)
    parts = (digest, json.dumps(config, sort_keys=True), compute, ctranslate2.__version__, _RECIPE)
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    target = models_dir / "converted" / f"{config['model_type']}-{compute}-{key}"
    if not _whole(target):
        log.info("converting %s to %s, once", folder.name, compute)
        try:
            spec = build(config, _read_weights(folder.path), _vocabulary(folder.path, int(config["vocab_size"])))
            spec.validate()
        except (KeyError, ValueError, OSError) as error:
            raise UnfitModel(folder.name, f"its files are damaged or not complete ({error})", variable) from error
        spec.optimize(quantization=compute)
        _save(spec, target)
    return target


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON object; empty if there is no such file. Raises OSError, ValueError."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return content


def _save(spec: Any, target: Path) -> None:
    """Puts the model into `target`, whole or not at all; another process may do the same at the same time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as part:
        partial = Path(part) / "model"
        partial.mkdir()
        spec.save(str(partial))
        sums = {path.name: _sum(path) for path in partial.iterdir()}
        (partial / _SUMS).write_text(json.dumps(sums))
        try:
            partial.rename(target)
        except OSError:  # there is one already
            if not _whole(target):  # a damaged one, not that of another process that was faster
                shutil.rmtree(target, ignore_errors=True)
                partial.rename(target)


def _whole(target: Path) -> bool:
    try:
        sums = read_json(target / _SUMS)
        return bool(sums) and all(_sum(target / name) == known for name, known in sums.items())
    except (OSError, ValueError):
        return False


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_weights(path: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    weights: dict[str, NDArray[numpy.float32]] = {}
    for file in sorted(path.glob("*.safetensors")):
        try:
            with safe_open(file, framework="numpy") as opened:
                for name in opened.keys():  # noqa: SIM118  # not a dict
                    weights[name.removeprefix("bert.")] = opened.get_tensor(name).astype(numpy.float32, copy=False)
        except SafetensorError as error:
            raise ValueError(f"{file.name}: {error}") from error
    return weights


def _vocabulary(path: Path, size: int) -> list[str]:
    """The tokens by their numbers. A model may have room for more than its tokenizer uses."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"tokenizer.json: {error}") from error
    return [tokenizer.id_to_token(number) or f"<unused_{number}>" for number in range(size)]


def _activation(name: str) -> Any:
    from ctranslate2.specs import Activation

    known = {"relu": Activation.RELU, "gelu": Activation.GELU, "gelu_new": Activation.GELUTanh}
    if name not in known:
        raise ValueError(f"the activation {name}")
    return known[name]


def _linear(spec: Any, weights: Weights, *names: str) -> None:
    """One linear layer; several names are laid into one, one below the other."""
    spec.weight = numpy.concatenate([weights[f"{name}.weight"] for name in names])
    if f"{names[0]}.bias" in weights:
        spec.bias = numpy.concatenate([weights[f"{name}.bias"] for name in names])


def _norm(spec: Any, weights: Weights, name: str) -> None:
    spec.gamma = weights[f"{name}.weight"]
    if hasattr(spec, "beta"):
        spec.beta = weights[f"{name}.bias"]


def _bert(config: dict[str, Any], weights: Weights, vocabulary: list[str]) -> Any:
    from ctranslate2 import specs

    encoder = specs.TransformerEncoderSpec(
        int(config["num_hidden_layers"]),
        int(config["num_attention_heads"]),
        pre_norm=False,
        activation=_activation(config["hidden_act"]),
        layernorm_embedding=True,
        num_source_embeddings=2,
        embeddings_merge=specs.EmbeddingsMerge.ADD,
    )
    encoder.scale_embeddings = False
    encoder.embeddings[0].weight = weights["embeddings.word_embeddings.weight"]
    encoder.embeddings[1].weight = weights["embeddings.token_type_embeddings.weight"]
    encoder.position_encodings.encodings = weights["embeddings.position_embeddings.weight"]
    _norm(encoder.layernorm_embedding, weights, "embeddings.LayerNorm")
    for number, layer in enumerate(encoder.layer):
        here = f"encoder.layer.{number}"
        own = f"{here}.attention.self"
        _linear(layer.self_attention.linear[0], weights, f"{own}.query", f"{own}.key", f"{own}.value")
        _linear(layer.self_attention.linear[1], weights, f"{here}.attention.output.dense")
        _norm(layer.self_attention.layer_norm, weights, f"{here}.attention.output.LayerNorm")
        _linear(layer.ffn.linear_0, weights, f"{here}.intermediate.dense")
        _linear(layer.ffn.linear_1, weights, f"{here}.output.dense")
        _norm(layer.ffn.layer_norm, weights, f"{here}.output.LayerNorm")
    spec = specs.TransformerEncoderModelSpec(encoder)
    spec.register_vocabulary(vocabulary)
    spec.config.layer_norm_epsilon = config["layer_norm_eps"]
    return spec


def _t5(config: dict[str, Any], weights: Weights, vocabulary: list[str]) -> Any:
    from ctranslate2 import specs

    gate, _, activation = str(config["feed_forward_proj"]).rpartition("-")
    if activation == "gelu" and gate:
        activation = "gelu_new"  # as transformers reads "gated-gelu"
    spec = specs.TransformerSpec.from_config(
        (int(config["num_layers"]), int(config.get("num_decoder_layers") or config["num_layers"])),
        int(config["num_heads"]),
        activation=_activation(activation),
        ffn_glu=bool(gate),
        relative_attention_bias=True,
        rms_norm=True,
    )
    shared = weights["shared.weight"]
    spec.encoder.embeddings[0].weight = spec.decoder.embeddings.weight = shared
    spec.decoder.projection.weight = weights.get("lm_head.weight", shared)
    # The first T5 shares its output layer with the embeddings and scales for it; flan-t5 has one of its own. Since
    # transformers 5 every T5 says tie_word_embeddings, and scale_decoder_outputs says what that meant.
    if config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True)):
        spec.decoder.scale_outputs = float(config["d_model"]) ** -0.5
    for name, stack in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        _t5_stack(stack, name, weights, int(config.get("relative_attention_max_distance", 128)))
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    start, end = vocabulary[int(config.get("decoder_start_token_id", 0))], vocabulary[int(config["eos_token_id"])]
    spec.config.bos_token = spec.config.decoder_start_token = start
    spec.config.eos_token = end
    spec.config.layer_norm_epsilon = config["layer_norm_epsilon"]
    return spec


def _t5_stack(stack: Any, name: str, weights: Weights, distance: int) -> None:
    stack.scale_embeddings = False
    _norm(stack.layer_norm, weights, f"{name}.final_layer_norm")
    bias = weights[f"{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    for number, layer in enumerate(stack.layer):
        here = f"{name}.block.{number}.layer"
        own = f"{here}.0.SelfAttention"
        _linear(layer.self_attention.linear[0], weights, f"{own}.q", f"{own}.k", f"{own}.v")
        _linear(layer.self_attention.linear[1], weights, f"{own}.o")
        _norm(layer.self_attention.layer_norm, weights, f"{here}.0.layer_norm")
        layer.self_attention.queries_scale = 1.0
        layer.self_attention.relative_attention_bias = bias  # the first layer's serves all
        layer.self_attention.relative_attention_max_distance = numpy.int32(distance)
        last = 1
        if hasattr(layer, "attention"):
            other, last = f"{here}.1.EncDecAttention", 2
            _linear(layer.attention.linear[0], weights, f"{other}.q")
            _linear(layer.attention.linear[1], weights, f"{other}.k", f"{other}.v")
            _linear(layer.attention.linear[2], weights, f"{other}.o")
            _norm(layer.attention.layer_norm, weights, f"{here}.1.layer_norm")
            layer.attention.queries_scale = 1.0
        dense = f"{here}.{last}.DenseReluDense"
        if hasattr(layer.ffn, "linear_0_noact"):
            _linear(layer.ffn.linear_0, weights, f"{dense}.wi_0")
            _linear(layer.ffn.linear_0_noact, weights, f"{dense}.wi_1")
        else:
            _linear(layer.ffn.linear_0, weights, f"{dense}.wi")
        _linear(layer.ffn.linear_1, weights, f"{dense}.wo")
        _norm(layer.ffn.layer_norm, weights, f"{here}.{last}.layer_norm")
