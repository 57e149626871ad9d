"""Files of a folder or a bucket: listed with the names that they are stored by, and read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pyarrow import fs

from rag_service.errors import LoadFailed, NoDocuments
from rag_service.indexing.ingest import clean_name, files_under, read_file
from rag_service.reading import KINDS

S3 = "s3://"


@dataclass(frozen=True)
class File:
    """`stamp` changes when the content does."""

    name: str
    path: str
    size: int
    stamp: str


def place_of(where: str) -> str:
    """The same for every process of this machine."""
    return where.rstrip("/") if where.startswith(S3) else str(Path(where).absolute())


def opened(where: str) -> tuple[Any, str]:
    """The file system of a folder or of s3://bucket/prefix, and the place in it. Raises NoDocuments."""
    if not where.startswith(S3):
        return fs.LocalFileSystem(), where
    place = where.removeprefix(S3).strip("/")
    # By an address, as only then Arrow heeds AWS_ENDPOINT_URL; without the prefix, which may have any letters.
    try:
        return fs.FileSystem.from_uri(S3 + place.partition("/")[0])[0], place
    except (OSError, ValueError) as error:  # the name is none, or the bucket's region cannot be asked for
        raise NoDocuments(where, str(error).partition("; Details")[0]) from error


def files_of(where: str) -> Iterator[File]:
    """By name. The rules are those of `files_under`. Raises NoDocuments."""
    if where.startswith(S3):
        yield from _objects(where)
        return
    if not where or not Path(where).is_dir():
        raise NoDocuments(where, "there is no such folder")
    for name, path in files_under([Path(where)]):
        stat = path.stat()
        yield File(clean_name(name), str(path.absolute()), stat.st_size, str(stat.st_mtime_ns))


def read(where: str, file: File, most: int) -> bytes:
    """A file's content, or as much of it as shows that it is larger than `most` bytes. Raises LoadFailed."""
    if not where.startswith(S3):
        return read_file(Path(file.path), most)
    try:
        with opened(where)[0].open_input_stream(file.path) as stream:
            data: bytes = stream.read(most + 1)
            return data
    except (OSError, NoDocuments) as error:
        raise LoadFailed("unreadable", f"The object cannot be opened ({error}).") from error


def _objects(where: str) -> Iterator[File]:
    system, root = opened(where)

    def under(folder: str) -> Iterator[File]:
        for one in sorted(system.get_file_info(fs.FileSelector(folder)), key=lambda info: str(info.path)):
            if one.base_name.startswith("."):
                continue
            if one.type == fs.FileType.Directory:
                yield from under(one.path)
            elif PurePosixPath(one.path).suffix.lower() in KINDS:
                yield File(clean_name(one.path[len(root) :]), one.path, one.size, str(one.mtime_ns))

    try:
        yield from under(root)
    except OSError as error:
        raise NoDocuments(where, str(error)) from error
