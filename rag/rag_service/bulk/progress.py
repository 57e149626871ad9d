"""Lines that say how far long work is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SAY_SECONDS = 10.0

Say = Callable[[str], None]


@contextmanager
def progress(what: str, total: int, done: Callable[[], int], say: Say) -> Iterator[None]:
    """Says every ten seconds and at the end how many of `total` documents are `done`, and how many a second."""
    began, before, ended = time.monotonic(), done(), threading.Event()

    def tell() -> None:
        now = done()
        say(f"{what} {now:,} of {total:,} documents, {(now - before) / (time.monotonic() - began):,.1f} a second")

    def keep_telling() -> None:
        while not ended.wait(_SAY_SECONDS):
            tell()

    thread = threading.Thread(target=keep_telling, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        tell()
