"""The reference engine: sentence-transformers and transformers on PyTorch. Loads safetensors only, and only offline."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from rag_service.documents import Encoded, TokenVectors
from rag_service.engines import Vectors
from rag_service.engines.folders import ModelFolder

_BATCH = 32


class TorchEmbedder:
    """A sentence-transformers model, such as all-MiniLM-L6-v2."""

    def __init__(self, folder: ModelFolder) -> None:
        """Loads the model; takes some seconds, most of them for importing torch."""
        _let_threads_sleep()
        from sentence_transformers import SentenceTransformer
        from tokenizers import Tokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()

        self._model = SentenceTransformer(
            str(folder.path), device="cpu", local_files_only=True, model_kwargs={"use_safetensors": True}
        )
        # A copy of its own for counting: the model's tokenizer truncates and pads, and is not safe between threads.
        self._tokenizer = Tokenizer.from_str(self._model.tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._lock = threading.Lock()
        specials = len(self._tokenizer.encode("").ids)
        self._opening = self._tokenizer.encode("a").special_tokens_mask.index(0)  # special tokens before a text
        dimension = self._model.get_embedding_dimension()
        if dimension is None or self._model.max_seq_length is None:
            raise ValueError(f"{folder.name} does not say how long its texts and vectors are")
        self.dimension: int = dimension
        self.limit: int = self._model.max_seq_length - specials
        self.name = folder.name
        self.identity = f"sha256:{folder.digest()}"

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch(texts, add_special_tokens=False)]

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        # One batch at a time under the lock, so that a question never waits for a whole book.
        parts = [self._encode(list(texts[start : start + _BATCH])) for start in range(0, len(texts), _BATCH)]
        return numpy.concatenate(parts) if parts else numpy.zeros((0, self.dimension), dtype=numpy.float32)

    def embed_question(self, question: str) -> Vectors:
        with self._lock:
            vector = self._model.encode_query(question, normalize_embeddings=True, show_progress_bar=False)
        return numpy.ascontiguousarray(vector, dtype=numpy.float32)

    def encode_passages(self, texts: Sequence[str]) -> Encoded:
        parts = [
            self._with_tokens(texts[start : start + _BATCH], "document", self._model.encode_document)
            for start in range(0, len(texts), _BATCH)
        ]
        if not parts:
            return Encoded(numpy.zeros((0, self.dimension), dtype=numpy.float32), ())
        return Encoded(
            numpy.concatenate([part.vectors for part in parts]), tuple(one for part in parts for one in part.tokens)
        )

    def encode_question(self, question: str) -> Encoded:
        return self._with_tokens([question], "query", self._model.encode_query)

    def _encode(self, texts: list[str]) -> Vectors:
        with self._lock:
            vectors = self._model.encode_document(texts, normalize_embeddings=True, show_progress_bar=False)
        return numpy.ascontiguousarray(vectors, dtype=numpy.float32)

    def _with_tokens(self, texts: Sequence[str], kind: str, encode: Callable[..., list[dict[str, Any]]]) -> Encoded:
        with self._lock:
            outputs = encode(list(texts), output_value=None, normalize_embeddings=True, show_progress_bar=False)
        prompt = self._model.prompts.get(kind) or ""
        encodings = self._tokenizer.encode_batch([prompt + text for text in texts], add_special_tokens=False)
        tokens = [
            self._tokens_of(output["token_embeddings"].numpy(), encoding.offsets, len(prompt))
            for output, encoding in zip(outputs, encodings, strict=True)
        ]
        vectors = numpy.stack([output["sentence_embedding"].numpy() for output in outputs])
        return Encoded(numpy.ascontiguousarray(vectors, dtype=numpy.float32), tuple(tokens))

    def _tokens_of(self, states: Vectors, offsets: Sequence[tuple[int, int]], prompt: int) -> TokenVectors:
        """Of a text's hidden states those of its own tokens; `prompt` is the length of what stands before it."""
        places = numpy.array(offsets[: self.limit], dtype=numpy.int32).reshape(-1, 2)
        states = states[self._opening : self._opening + len(places)]
        own = places[:, 0] >= prompt
        lengths = numpy.linalg.norm(states[own], axis=1, keepdims=True)
        return TokenVectors(numpy.ascontiguousarray(states[own] / lengths, dtype=numpy.float32), places[own] - prompt)


class TorchGenerator:
    """A sequence-to-sequence model, such as flan-t5-small. Greedy: the same prompt gives the same answer."""

    def __init__(self, folder: ModelFolder, answer_tokens: int) -> None:
        _let_threads_sleep()
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, TextStreamer

        class Teller(TextStreamer):  # type: ignore[misc]  # passes text on in place of printing it
            def __init__(self, tokenizer: Any, tell: Callable[[str], None]) -> None:
                super().__init__(tokenizer, skip_special_tokens=True)
                self.on_finalized_text = lambda text, stream_end=False: tell(text) if text else None

        self._torch, self._teller = torch, Teller
        self._tokenizer = AutoTokenizer.from_pretrained(folder.path, local_files_only=True)
        self._model = AutoModelForSeq2SeqLM.from_pretrained(
            folder.path, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()
        self._answer_tokens = answer_tokens
        self._lock = threading.Lock()
        # T5 was trained on 512 tokens; a tokenizer without a limit of its own says a huge number.
        self.window: int = min(
            int(self._tokenizer.model_max_length), int(getattr(self._model.config, "n_positions", 512))
        )
        self.name = folder.name

    def count(self, prompt: str) -> int:
        with self._lock:
            return len(self._tokenizer(prompt, truncation=False, verbose=False)["input_ids"])

    def generate(self, prompt: str, tell: Callable[[str], None] | None = None) -> str:
        with self._lock, self._torch.inference_mode():
            inputs = self._tokenizer(prompt, return_tensors="pt", truncation=False, verbose=False)
            output = self._model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=self._answer_tokens,
                do_sample=False,
                num_beams=1,
                streamer=self._teller(self._tokenizer, tell) if tell else None,
            )
            return str(self._tokenizer.decode(output[0], skip_special_tokens=True)).strip()


def _let_threads_sleep() -> None:
    """Before torch is first imported: its idle threads would otherwise spin on the processor, and a question on a
    busy machine take twenty times as long (24 sentences on two cores: 0.2 s asleep, 3 s spinning)."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
