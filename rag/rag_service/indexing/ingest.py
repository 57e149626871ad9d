"""A file becomes a stored document: read, cut, embedded, written. Each file gets a verdict; none stops the others."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy

from rag_service.errors import LoadFailed, OtherEmbedder
from rag_service.indexing.chunk import chunk
from rag_service.language import language_of, terms_of
from rag_service.models.engines import Embedder
from rag_service.reading import KINDS, Limits, extract, kind_of
from rag_service.search.maxsim import signs
from rag_service.store.protocol import Edition, Named, Passages, Store
from rag_service.types import Extracted, Verdict

log = logging.getLogger(__name__)

# Is called with a long file's progress: passages embedded, passages in all.
OnPassages = Callable[[int, int], None]
_AT_ONCE = 128


class Library:
    """Adds files to the store. Files are read beside each other; embedding takes the machine's cores in turn."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        limits: Limits,
        wanted: Edition,
        most_original_bytes: int = 0,
        on_verdict: Callable[[Verdict], None] | None = None,
    ) -> None:
        """`wanted`: the edition that an empty store begins with. `most_original_bytes`: of a PDF that is kept."""
        self._on_verdict = on_verdict
        self._store = store
        self._embedders = {embedder.identity: embedder}
        self._limits = limits
        self._wanted = wanted
        self._most_original_bytes = most_original_bytes
        self._lock = threading.Lock()

    def add(
        self,
        name: str,
        data: bytes,
        collection: str,
        origin: str | None = None,
        metadata: Mapping[str, str] | None = None,
        on_passages: OnPassages | None = None,
    ) -> Verdict:
        """Adds one file, or says why not; `origin` is the watched folder that it comes from. Without `metadata`, those
        of an unchanged file stay. Raises only what concerns every file, such as OtherEmbedder."""
        verdict = self._added(name, data, collection, origin, metadata, on_passages)
        if self._on_verdict is not None:
            self._on_verdict(verdict)
        return verdict

    def _added(
        self,
        name: str,
        data: bytes,
        collection: str,
        origin: str | None,
        metadata: Mapping[str, str] | None,
        on_passages: OnPassages | None,
    ) -> Verdict:
        name = clean_name(name)
        document_id = hashlib.sha256(data).hexdigest()
        self.edition()
        before = self._store.find(collection, name=name)
        known = self._store.add_name(collection, name, document_id, origin, metadata)
        if known is not None:  # stored already, under whichever name
            same = before is not None and before.id == document_id
            return Verdict(
                name, "unchanged" if same else "indexed", document_id, known.passages, warnings=known.warnings
            )
        try:
            named = read_document(name, document_id, data, self._limits, self._most_original_bytes)
        except LoadFailed as failure:
            log.info("%s failed: %s (%s)", name, failure.code, failure.detail)
            return Verdict(name, "failed", code=failure.code, reason=failure.detail)
        with self._lock:
            edition = self.edition()
            passages = self.passages(named.extracted, edition, on_passages)
            self._store.put(collection, replace(named, origin=origin, metadata=metadata or {}), edition, passages)
        log.info("%s indexed in %s: %d passages", name, collection, len(passages.spans))
        return Verdict(name, "indexed", document_id, len(passages.spans), warnings=named.extracted.warnings)

    def passages(self, extracted: Extracted, edition: Edition, on_passages: OnPassages | None = None) -> Passages:
        """A text cut and embedded as the edition says."""
        return embedded(extracted, edition, self._embedders[edition.embedder], on_passages)

    def use_also(self, embedder: Embedder) -> None:
        """Embeds with this one too, for the edition that is its own."""
        self._embedders = {**self._embedders, embedder.identity: embedder}

    def use_only(self, embedder: Embedder, wanted: Edition) -> None:
        """Embeds with this one alone from now on; an empty store begins with the edition `wanted`."""
        self._embedders, self._wanted = {embedder.identity: embedder}, wanted

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is added meanwhile."""
        with self._lock:
            yield

    def edition(self) -> Edition:
        """The store's edition, else the one to begin with. Raises OtherEmbedder."""
        edition = self._store.edition() or self._wanted
        if edition.embedder not in self._embedders:
            raise OtherEmbedder(edition.embedder, self._wanted.embedder)
        return edition


def read_document(name: str, document_id: str, data: bytes, limits: Limits, most_original_bytes: int) -> Named:
    """A file's content, with the file itself where that is kept. Raises LoadFailed."""
    keep = len(data) <= most_original_bytes and kind_of(name, data) == "pdf"
    return Named(name, document_id, len(data), extract(name, data, limits), original=data if keep else None)


def embedded(
    extracted: Extracted, edition: Edition, embedder: Embedder, on_passages: OnPassages | None = None
) -> Passages:
    """A text cut and embedded as the edition says, which is the embedder's."""
    limit = min(edition.chunk_tokens, embedder.limit)
    spans = chunk(extracted, embedder.count, limit, min(edition.overlap_tokens, limit // 2))
    texts = [extracted.text[span.start : span.end] for span in spans]
    vectors, packed = [], []
    for start in range(0, len(texts) or 1, _AT_ONCE):
        if on_passages is not None:
            on_passages(start, len(texts))
        some = texts[start : start + _AT_ONCE]
        encoded = embedder.encode_passages(some)
        vectors.append(encoded.vectors)
        packed += [signs(tokens, text) for tokens, text in zip(encoded.tokens, some, strict=True)]
    language = language_of(extracted.text)
    return Passages(spans, numpy.concatenate(vectors), packed, [terms_of(text, language) for text in texts])


def clean_name(name: str) -> str:
    """A file's name as a relative path without `..`, control characters or backslashes; at most 255 characters."""
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
    """Each file with the name that it is stored by. Of a folder, the files of known types in it, at any depth. A file
    that is named itself is included whatever its type."""
    for path in paths:
        if path.is_dir():
            yield from (one for one in _inside(path) if _is_known(one[1]))
        else:
            yield path.name, path


def files_left_out(paths: Iterable[Path]) -> list[str]:
    """The names of the files in the folders whose types are not read."""
    return [name for path in paths if path.is_dir() for name, file in _inside(path) if not _is_known(file)]


def _is_known(file: Path) -> bool:
    return file.suffix.lower() in KINDS


def _inside(folder: Path) -> Iterator[tuple[str, Path]]:
    """The folder's files, named by their place in it. Left out are hidden ones, and links that lead out of it: what
    they show may be anything on this machine."""
    inside = folder.resolve()
    for file in sorted(folder.rglob("*")):
        place = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if file.is_file() and not hidden and file.resolve().is_relative_to(inside):
            yield place.as_posix(), file
