"""Parts of a bulk: some files each, read and embedded into one Parquet file, which is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

import numpy
import pyarrow
from numpy.typing import NDArray
from pyarrow import fs, parquet

from rag_service.bulk.files import File, opened, read
from rag_service.errors import LoadFailed, OtherEmbedder
from rag_service.indexing.ingest import embedded, read_document
from rag_service.models.engines import Embedder
from rag_service.models.load import load_embedder
from rag_service.reading import Limits, extracted_of
from rag_service.settings import Settings
from rag_service.store.protocol import Edition, Named, Passages
from rag_service.types import READER_VERSION, Span

_MOST_FILES, _MOST_BYTES = 100, 32 * 1024 * 1024  # of a part: what a kill may lose
_AT_ONCE = 8 * 1024 * 1024  # bytes of a row group, which is one transaction when it is loaded

_PASSAGE = pyarrow.struct(
    {
        "start": pyarrow.int32(),
        "end": pyarrow.int32(),
        "page": pyarrow.int32(),
        "heading": pyarrow.string(),
        "vector": pyarrow.binary(),  # float32
        "signs": pyarrow.binary(),
        "terms": pyarrow.list_(pyarrow.string()),
    }
)
# `verdict`: `failed`, then with code and reason; `unchanged` where the content is stored already, then without it.
_SCHEMA = pyarrow.schema(
    {
        "name": pyarrow.string(),
        "id": pyarrow.string(),
        "size": pyarrow.int64(),
        "verdict": pyarrow.string(),
        "code": pyarrow.string(),
        "reason": pyarrow.string(),
        "extracted": pyarrow.string(),  # JSON
        "original": pyarrow.binary(),
        "passages": pyarrow.list_(_PASSAGE),
    }
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """`key` is made of all that its result depends on, so a result that is there need not be made again."""

    key: str
    files: Sequence[File]


@dataclass(frozen=True)
class Work:
    """What every part is made by. `known` are the ids of contents that are stored already, in order."""

    source: str
    folder: str
    settings: Settings
    limits: Limits
    edition: Edition
    known: NDArray[numpy.bytes_]

    def parts(self, files: Iterable[File]) -> Iterator[Part]:
        some: list[File] = []
        for file in files:
            if some and (len(some) == _MOST_FILES or sum(one.size for one in some) + file.size > _MOST_BYTES):
                yield self._part(some)
                some = []
            some.append(file)
        if some:
            yield self._part(some)

    def _part(self, files: Sequence[File]) -> Part:
        facts = (files, self.edition, self.limits, self.settings.max_original_bytes, READER_VERSION)
        return Part(hashlib.sha256(repr(facts).encode()).hexdigest(), files)

    def done(self) -> set[str]:
        """The keys of the parts that are there."""
        system, folder = opened(self.folder)
        found = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return {PurePosixPath(one.path).stem for one in found if one.path.endswith(".parquet")}

    def remove(self) -> None:
        system, folder = opened(self.folder)
        system.delete_dir(folder)

    def make(self, part: Part) -> None:
        """Reads and embeds the files of a part. What is wrong with a file is its own verdict. Raises OtherEmbedder."""
        embedder = _embedder(self.settings)
        if embedder.identity != self.edition.embedder:
            raise OtherEmbedder(self.edition.embedder, embedder.identity)
        system, folder = opened(self.folder)
        system.create_dir(folder)
        target = f"{folder}/{part.key}.parquet"
        partial = f"{target}.{uuid4().hex}"
        with system.open_output_stream(partial) as stream, parquet.ParquetWriter(stream, _SCHEMA) as writer:
            for rows in _groups(self._row(file, embedder) for file in part.files):
                writer.write_table(pyarrow.Table.from_pylist(rows, _SCHEMA))
        system.move(partial, target)

    def _row(self, file: File, embedder: Embedder) -> Row:
        try:
            data = read(self.source, file, self.limits.file_bytes)
            row: Row = {"name": file.name, "id": hashlib.sha256(data).hexdigest(), "size": len(data)}
            known = row["id"].encode()
            place = int(numpy.searchsorted(self.known, known))
            if place < len(self.known) and self.known[place] == known:
                return row | {"verdict": "unchanged"}
            named = read_document(file.name, row["id"], data, self.limits, self.settings.max_original_bytes)
            passages = embedded(named.extracted, self.edition, embedder)
        except LoadFailed as failure:
            return _failed(file, failure.code, failure.detail)
        except Exception as error:  # whatever it is, it must not end the work on all the others
            return _failed(file, "damaged", f"The work on the file broke ({type(error).__name__}: {error}).")
        each = zip(passages.spans, passages.vectors, passages.signs, passages.terms, strict=True)
        return row | {
            "verdict": "indexed",
            "extracted": json.dumps(named.extracted, default=vars),
            "original": named.original,
            "passages": [
                {**vars(span), "vector": vector.tobytes(), "signs": signs, "terms": terms}
                for span, vector, signs, terms in each
            ],
        }

    def rows(self, part: Part, columns: Sequence[str] | None = None) -> Iterator[list[Row]]:
        """The part's files, some at a time, as they were made."""
        system, folder = opened(self.folder)
        with (
            system.open_input_file(f"{folder}/{part.key}.parquet") as stream,
            closing(parquet.ParquetFile(stream)) as file,
        ):
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns).to_pylist()


def document_of(row: Row) -> tuple[Named, Passages]:
    """The document of a row that has one."""
    found = row["passages"]
    spans = [Span(one["start"], one["end"], one["page"], one["heading"]) for one in found]
    vectors = numpy.stack([numpy.frombuffer(one["vector"], dtype=numpy.float32) for one in found])
    passages = Passages(spans, vectors, [one["signs"] for one in found], [one["terms"] for one in found])
    extracted = extracted_of(json.loads(row["extracted"]))
    return Named(row["name"], row["id"], row["size"], extracted, original=row["original"]), passages


def _failed(file: File, code: str, reason: str) -> Row:
    return {"name": file.name, "verdict": "failed", "code": code, "reason": reason}


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows of about `_AT_ONCE` bytes together."""
    some: list[Row] = []
    size = 0
    for row in rows:
        some.append(row)
        size += len(row.get("extracted", "")) + len(row.get("original") or b"")
        size += sum(len(one["vector"]) + len(one["signs"]) for one in row.get("passages", ()))
        if size >= _AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


@cache
def _embedder(settings: Settings) -> Embedder:
    """One for each process that embeds, on one core: Spark runs as many as it was given cores."""
    return load_embedder(settings, workers=1)
