"""Peak memory of process trees, as /proc has it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Peak:
    """The largest memory seen so far, in megabytes."""

    driver: float = 0.0
    executors: float = 0.0


def children() -> dict[int, list[int]]:
    """The children of every process."""
    found: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        found.setdefault(int(fields[1]), []).append(int(status.parent.name))
    return found


def tree(root: int, known: dict[int, list[int]]) -> Iterator[int]:
    """`root` and all that descend from it."""
    yield root
    for child in known.get(root, []):
        yield from tree(child, known)


def memory(processes: Iterator[int]) -> float:
    """Proportional set size of these processes, in megabytes."""
    total = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def watch(driver: int, workers: list[int], peak: Peak, ended: threading.Event) -> None:
    while not ended.wait(0.5):
        known = children()
        peak.driver = max(peak.driver, memory(tree(driver, known)))
        executors = (child for worker in workers for child in known.get(worker, []))  # the daemon itself is not counted
        peak.executors = max(peak.executors, sum(memory(tree(child, known)) for child in executors))
