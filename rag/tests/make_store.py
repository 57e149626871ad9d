"""Writes data/store-N.db.gz: two of the sample documents as this version of the service keeps them, N its schema.

From rag/: `PYTHONPATH=.:tests python tests/make_store.py`; once for each schema, as later versions must read it.
"""

from __future__ import annotations

import gzip
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from rag_service.commands import client
from rag_service.settings import read_settings
from rag_service.store.sqlite_schema import VERSION

HERE = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        settings = read_settings(data_dir=home, models_dir=home / "models", generator="none")
        with client(settings, None) as service:
            for document in ("faults.md", "glossary.txt"):
                data = (HERE.parent / "documents" / document).read_bytes()
                service.call("POST", "/documents", files={"files": (document, data)}, data={"collection": "default"})
        with closing(sqlite3.connect(settings.store_path)) as store:
            store.execute("PRAGMA journal_mode = DELETE")
            store.execute("VACUUM")
        packed = gzip.compress(settings.store_path.read_bytes(), mtime=0)
        (HERE / "data" / f"store-{VERSION}.db.gz").write_bytes(packed)


if __name__ == "__main__":
    main()
