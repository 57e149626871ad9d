"""Models run by PyTorch, on a GPU where there is one: encoders of sentence-transformers, generators of transformers.

Needs requirements-torch.in; imported only where RAG_ENGINE is torch. Reads no pickle, and runs no code of a model's.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.generation.streamers import BaseStreamer

from rag_service.errors import UnfitModel
from rag_service.models.batching import Lane
from rag_service.models.embedder import own_tokens, unit
from rag_service.models.engines import Message, Vectors
from rag_service.models.find import ModelFolder, first_line
from rag_service.types import Encoded, TokenVectors

_GPU = torch.cuda.is_available()
_DEVICE = "cuda" if _GPU else "cpu"
_BATCH_CHARACTERS = 200_000 if _GPU else 3_000
_BATCH_PROMPTS = 16
_LOADING: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_WEIGHTS: dict[str, Any] = {"use_safetensors": True, "dtype": "auto" if _GPU else torch.float32}


@dataclass(frozen=True)
class _Text:
    prompt: str
    text: str


class TorchEmbedder:
    """An encoder of sentence-transformers with all its modules. Questions go before what is being ingested."""

    def __init__(self, folder: ModelFolder) -> None:
        """Raises UnfitModel."""
        try:
            self._model = SentenceTransformer(str(folder.path), device=_DEVICE, model_kwargs=_WEIGHTS, **_LOADING)
            self._tokenizer: Any = self._model.tokenizer
            self.dimension = int(self._model.get_embedding_dimension() or 0)
        except Exception as error:  # the libraries raise anything
            raise UnfitModel(folder.name, first_line(error), "RAG_EMBEDDER") from error
        if not getattr(self._tokenizer, "is_fast", False):
            raise UnfitModel(folder.name, "its tokenizer does not report the offsets of its tokens", "RAG_EMBEDDER")
        self._query = self._model.prompts.get("query") or ""
        self._document = self._model.prompts.get("document") or ""
        self._longest = int(self._model.max_seq_length or 512)
        self._lane = Lane("embed", self._forward, _BATCH_CHARACTERS, size=lambda one: len(one.text))
        self.limit = self._longest - self._tokenizer.num_special_tokens_to_add()
        self.name = folder.name
        self.identity = f"torch:sha256:{_digest(folder)}"

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) for text in texts]

    def places(self, texts: Sequence[str]) -> list[NDArray[numpy.int32]]:
        return [self._own(self._document, text)[1] for text in texts]

    def encode_passages(self, texts: Sequence[str], urgent: bool = False) -> Encoded:
        return self._encode([_Text(self._document, text) for text in texts], urgent)

    def encode_question(self, question: str) -> Encoded:
        return self._encode([_Text(self._query, question)], urgent=True)

    def _encode(self, texts: Sequence[_Text], urgent: bool) -> Encoded:
        waiting = self._lane.submit(texts, urgent)
        vectors = numpy.zeros((len(texts), self.dimension), dtype=numpy.float32)
        tokens = []
        for row, (one, future) in enumerate(zip(texts, waiting, strict=True)):
            vectors[row], states = future.result()
            own, places = self._own(one.prompt, one.text)
            states = states[-len(own) :] if self._tokenizer.padding_side == "left" else states[: len(own)]
            tokens.append(TokenVectors(unit(states[own]), places))
        return Encoded(unit(vectors), tuple(tokens))

    def _forward(self, batch: Sequence[_Text]) -> list[tuple[Vectors, Vectors]]:
        """Each text's vector and its tokens' states, padded."""
        rows: list[tuple[Vectors, Vectors]] = []
        for prompt, texts in itertools.groupby(batch, key=lambda one: one.prompt):
            found: Any = self._model.encode(
                [one.text for one in texts], prompt=prompt or None, output_value=None, show_progress_bar=False
            )
            rows += [(_array(one["sentence_embedding"]), _array(one["token_embeddings"])) for one in found]
        return rows

    def _own(self, prompt: str, text: str) -> tuple[NDArray[numpy.bool_], NDArray[numpy.int32]]:
        encoding = self._tokenizer(
            prompt + text, truncation=True, max_length=self._longest,
            return_offsets_mapping=True, return_special_tokens_mask=True,
        )  # fmt: skip
        return own_tokens(encoding["offset_mapping"], encoding["special_tokens_mask"], len(prompt))


class _Model:
    """A generator of transformers and its tokenizer."""

    def __init__(self, folder: ModelFolder, kind: Any) -> None:
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder.path, padding_side="left", **_LOADING)
            self.model: Any = kind.from_pretrained(folder.path, **_WEIGHTS, **_LOADING).to(_DEVICE).eval()
        except Exception as error:  # the library raises anything
            raise UnfitModel(folder.name, first_line(error), "RAG_GENERATOR") from error
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        config = self.model.config
        limits = [getattr(config, name, None) for name in ("n_positions", "max_position_embeddings")]
        self.longest = min([int(limit) for limit in [*limits, self.tokenizer.model_max_length] if limit])

    def write(self, batch: Any, most: int, streamer: BaseStreamer | None = None) -> list[list[int]]:
        """The tokens of each answer; greedy, so that a prompt has one answer."""
        options = {"max_new_tokens": most, "do_sample": False, "num_beams": 1, "streamer": streamer}
        with torch.inference_mode():
            written = self.model.generate(**batch.to(_DEVICE), pad_token_id=self.tokenizer.pad_token_id, **options)
        before = 0 if self.model.config.is_encoder_decoder else batch["input_ids"].shape[1]
        answers: list[list[int]] = written[:, before:].tolist()
        return answers

    def text(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))


class TorchSeq2Seq:
    """T5 and its like. Prompts that come at the same time are answered in one batch."""

    def __init__(self, folder: ModelFolder, answer_tokens: int) -> None:
        """Raises UnfitModel."""
        self._model = _Model(folder, AutoModelForSeq2SeqLM)
        self._answer_tokens = answer_tokens
        self._lane = Lane("generate", self._forward, _BATCH_PROMPTS)
        self.window = min(512, self._model.longest)  # T5 has no limit of its own, and was trained on 512
        self.name = folder.name

    def count(self, prompt: str) -> int:
        return len(self._model.tokenizer(prompt, verbose=False)["input_ids"])

    def generate(self, prompt: str, tell: Callable[[str], None] | None = None) -> str:
        return self._lane.submit([(prompt, tell)])[0].result()

    def _forward(self, jobs: Sequence[tuple[str, Callable[[str], None] | None]]) -> list[str]:
        batch = self._model.tokenizer([prompt for prompt, _ in jobs], padding=True, return_tensors="pt")
        tellers = [tell for _, tell in jobs]
        streamer = _Teller(self._model, tellers) if any(tellers) else None
        return [self._model.text(one).strip() for one in self._model.write(batch, self._answer_tokens, streamer)]


class TorchChat:
    """A causal model: what it writes is checked sentence by sentence. Nothing leaves this machine."""

    sent_to: str | None = None

    def __init__(self, folder: ModelFolder, context: int, answer_tokens: int) -> None:
        """`context`: tokens, read and written together, at most. Raises UnfitModel."""
        self._model = _Model(folder, AutoModelForCausalLM)
        self._answer_tokens = answer_tokens
        self._one_at_a_time = threading.Lock()
        self.window = min(context, self._model.longest) - answer_tokens
        self.name = folder.name

    def count(self, messages: Sequence[Message]) -> int:
        return int(self._batch(messages)["input_ids"].shape[1])

    def write(self, messages: Sequence[Message], tell: Callable[[str], None]) -> bool:
        with self._one_at_a_time:
            [tokens] = self._model.write(self._batch(messages), self._answer_tokens, _Teller(self._model, [tell]))
        return len(tokens) < self._answer_tokens

    def _batch(self, messages: Sequence[Message]) -> Any:
        tokenizer = self._model.tokenizer
        if tokenizer.chat_template:
            turns = [{"role": one.role, "content": one.content} for one in messages]
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            return tokenizer(text, return_tensors="pt", add_special_tokens=False, verbose=False)
        text = "\n\n".join([*(one.content for one in messages), "Answer:"])
        return tokenizer(text, return_tensors="pt", verbose=False)


class _Teller(BaseStreamer):  # type: ignore[misc]
    """Passes each answer of a batch on as soon as there are whole characters."""

    def __init__(self, model: _Model, tellers: Sequence[Callable[[str], None] | None]) -> None:
        self._model = model
        self._tellers = tellers
        self._tokens: list[list[int]] = [[] for _ in tellers]
        self._told = [0] * len(tellers)
        self._begun = False

    def put(self, value: torch.Tensor) -> None:
        """The prompt, or the decoder's start, first; then a token for each answer."""
        if not self._begun:
            self._begun = True
            return
        for row, token in enumerate(value.reshape(-1).tolist()):
            tell = self._tellers[row]
            self._tokens[row].append(token)
            text = self._model.text(self._tokens[row]) if tell else ""
            if tell and len(text) > self._told[row] and not text.endswith("\ufffd"):
                tell(text[self._told[row] :])
                self._told[row] = len(text)

    def end(self) -> None:
        """Nothing is held back."""


def load_generator(folder: ModelFolder, answer_tokens: int, context: int, chat_tokens: int) -> TorchSeq2Seq | TorchChat:
    """What the folder holds. Raises UnfitModel."""
    try:
        config = AutoConfig.from_pretrained(folder.path, **_LOADING)
    except (OSError, ValueError, KeyError) as error:
        raise UnfitModel(folder.name, first_line(error), "RAG_GENERATOR") from error
    if config.is_encoder_decoder:
        return TorchSeq2Seq(folder, answer_tokens)
    return TorchChat(folder, context, chat_tokens)


def _digest(folder: ModelFolder) -> str:
    """SHA-256 over every file that may decide what comes out."""
    total = hashlib.sha256()
    files = [path for path in folder.path.rglob("*") if path.suffix in (".json", ".safetensors", ".model", ".txt")]
    for path in sorted(files):
        total.update(str(path.relative_to(folder.path)).encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _array(values: torch.Tensor) -> Vectors:
    array: Vectors = values.detach().float().cpu().numpy()
    return array
