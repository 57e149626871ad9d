"""What a model must do, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy
from numpy.typing import NDArray

from rag_service.types import Encoded

Vectors = NDArray[numpy.float32]


class Embedder(Protocol):
    """Turns text into vectors. `identity` changes when the vectors do; `limit` is the longest text in tokens,
    special tokens not counted; `dimension` the length of a vector."""

    identity: str
    name: str
    limit: int
    dimension: int

    def count(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, special tokens not counted."""

    def places(self, texts: Sequence[str]) -> list[NDArray[numpy.int32]]:
        """Of each passage where its tokens stand, as `encode_passages` returns it with their vectors."""

    def encode_passages(self, texts: Sequence[str], urgent: bool = False) -> Encoded:
        """The vectors of texts and of their tokens. Questions go before texts that are being ingested; `urgent` ones
        belong to a question."""

    def encode_question(self, question: str) -> Encoded:
        """The vectors of one question and of its tokens."""


class Generator(Protocol):
    """Writes an answer to a prompt. `window` is the longest prompt in tokens, special tokens counted."""

    name: str
    window: int

    def count(self, prompt: str) -> int:
        """The prompt's tokens, special tokens counted."""

    def generate(self, prompt: str, tell: Callable[[str], None] | None = None) -> str:
        """The answer, without special tokens. The prompt must fit the window. `tell` gets the text piece by piece as
        it is written, from another thread; the pieces joined are the answer, white space around it apart."""


@dataclass(frozen=True)
class Message:
    """A turn of a conversation with a chat model."""

    role: Literal["system", "user"]
    content: str


@runtime_checkable
class ChatGenerator(Protocol):
    """Writes an answer to a conversation, on another machine perhaps: `sent_to` is its host. `window` is the longest
    conversation in tokens."""

    name: str
    window: int
    sent_to: str | None

    def count(self, messages: Sequence[Message]) -> int:
        """An upper estimate of their tokens."""

    def write(self, messages: Sequence[Message], tell: Callable[[str], None]) -> bool:
        """Passes the answer on piece by piece, from this thread. Returns whether the model itself ended it. Raises
        GeneratorFailed, also after some pieces."""
