"""Where a scoring's two results go: written beside their places, and moved there when both are whole."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.errors import ConfigError, OutputExists

MOVING = "_moving"  # lies in the folder of rejected rows until the scored ones are in their place too


@dataclass(frozen=True)
class Places:
    """Where a table comes from and where the two results go: folders of part files, as Spark writes them."""

    input: str
    output: Path
    rejected: Path
    format: Literal["parquet", "csv"] = "parquet"
    overwrite: bool = False


def require_free(places: Places) -> None:
    """Raises OutputExists. Only an earlier result is ever replaced, which Spark marks by a file of its own, and what a
    scoring left that was killed between its two moves."""
    for path in (places.output, places.rejected):
        replaceable = (path / "_SUCCESS").is_file()
        left_over = path == places.rejected and (path / MOVING).is_file() and not places.output.exists()
        if path.exists() and not left_over and not (places.overwrite and replaceable):
            raise OutputExists(path, replaceable)
    if places.output.resolve() == places.rejected.resolve():
        raise ConfigError(f"--output and --rejected are both {places.output}", "Name two places.")


@contextmanager
def staging(places: Places) -> Iterator[tuple[Path, Path]]:
    """Where to write the scored and the rejected rows: beside their places, to which they go at the end of the block.

    The scored rows come last: who sees them sees the rejected ones too. Of two scorings into the same places one comes
    after the other, and never is the one's result beside the other's rejected rows. Raises OutputExists.
    """
    targets = (places.output.resolve(), places.rejected.resolve())
    folders: list[Path] = []
    try:
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
            folders.append(Path(tempfile.mkdtemp(prefix=".scoring-", dir=target.parent)))
        scored, rejected = (folder / "new" for folder in folders)
        yield scored, rejected
        with _alone(targets[0].parent):
            require_free(places)
            (rejected / MOVING).touch()
            for folder, target in zip(reversed(folders), reversed(targets), strict=True):
                if target.exists():
                    target.rename(folder / "old")
                (folder / "new").rename(target)
            (targets[1] / MOVING).unlink()
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time, by a lock on the folder; it ends with the process."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
