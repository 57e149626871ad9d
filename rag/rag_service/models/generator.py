"""The generator: a T5-like model, such as flan-t5-small, run by CTranslate2. Greedy: a prompt has one answer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from rag_service.models.batching import WORKERS, Lane
from rag_service.models.convert import converted, read_json
from rag_service.models.find import ModelFolder

_VARIABLE = "RAG_GENERATOR"
# Prompts in one batch; 16 full ones take about 100 MB more for their attention.
_BATCH = 16
# Questions that were answered together come back within about this time, in seconds.
_LINGER = 0.03


@dataclass(frozen=True)
class _Job:
    tokens: list[str]
    tell: Callable[[int], None] | None


class T5Generator:
    """Prompts that come at the same time, from whomever, are answered in one batch."""

    def __init__(self, folder: ModelFolder, models_dir: Path, compute: str, answer_tokens: int) -> None:
        """Loads the model; converts it first where that has not been done. Raises UnfitModel."""
        model = converted(folder, compute, models_dir, _VARIABLE)
        self._tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._translator = ctranslate2.Translator(
            str(model), compute_type=compute, inter_threads=WORKERS, intra_threads=1
        )
        _keep_freed_memory()  # not before: what converting needed is given back
        self._answer_tokens = answer_tokens
        self._lane = Lane("generate", self._translate, _BATCH, workers=WORKERS, linger=_LINGER)
        # T5 was trained on 512 tokens; a tokenizer without a limit of its own says a huge number, or nothing.
        limits = (read_json(folder.path / "tokenizer_config.json").get("model_max_length"),
                  read_json(folder.path / "config.json").get("n_positions"))  # fmt: skip
        self.window: int = min([512, *(int(limit) for limit in limits if limit)])
        self.name = folder.name

    def count(self, prompt: str) -> int:
        return len(self._tokenizer.encode(prompt).ids)

    def generate(self, prompt: str, tell: Callable[[str], None] | None = None) -> str:
        job = _Job(self._tokenizer.encode(prompt).tokens, self._teller(tell) if tell else None)
        [waiting] = self._lane.submit([job])
        numbers = [self._tokenizer.token_to_id(token) for token in waiting.result()]
        return str(self._tokenizer.decode([number for number in numbers if number is not None])).strip()

    def _teller(self, tell: Callable[[str], None]) -> Callable[[int], None]:
        """Takes an answer's tokens one by one, and tells text as soon as there are whole characters."""
        stream = DecodeStream(skip_special_tokens=True)

        def take(token: int) -> None:
            piece = stream.step(self._tokenizer, token)
            if piece:
                tell(piece)

        return take

    def _translate(self, jobs: Sequence[_Job]) -> list[list[str]]:
        def step(result: Any) -> bool:
            take = jobs[result.batch_id].tell
            if take:
                take(result.token_id)
            return False

        results = self._translator.translate_batch(
            [job.tokens for job in jobs],
            beam_size=1,
            max_input_length=0,  # what does not fit the window is the prompt's matter
            max_decoding_length=self._answer_tokens,
            callback=step if any(job.tell for job in jobs) else None,
        )
        return [result.hypotheses[0] for result in results]


def _keep_freed_memory() -> None:
    """Lets the C library keep the buffers of a batch's attention for the next layer. By default it gives whatever is
    larger than 32 MB back to the system at once, and the page faults of taking it again are a quarter of the time that
    eight prompts take together. For the whole process; where the C library is not glibc, nothing happens."""
    mmap_threshold, trim_threshold, gigabyte = -3, -1, 1 << 30  # as malloc.h numbers them
    with suppress(AttributeError, OSError, TypeError):
        adjust = ctypes.CDLL(None).mallopt
        adjust(mmap_threshold, gigabyte)
        adjust(trim_threshold, gigabyte)
