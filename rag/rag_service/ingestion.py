"""A file becomes a stored document: read, cut, embedded, written. Each file gets a verdict; none stops the others."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy

from rag_service.chunking import chunk
from rag_service.documents import Extracted, Verdict
from rag_service.engines import Embedder
from rag_service.errors import LoadFailed
from rag_service.late_interaction import signs
from rag_service.loaders import KINDS, Limits, extract
from rag_service.store import Store

log = logging.getLogger(__name__)

# Hears of a long file's progress: passages embedded, passages in all.
Tell = Callable[[int, int], None]
_AT_ONCE = 128


class Library:
    """Adds files to the store. One at a time: reading and embedding use the machine's cores already."""

    def __init__(
        self, store: Store, embedder: Embedder, limits: Limits, chunk_tokens: int, overlap_tokens: int
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._limits = limits
        self._chunk_tokens = chunk_tokens
        self._overlap_tokens = overlap_tokens
        self._lock = threading.Lock()

    def add(
        self, name: str, data: bytes, collection: str, origin: str | None = None, tell: Tell | None = None
    ) -> Verdict:
        """Adds one file, or says why not; `origin` is the watched folder that it comes from. Raises only what
        concerns every file, such as OtherEmbedder."""
        name = clean_name(name)
        document_id = hashlib.sha256(data).hexdigest()
        with self._lock:
            known = self._store.find(collection, document_id=document_id)
            if known is not None:
                return self._unchanged(name, collection, known.name, document_id, known.passages)
            try:
                passages = self._index(name, data, collection, document_id, origin, tell)
            except LoadFailed as failure:
                log.info("%s failed: %s (%s)", name, failure.code, failure.detail)
                return Verdict(name, "failed", code=failure.code, reason=failure.detail)
        log.info("%s indexed in %s: %d passages", name, collection, passages)
        return Verdict(name, "indexed", document_id, passages)

    def write(
        self,
        extracted: Extracted,
        collection: str,
        document_id: str,
        name: str,
        size: int,
        origin: str | None = None,
        added_at: str | None = None,
        tell: Tell | None = None,
    ) -> int:
        """Cuts, embeds and stores a text that was read; gives the number of passages. Raises OtherEmbedder."""
        embedder = self._embedder
        limit = min(self._chunk_tokens, embedder.limit)
        spans = chunk(extracted, embedder.count, limit, min(self._overlap_tokens, limit // 2))
        texts = [extracted.text[span.start : span.end] for span in spans]
        vectors, packed = [], []
        for start in range(0, len(texts) or 1, _AT_ONCE):
            if tell is not None:
                tell(start, len(texts))
            some = texts[start : start + _AT_ONCE]
            encoded = embedder.encode_passages(some)
            vectors.append(encoded.vectors)
            packed += [signs(tokens, text) for tokens, text in zip(encoded.tokens, some, strict=True)]
        every, identity = numpy.concatenate(vectors), embedder.identity
        self._store.add(
            collection, document_id, name, size, extracted, spans, every, identity, origin, added_at, packed
        )
        return len(spans)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is added meanwhile."""
        with self._lock:
            yield

    def use(self, embedder: Embedder) -> None:
        """Embeds with this one from now on."""
        self._embedder = embedder

    def _index(
        self, name: str, data: bytes, collection: str, document_id: str, origin: str | None, tell: Tell | None
    ) -> int:
        self._store.check_embedder(self._embedder.identity)
        extracted = extract(name, data, self._limits)
        return self.write(extracted, collection, document_id, name, len(data), origin, tell=tell)

    def _unchanged(self, name: str, collection: str, stored: str, document_id: str, passages: int) -> Verdict:
        reason = None
        if stored != name:
            reason = f"The same content is there as {stored}."
            # What this name held before is no longer what the file says, and must not be cited.
            if self._store.find(collection, name=name) is not None:
                self._store.delete_name(collection, name)
        return Verdict(name, "unchanged", document_id, passages, reason=reason)


def clean_name(name: str) -> str:
    """A file's name as a relative path without `..`, control characters or back strokes; at most 255 characters."""
    name = re.sub(r"[\x00-\x1f\x7f]", "", name.encode("utf-8", "replace").decode()).replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    return "/".join(parts)[-255:] or "unnamed"


def read_file(path: Path, most: int) -> bytes:
    """A file's content, or as much of it as shows that it is larger than `most` bytes. Raises LoadFailed."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise LoadFailed("unreadable", f"The file cannot be opened ({error.strerror}).") from error


def files_under(paths: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Each file with the name it is stored by. A folder gives the files of known types in it, at any depth, named by
    their place in the folder; hidden ones are left out. A file that is named itself is given whatever its type."""
    for path in paths:
        if not path.is_dir():
            yield path.name, path
            continue
        for file in sorted(path.rglob("*")):
            place = file.relative_to(path)
            hidden = any(part.startswith(".") for part in place.parts)
            if file.is_file() and not hidden and file.suffix.lower() in KINDS:
                yield place.as_posix(), file
