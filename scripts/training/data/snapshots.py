"""A table at an address (a database, a bucket) is copied to disk before it is read, so that a run can be repeated on
exactly the rows that it saw.

SNAPSHOTS_DIR (default: var/snapshots)
  ADDRESS                  by a hash of the address
    DIGEST/                the files of one snapshot, named by the content
    last, RUN              links to the snapshot that was taken last, and to that of a DAG run
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from training.errors import SourceError

SNAPSHOTS_DIR = "var/snapshots"
KEPT = 5  # snapshots of one address; besides, all that were used within the last day
DAY = 86400


def shown(place: str) -> str:
    """An address as messages have it: without a user."""
    return re.sub(r"(?<=://)[^?]*@", "", place)


def take(place: str, renew: bool) -> Path:
    """The folder with a snapshot of what is at `place`: a new one, or the last one unless `renew`.

    All tasks of a DAG run use the one that the first of them took. Raises SourceError, SourceAway.
    """
    from training.data import bucket, database  # what they import takes half a second, and files need none of it

    copy = {"postgresql": database.copy, "postgres": database.copy, "s3": bucket.copy}.get(place.partition("://")[0])
    if copy is None:
        raise SourceError(
            f"{shown(place)}: expected an address that begins with postgresql:// or s3://",
            "docs/how-to/databases-and-buckets.md has an example of each.",
        )
    root = Path(os.environ.get("SNAPSHOTS_DIR") or SNAPSHOTS_DIR)
    home = root / hashlib.sha256(place.encode()).hexdigest()[:16]
    run = os.environ.get("AIRFLOW_CTX_DAG_RUN_ID", "")
    name = f"{os.environ.get('AIRFLOW_CTX_DAG_ID')} {run}"
    links = [home / "last", *([home / f"run-{hashlib.sha256(name.encode()).hexdigest()[:16]}"] if run else [])]
    if (run or not renew) and links[-1].exists():
        return _used(links[-1].resolve())
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as new:
        files = Path(new, "files")
        files.mkdir()
        folder = home / copy(place, shown(place), files)
        with suppress(OSError):  # the same content is there already
            files.rename(folder)
        for link in links:
            Path(new, link.name).symlink_to(folder.name)
            Path(new, link.name).replace(link)
    _used(folder)
    _remove_old(home)
    return folder.resolve()


def _used(folder: Path) -> Path:
    os.utime(folder)
    return folder


def _remove_old(home: Path) -> None:
    """Removes snapshots that nothing needs any more, what a kill left, and links to what is gone."""
    folders = [path for path in home.iterdir() if path.is_dir() and not path.is_symlink()]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    whole = [path for path in folders if not path.name.startswith(".")]
    for path in {*folders} - {*whole[:KEPT]}:
        if path.stat().st_mtime < time.time() - DAY:
            shutil.rmtree(path, ignore_errors=True)
    for link in home.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)
