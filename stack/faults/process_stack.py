"""The programs of `make run`, to be broken: with a state of their own, started again when they end."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx

from stack import programs
from stack.airflow_client import Airflow
from stack.e2e import free_ports
from stack.errors import ProgramFailed
from stack.faults.network import Relay
from stack.http_client import client
from stack.loop import BY_HAND
from stack.processes import POLL_SECONDS, START_SECONDS, Program, Running, answers, started_programs
from stack.settings import Settings

DISK_MEGABYTES = 300
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


class Programs:
    """`relay` is between MLflow and all others; `disk` is where api and rag write, a small file
    system of its own where this process may mount one; `clock` shifts the clock of api and rag, where libfaketime is
    installed."""

    answers, follow_seconds = 1, 0.0

    def __init__(self, settings: Settings, running: list[Running], disk: Path, small_disk: bool) -> None:
        self.settings, self.disk, self.small_disk = settings, disk, small_disk
        self.relay = Relay(settings.ports["mlflow"])
        self.clock = settings.home / "clock"
        self._running = running
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.lost: list[str] = []

    def start(self) -> None:
        """Starts all, waits until they are healthy, and keeps them alive from then on."""
        self.shift_clock(0)
        for name in programs.SERVICES:
            self._running.append(Running(self.program(name)))
        for one in self._running:
            one.wait_healthy(START_SECONDS)
        threading.Thread(target=self._keep_alive, daemon=True).start()

    def program(self, name: str, extra: Mapping[str, str] | None = None) -> Program:
        """A program that connects through the relay, writes on the small disk, and has the clock that can move."""
        made = programs.SERVICES[name](self.settings)
        environment = {**made.environment, **(extra or {})}
        if name != "mlflow":
            environment["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{self.relay.port}"
        environment["PREDICTION_LOG_DIR"] = str(self.disk / "predictions")
        if name == "rag":
            environment["RAG_DATA_DIR"] = str(self.disk / "rag")
        if name in ("api", "rag") and FAKETIME.exists():
            environment |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self.clock)}
            environment |= {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return replace(made, environment=environment)

    def client(self, service: str) -> httpx.Client:
        """Not through the relay."""
        return client(self.settings.url(service))

    def airflow(self) -> Airflow:
        """Signed in."""
        passwords = json.loads((self.settings.var / "airflow" / "passwords.json").read_text())
        return Airflow(self.settings.url("airflow"), passwords["admin"])

    def feedback(self) -> str:
        """All lines of feedback in the prediction log."""
        return "".join(path.read_text() for path in (self.disk / "predictions").rglob("feedback-*.jsonl"))

    def of(self, name: str) -> Running:
        """The program with this name."""
        return next(one for one in self._running if one.program.name == name)

    def kill(self, name: str) -> None:
        """kill -9 of a program and all that it has started."""
        for pid in [self.of(name).pid, *(pid for pid, _ in family(self.of(name).pid))]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_part(self, name: str, command: str) -> bool:
        """kill -9 of the processes below `name` whose command line contains `command`; False where there is none."""
        found = [pid for pid, line in family(self.of(name).pid) if command in line]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(found)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """A program that stands still (SIGSTOP) for as long as the `with` lasts."""
        pids = [self.of(name).pid, *(pid for pid, _ in family(self.of(name).pid))]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """A program that is stopped for as long as the `with` lasts, and then started again."""
        with self._lock:
            self._held.add(name)
            self.of(name).stop()
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(name)

    def restart(self, name: str, extra: Mapping[str, str]) -> None:
        """Stops a program and starts it with other variables."""
        with self._lock:
            old = self.of(name)
            old.stop()
            self._running[self._running.index(old)] = Running(self.program(name, extra))

    def wait_healthy(self, name: str, seconds: float = 120.0) -> None:
        """Returns once a program answers as healthy. Raises ProgramFailed."""
        deadline = time.monotonic() + seconds
        while not answers(self.of(name).program.health or ""):
            if self.lost or time.monotonic() > deadline:
                raise self.of(name).failure("did not come back")
            time.sleep(POLL_SECONDS)

    def shift_clock(self, seconds: int) -> None:
        """Moves the clock of api and rag, at once."""
        draft = self.clock.with_suffix(".draft")
        draft.write_text(f"{seconds:+d}s\n")
        draft.replace(self.clock)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Not a byte is left on the disk for as long as the `with` lasts."""
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(65_536)):
                pass
            while file.write(b"0"):
                pass
        try:
            yield
        finally:
            filler.unlink()

    def _keep_alive(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            with self._lock:
                for one in self._running:
                    if one.program.name in self._held:
                        continue
                    try:
                        one.keep_alive(most_ends=50)
                    except ProgramFailed as error:
                        self.lost.append(str(error))

    def end(self) -> None:
        """Nothing is started again from now on."""
        self._ended.set()


@contextmanager
def programs_to_break(settings: Settings) -> Iterator[Programs]:
    """Started from nothing and stopped at the end; their state and logs stay in var/faults."""
    state = settings.root / "var" / "faults"
    environment = {**settings.environment, **BY_HAND, "PIPELINES_DIR": "pipelines"}
    settings = replace(settings, state=state, ports=free_ports(), environment=environment)
    shutil.rmtree(state, ignore_errors=True)
    disk = state / "disk"
    disk.mkdir(parents=True)
    mounted = os.geteuid() == 0 and mount(disk)
    settings.var.mkdir()
    (settings.var / "rag").symlink_to(disk / "rag")  # where a backup looks
    programs.check_ports(settings, list(programs.SERVICES))
    try:
        with started_programs() as running:
            them = Programs(settings, running, disk, mounted)
            them.start()
            try:
                yield them
            finally:
                them.end()
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(disk)], check=False)


def mount(folder: Path) -> bool:
    """Makes `folder` a file system of its own, of DISK_MEGABYTES; False where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def family(pid: int) -> list[tuple[int, str]]:
    """All processes that `pid` has started, and those that they have, each with its command line."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            rest = stat.read_text().rpartition(")")[2].split()
            parents.setdefault(int(rest[1]), []).append(int(stat.parent.name))
    found, waiting = [], list(parents.get(pid, []))
    while waiting:
        child = waiting.pop()
        waiting += parents.get(child, [])
        with suppress(OSError):
            found.append((child, Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")))
    return found
