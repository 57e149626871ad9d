"""The folders that hold the stack's state, read while its programs write, and written back.

Runs where the folders are: within `make`, or in a container that has the volumes under /state. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

Member = tuple[tarfile.TarInfo, "IO[bytes] | None"]  # its content is read before the next one is asked for

# In this order the databases are read: what Airflow calls done is in MLflow, which is read after it.
NAMES = (
    "airflow", "airflow-server", "mlflow", "rag", "signing-private", "signing-public", "predictions", "scored", "proxy",
)  # fmt: skip
# Not saved, and left where it is by a restore: models of the hub, and a file of ours.
KEPT = {"rag": {"models"}, "mlflow": {"README.md"}}
# Not saved either, but removed: an index that is newer than its store would cite the wrong passages.
DERIVED = {"rag": {"index", "data/index"}}
# Lies in each folder from the beginning of a restore to its end; MLflow does not start while it does.
MARK = ".restore-incomplete"
DONE = "done"  # the last member of a stream: one that was cut short lacks it
STATE = Path("/state")  # in a container
_SQLITE = b"SQLite format 3\x00"


class Unusable(Exception):
    """A file or folder is not as it must be; the text says which."""


def saved(folders: Mapping[str, Path], work: Path) -> Iterator[Member]:
    """The databases, each as it is at one moment, then all other files: what a database names is there.

    `work` is a folder with room for the largest database. Raises Unusable for a damaged one.
    """
    if half := [str(folder) for folder in folders.values() if (folder / MARK).exists()]:
        raise Unusable(f"an interrupted restore is in {', '.join(half)}: run it again")
    databases = {path for name, folder in folders.items() for path in _walk(name, folder) if _is_database(path)}
    for name, folder in folders.items():
        for path in sorted(databases & set(_walk(name, folder))):
            yield from _one(f"{name}/{path.relative_to(folder)}", path, work)
    for name, folder in folders.items():
        if folder.is_dir():
            yield _member(name, folder.stat()), None
        for path in _walk(name, folder):  # once more: the databases may name files that came since
            if path not in databases and not _in_the_copy(path):
                with suppress(FileNotFoundError):  # it was removed meanwhile
                    yield from _one(f"{name}/{path.relative_to(folder)}", path, work)


def _walk(name: str, folder: Path) -> Iterator[Path]:
    """Folders and plain files, in order: feedback before the predictions that it is about."""
    left_out = KEPT.get(name, set()) | DERIVED.get(name, set())
    for at, folders, files in os.walk(folder, onerror=_unless_gone):
        here = Path(at)
        folders[:] = sorted(one for one in folders if str((here / one).relative_to(folder)) not in left_out)
        for path in [here / one for one in [*folders, *sorted(files)]]:
            plain = not path.is_symlink() and (path.is_dir() or path.is_file())
            if plain and str(path.relative_to(folder)) not in left_out:
                yield path


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _one(name: str, path: Path, work: Path) -> Iterator[Member]:
    if path.is_dir():
        yield _member(name, path.stat()), None
    elif _is_database(path):
        with tempfile.NamedTemporaryFile(dir=work) as copy:
            _copy_database(path, Path(copy.name))
            yield _member(name, path.stat(), copy.file), copy.file
    else:
        yield from plain(name, path)


def plain(name: str, path: Path) -> Iterator[Member]:
    """A file as it is."""
    with path.open("rb") as file:
        yield _member(name, path.stat(), file), file


def _in_the_copy(path: Path) -> bool:
    """Whether it belongs to an SQLite file, whose copy has what is in it."""
    ends = [end for end in ("-wal", "-shm", "-journal") if path.name.endswith(end)]
    return any(_is_database(path.with_name(path.name.removesuffix(end))) for end in ends)


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _copy_database(path: Path, copy: Path) -> None:
    """By SQLite's own means: with what is in the write-ahead log, and without what is half written."""
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=60)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            [said] = target.execute("PRAGMA quick_check(1)").fetchone()
            target.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        raise Unusable(f"{path}: expected an intact SQLite database, found: {said}")


def _member(name: str, status: os.stat_result, file: IO[bytes] | None = None) -> tarfile.TarInfo:
    """`file`: its size counts as it is now; a log that grows meanwhile is read up to there."""
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid, info.mtime = status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime
    info.type = tarfile.DIRTYPE
    if file is not None:
        info.type, info.size = tarfile.REGTYPE, os.fstat(file.fileno()).st_size
    return info


def begin(folders: Mapping[str, Path], databases: Sequence[str] = ()) -> None:
    """Marks the folders as being restored, and empties those that an earlier restore has left half full. Raises
    Unusable where they hold something else, or `databases` do, before anything is changed."""
    if not any((folder / MARK).exists() for folder in folders.values()):
        full = [str(folder) for name, folder in folders.items() if any(_walk(name, folder))]
        if full := [*full, *(f"the database {name}" for name in databases)]:
            raise Unusable(f"not empty: {', '.join(full)}")
    for name, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
        for path in list(folder.iterdir()):
            if path.name not in {MARK, *KEPT.get(name, ())}:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def put(folders: Mapping[str, Path], info: tarfile.TarInfo, content: IO[bytes] | None) -> None:
    """Writes one member, its owner too where this may set it. Raises Unusable for a name that leads elsewhere."""
    name, _, rest = info.name.partition("/")
    if name not in folders or ".." in Path(rest).parts or Path(rest).is_absolute():
        raise Unusable(f"expected a file of {', '.join(folders)}, found {info.name}")
    path = folders[name] / rest
    if content is None:
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
    if os.geteuid() == 0:
        os.chown(path, info.uid, info.gid)
    path.chmod(info.mode)
    os.utime(path, (info.mtime, info.mtime))


def finish(folders: Mapping[str, Path]) -> None:
    """The folders are whole from now on."""
    for folder in folders.values():
        (folder / MARK).unlink()


def save(folders: Mapping[str, Path], stream: IO[bytes]) -> None:
    """Writes what is saved as a tar."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for info, content in saved(folders, Path(tempfile.gettempdir())):
            tar.addfile(info, content)
        tar.addfile(tarfile.TarInfo(DONE))


def drain(stream: IO[bytes] | None) -> None:
    """Reads what follows a tar's first empty block: who writes to a pipe that nobody reads ends with an error."""
    while stream and stream.read(1024 * 1024):
        pass


def load(folders: Mapping[str, Path], stream: IO[bytes]) -> None:
    """Puts what such a tar holds. Raises Unusable where its end is missing."""
    complete = False
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for info in tar:
            complete = info.name == DONE
            if not complete:
                put(folders, info, tar.extractfile(info))
    drain(stream)
    if not complete:
        raise Unusable("the end of the backup is missing")
    finish(folders)


def main() -> int:
    """`save` to standard output, `begin [DATABASE THAT IS NOT EMPTY…]`, or `load` from standard input."""
    folders = {name: STATE / name for name in NAMES if (STATE / name).is_dir()}
    try:
        if sys.argv[1] == "save":
            save(folders, sys.stdout.buffer)
        elif sys.argv[1] == "begin":
            begin(folders, sys.argv[2:])
        elif sys.argv[1] == "load":
            load(folders, sys.stdin.buffer)
    except (Unusable, OSError, tarfile.TarError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
