"""The memory that models take: how much, how much there may be, and how it goes back to the system."""

import asyncio
import ctypes
import resource
from dataclasses import dataclass, field
from pathlib import Path

from prediction_api.errors import NoRoomForModel

# A forest of 21 MB takes 100 MB in ONNX Runtime; only what no trial has measured is estimated.
RESIDENT_OF_FILE = 6


@dataclass(slots=True)
class ModelMemory:
    """`limit` bytes for the models together; `loading` lets one model at a time be tried and loaded.

    While one is loaded, it takes up to three times what it takes afterwards, and the one that it replaces is there too.
    """

    limit: int
    taken: dict[str, int] = field(default_factory=dict)
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def check(self, model: str, needed: int) -> None:
        """Raises NoRoomForModel unless this many bytes fit beside the other models."""
        others = sum(taken for name, taken in self.taken.items() if name != model)
        if others + needed > self.limit:
            limit = f"API_MODELS_MB is {_megabytes(self.limit)}"
            raise NoRoomForModel(f"it takes {_megabytes(needed)} MB, the other models {_megabytes(others)} MB; {limit}")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f}"


def resident_bytes() -> int:
    """Of this process."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:  # not Linux
        return 0


def release_memory() -> None:
    """Returns freed memory to the system. glibc keeps it for itself: after a few swaps as much as three models take."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
