"""Starting a program, waiting until it is healthy, and stopping it with everything it started."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx
import psutil

from stack.errors import PortTaken, ProgramFailed

POLL_SECONDS = 0.2
START_SECONDS = 180.0  # until a program is healthy
STOP_SECONDS = 15.0
MOST_ENDS, ENDS_SECONDS = 5, 300.0  # a program that ends more often than this will end again
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, kill, a terminal that closes
TAIL_LINES = 25


@dataclass(frozen=True)
class Program:
    """What to run. `health` is the address that answers 200 once it is up; None for a program that ends by itself."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    health: str | None = None


class Running:
    """A started program, in a session of its own, so that Ctrl-C reaches it only through `stop`."""

    def __init__(self, program: Program) -> None:
        self.program = program
        program.log.parent.mkdir(parents=True, exist_ok=True)
        program.log.write_bytes(b"")
        self._ends: list[float] = []
        self._start()

    def _start(self) -> None:
        program = self.program
        with program.log.open("ab") as log:
            self._process = subprocess.Popen(
                program.command,
                env=dict(program.environment),
                cwd=program.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that leads its group."""
        return self._process.pid

    def failure(self, what: str) -> ProgramFailed:
        """The error to raise, with the end of the log."""
        return ProgramFailed(self.program.name, what, str(self.program.log), tail(self.program.log))

    def check_alive(self) -> None:
        """Raises ProgramFailed when the program has ended."""
        code = self._process.poll()
        if code is not None:
            raise self.failure(f"ended with code {code}")

    def keep_alive(self, most_ends: int = MOST_ENDS) -> int | None:
        """Starts the program again if it has ended, after everything it started; returns the code it ended with.

        Raises ProgramFailed when it ends more than `most_ends` times within ENDS_SECONDS.
        """
        code = self._process.poll()
        if code is None:
            return None
        now = time.monotonic()
        self._ends = [moment for moment in self._ends if now - moment < ENDS_SECONDS] + [now]
        if len(self._ends) > most_ends:
            raise self.failure(
                f"ended {most_ends + 1} times within {ENDS_SECONDS / 60:.0f} minutes, now with code {code}"
            )
        self.stop()
        self._start()
        return code

    def wait_healthy(self, seconds: float) -> None:
        """Returns once the health address answers 200. Raises ProgramFailed when it ends, or takes over `seconds`."""
        deadline = time.monotonic() + seconds
        while not answers(self.program.health or ""):
            self.check_alive()
            if time.monotonic() > deadline:
                raise self.failure(f"was not healthy after {seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def wait_done(self, seconds: float) -> None:
        """Returns once the program has ended with 0. Raises ProgramFailed otherwise."""
        try:
            code = self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise self.failure(f"took longer than {seconds:.0f} s") from None
        if code != 0:
            raise self.failure(f"ended with code {code}")

    def lines(self, seconds: float) -> Iterator[str]:
        """The log's lines as they are written, until the program ends. Raises ProgramFailed as `wait_done` does."""
        deadline = time.monotonic() + seconds
        begun = ""
        with self.program.log.open(encoding="utf-8", errors="replace") as log:
            while True:
                ended = self._process.poll() is not None  # before reading: what it wrote before its end is read, too
                *whole, begun = (begun + log.read()).split("\n")
                yield from whole
                if ended:
                    break
                if time.monotonic() > deadline:
                    raise self.failure(f"took longer than {seconds:.0f} s")
                time.sleep(POLL_SECONDS)
        self.wait_done(STOP_SECONDS)

    def stop(self) -> None:
        """Asks everything that the program started to end, and insists after 15 s. Safe to call twice."""
        started = self._started()
        if not self._signal(signal.SIGTERM):
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=STOP_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()
        for process in started:  # Airflow's tasks have sessions of their own, which no signal to the group reaches
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while any(map(_runs, started)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for process in filter(_runs, started):
            process.kill()

    def _started(self) -> list[psutil.Process]:
        """All that came of the program so far."""
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def _signal(self, number: signal.Signals) -> bool:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # the second is macOS's answer where all have ended
            return False
        return True


def _runs(process: psutil.Process) -> bool:
    """Whether it has not ended; what has, may wait a while for init to collect it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def answers(url: str) -> bool:
    """Whether `url` answers 200 now. Our own programs are on this machine: proxies of the environment do not apply."""
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of `log`."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def check_port(host: str, port: int, variable: str, program: str) -> None:
    """Raises PortTaken when something listens on `port` already."""
    with socket.socket() as probe:
        # As servers do: an address that only waits for its last packets is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise PortTaken(port, variable, program) from None


@contextmanager
def started_programs() -> Iterator[list[Running]]:
    """A list to append started programs to; at the end, whatever happened, all are stopped, the last one first."""
    running: list[Running] = []

    def stop_signal(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # Ctrl-C too: a shell that starts this in the background hands it down as ignored.
    previous = {number: signal.signal(number, stop_signal) for number in STOP_SIGNALS}
    try:
        yield running
    finally:
        # A second one while stopping would leave programs behind; make passes on what its group was sent already.
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for program in reversed(running):
            program.stop()
        for number, handler in previous.items():
            signal.signal(number, handler)
