"""What the programs share that measure the service from within."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rag_service.service import Service
from rag_service.settings import read_settings


def options(description: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


@contextmanager
def loaded(generator: str = "none") -> Iterator[Service]:
    """A service with an empty store of its own, its models loaded."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Service(read_settings(data_dir=Path(folder), generator=generator))) as service,
    ):
        service.load()
        yield service
