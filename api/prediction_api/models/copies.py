"""Verified copies of promoted models on the local disk, so that the service starts and serves without the registry."""

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from prediction_api.errors import ArtifactUnavailable, DigestMismatch

KEPT = 3
LEFTOVER_SECONDS = 3_600.0  # older than any download takes: another replica on the same folder may be writing


def now() -> datetime:
    return datetime.now(UTC)


class VersionRecord(BaseModel):
    """A version that carried the alias; beside its copy, as <version>.json. Tags that the registry lacks are ""."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str = Field(pattern=r"^\d+$")
    alias: str
    sha256: str
    signature: str | None = None
    run_id: str | None
    resident: int = 0  # bytes that it takes once it is loaded, as the trial measured
    registered: int = 0  # when the model was, in ms: the first one is the default model
    adopted_at: AwareDatetime = Field(default_factory=now)


class ModelCopies:
    """The folder MODELS_DIR/<name>: a pair of <version>.onnx and <version>.json for each of the last three models."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new_file(self) -> Path:
        """An empty file on the same disk, to download into. Raises ArtifactUnavailable when nothing can be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            handle, path = tempfile.mkstemp(dir=self.folder, suffix=".part")
            os.close(handle)
        except OSError as error:
            raise ArtifactUnavailable(f"cannot write to {self.folder}: {error.strerror}") from None
        return Path(path)

    def read(self, record: VersionRecord) -> bytes | None:
        """The copy's bytes, or None where there is none.

        Raises DigestMismatch when it is not what was promoted, ArtifactUnavailable when it cannot be read.
        """
        path = self._model_file(record.version)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArtifactUnavailable(f"the copy {path.name} cannot be read: {error.strerror}") from None
        check_digest(content, record.sha256, f"the copy {path.name}")
        return content

    def keep(self, downloaded: Path | None, record: VersionRecord) -> None:
        """Makes the verified file the version's copy (None: its copy is already here) and drops the oldest ones.

        The record comes after the model: a kill in between leaves a pair whose digests differ, which is never loaded.
        """
        if downloaded is not None:
            with downloaded.open("rb") as file:
                os.fsync(file.fileno())
            downloaded.replace(self._model_file(record.version))
        if before := self.newest_first():  # a clock that was put back must not make the live model the oldest
            after = max(record.adopted_at, before[0].adopted_at + timedelta(milliseconds=1))
            record = record.model_copy(update={"adopted_at": after})
        part = self.new_file()
        part.write_text(record.model_dump_json(indent=1), encoding="utf-8")
        part.replace(self._record_file(record.version))
        for old in self.newest_first()[KEPT:]:
            self._record_file(old.version).unlink(missing_ok=True)
            self._model_file(old.version).unlink(missing_ok=True)

    def withdraw(self, alias: str) -> None:
        """Leaves no record, so that no copy is served at a start; a promotion finds the file again."""
        for record in self.to_serve(alias):
            with suppress(OSError):
                self._record_file(record.version).unlink(missing_ok=True)

    def drop_leftovers(self) -> None:
        """Removes what a killed process left an hour ago: files half written, and models without their record."""
        known = {self._model_file(record.version) for record in self.newest_first()}
        alone = {path for path in self.folder.glob("*.onnx") if path.stem.isdigit()} - known
        for path in [*self.folder.glob("*.part"), *alone]:
            with suppress(OSError):  # it takes room, and keeps nothing from being served
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink(missing_ok=True)

    def to_serve(self, alias: str) -> list[VersionRecord]:
        """The records of what may be served without the registry, the one that went live last in front."""
        return [record for record in self.newest_first() if record.alias == alias]

    def newest_first(self) -> list[VersionRecord]:
        """The records that can be read, the one that went live last in front."""
        records = []
        for path in self.folder.glob("*.json"):
            try:
                record = VersionRecord.model_validate_json(path.read_bytes())
            except (ValidationError, OSError):
                continue  # half a pair is as good as none: the registry gives the model again
            if path == self._record_file(record.version):
                records.append(record)
        return sorted(records, key=lambda record: record.adopted_at, reverse=True)

    def _model_file(self, version: str) -> Path:
        return self.folder / f"{version}.onnx"

    def _record_file(self, version: str) -> Path:
        return self.folder / f"{version}.json"


def check_digest(content: bytes, sha256: str, what: str) -> None:
    """Raises DigestMismatch unless the bytes have this SHA-256 (hex, any case)."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        raise DigestMismatch(f"{what} has SHA-256 {found[:12]}..., {sha256[:12]}... was promoted")
