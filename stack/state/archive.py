"""A backup is one file: a compressed tar whose last member lists all others with their digests."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from stack.errors import StepFailed
from stack.state.folders import Member

FORMAT = 1
MANIFEST = "manifest.json"
# Where this version of the project says which version of each format it writes, and reads up to.
_VERSIONS = {
    "airflow": ("airflow/requirements.lock", r"^apache-airflow==([\d.]+)"),
    "mlflow": ("mlflow/requirements.lock", r"^mlflow==([\d.]+)"),
    "rag store": ("rag/rag_service/store/sqlite_schema.py", r"^VERSION = (\d+)$"),
    "postgresql": ("docker-compose.production.yml", r"^ +image: (?:postgres:|pgvector/pgvector:pg)(\d+)"),
}
_CHUNK = 1024 * 1024


@dataclass
class Manifest:
    """`members`: bytes and SHA-256 (none for a folder) by name. `versions`: of what wrote the formats within."""

    profile: str
    versions: dict[str, str]
    made_at: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()))
    format: int = FORMAT
    members: dict[str, tuple[int, str]] = field(default_factory=dict)


def versions(root: Path) -> dict[str, str]:
    """Of each format, as this version of the project has it."""
    found = {}
    for name, (path, pattern) in _VERSIONS.items():
        match = re.search(pattern, (root / path).read_text(encoding="utf-8"), re.M)
        assert match is not None, f"{path} no longer says the version of {name}"  # noqa: S101
        found[name] = match[1]
    return found


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """A folder of a backup's own within `folder`; what a killed one left there is removed. Raises StepFailed where
    another is being made."""
    work = folder / ".backup.part"
    folder.mkdir(parents=True, exist_ok=True)
    alone = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except BlockingIOError:
        raise StepFailed(f"another backup is being written to {folder}", "wait until it has ended") from None
    finally:
        os.close(alone)


def write(path: Path, work: Path, manifest: Manifest, members: Iterable[Member]) -> None:
    """Writes `path`, whole or not at all, for its owner alone; says how much of each part there is. Raises OSError."""
    report = _Report()
    draft = work / path.name
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        # Models hardly shrink: more than the lowest level takes longer than writing them.
        with gzip.open(file, "wb", compresslevel=1) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
            for info, content in members:
                reader = None if content is None else _Digest(content)
                tar.addfile(info, reader)
                manifest.members[info.name] = (info.size, reader.sha256.hexdigest() if reader else "")
                report.count(info)
            report.end()
            text = json.dumps(asdict(manifest), indent=1).encode()
            last = tarfile.TarInfo(MANIFEST)
            last.size = len(text)
            tar.addfile(last, io.BytesIO(text))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def check(path: Path, root: Path) -> Manifest:
    """Reads the whole file. Raises StepFailed for one that is not whole, or newer than this version of the project."""
    seen: dict[str, tuple[int, str]] = {}
    text = b""
    try:
        for info, content in members(path):
            reader = None if content is None else _Digest(content)
            if info.name == MANIFEST and content is not None:
                text = content.read()
                continue
            while reader and reader.read(_CHUNK):
                pass
            seen[info.name] = (info.size, reader.sha256.hexdigest() if reader else "")
        raw = json.loads(text)
        if raw["format"] > FORMAT:
            raise StepFailed(
                f"{path} has format {raw['format']}; this version of the project reads up to {FORMAT}",
                "restore it with the version that made it, or a later one",
            )
        manifest = Manifest(**raw | {"members": {name: (size, sha) for name, (size, sha) in raw["members"].items()}})
    except (OSError, EOFError, tarfile.TarError, ValueError, LookupError, TypeError) as error:
        raise StepFailed(f"{path} is not a complete backup: {error}", "take another file") from error
    if different := [name for name in seen.keys() | manifest.members if seen.get(name) != manifest.members.get(name)]:
        raise StepFailed(f"{path} is damaged: {sorted(different)[0]} does not match its manifest", "take another file")
    ours = versions(root)
    for name, version in manifest.versions.items():
        if name not in ours or _ordered(version) > _ordered(ours[name]):
            raise StepFailed(
                f"{path} was made with {name} {version}; this version of the project has {ours.get(name, 'none')}",
                "restore it with the version that made it, or a later one",
            )
    return manifest


def members(path: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """Of a backup, one after the other."""
    with gzip.open(path, "rb") as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
        for info in tar:
            yield info, tar.extractfile(info)


def megabytes(size: int) -> str:
    """For people: `1.5 MB`."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)


class _Digest:
    """A file to read from, and the digest of what was read."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content, self.sha256 = content, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._content.read(size)
        self.sha256.update(data)
        return data


class _Report:
    """One line for each part of the backup, when it has ended."""

    def __init__(self) -> None:
        self._part, self._last, self._files, self._bytes = "", "", 0, 0

    def count(self, info: tarfile.TarInfo) -> None:
        part = "/".join(info.name.split("/")[:2])
        if part != self._part:
            self.end()
            self._part = part
        if info.isreg():
            self._last, self._files, self._bytes = info.name, self._files + 1, self._bytes + info.size

    def end(self) -> None:
        if self._files:
            what = self._last if self._files == 1 else f"{self._part}: {self._files} files"
            print(f"  {what:<44} {megabytes(self._bytes):>12}", flush=True)
        self._files, self._bytes = 0, 0
