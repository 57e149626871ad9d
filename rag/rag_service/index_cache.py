"""Large indexes kept between starts, each with a digest: one that does not match is never loaded, but made anew."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import faiss

log = logging.getLogger(__name__)


class IndexCache:
    """A folder with two files for each collection: the index, and what it must be."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self._folder = folder
        self._dimension = dimension

    def read(self, collection: str, store_id: str) -> Any:
        """The kept index of this store, or None where there is none that is whole."""
        index, description = self._paths(collection)
        try:
            expected = json.loads(description.read_text())
            if expected != self._description(collection, store_id, index):
                log.warning("the kept index of %s is another store's, or damaged; it is made anew", collection)
                return None
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("the kept index of %s cannot be read (%s); it is made anew", collection, error)
            return None
        return faiss.read_index(str(index))

    def write(self, collection: str, store_id: str, content: Any) -> None:
        """Keeps an index. A kill half-way leaves the old one, or one that does not match and is not read."""
        index, description = self._paths(collection)
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = index.with_suffix(".part")
        faiss.write_index(content, str(partial))
        partial.replace(index)
        partial.write_text(json.dumps(self._description(collection, store_id, index)))
        partial.replace(description)

    def _paths(self, collection: str) -> tuple[Path, Path]:
        # A collection's name may hold what a file's name may not.
        name = hashlib.sha256(collection.encode()).hexdigest()[:16]
        return self._folder / f"{name}.faiss", self._folder / f"{name}.json"

    def _description(self, collection: str, store_id: str, index: Path) -> dict[str, Any]:
        with index.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "collection": collection,
            "store": store_id,
            "dimension": self._dimension,
            "faiss": faiss.__version__,
            "sha256": digest,
        }
