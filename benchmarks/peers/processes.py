"""Memory and CPU time of processes, as /proc has them."""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Peak:
    """The largest memory seen so far, in megabytes, and the CPU time of each process when it was last seen."""

    driver: float = 0.0
    executors: float = 0.0
    seconds: dict[int, float] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        return sum(self.seconds.values())


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


def memory(processes: Iterable[int]) -> float:
    """Proportional set size of these processes, in megabytes."""
    total = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def cpu_seconds(process: int) -> float:
    """CPU time of a process with all its threads, without its children, in steps of a hundredth of a second."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(driver: int, workers: list[int], peak: Peak, ended: threading.Event) -> None:
    while not ended.wait(0.5):
        known = children()
        drivers = list(tree(driver, known))
        starts = (child for worker in workers for child in known.get(worker, []))  # the daemon itself is not counted
        executors = [one for start in starts for one in tree(start, known)]
        peak.driver = max(peak.driver, memory(drivers))
        peak.executors = max(peak.executors, memory(executors))
        for process in [*drivers, *executors]:
            with suppress(OSError):  # ended meanwhile
                peak.seconds[process] = cpu_seconds(process)
