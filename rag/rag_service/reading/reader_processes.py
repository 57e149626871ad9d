"""Processes that have the parsers imported and fork a child for each file: to start from nothing takes longer than most
files."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

_KEPT = 2  # waiting for the next file
_waiting: list[ReaderProcess] = []


class ReaderProcess:
    """One that reads files one after the other."""

    def __init__(self) -> None:
        # Nothing of the service's environment reaches it: it needs no setting and must see no secret.
        environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.defpath, "LANG": "C.UTF-8"}
        # A stream, because macOS has no SOCK_SEQPACKET here. One short message at a time needs no other boundary.
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-B", "-P", "-m", "rag_service.reading"],
                stdin=other.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def read(self, arguments: list[Any], given: IO[bytes], taken: IO[bytes], seconds: float) -> int:
        """The exit status of the child that read one file, as `subprocess` has it. Raises OSError, of which
        TimeoutError, where no answer came."""
        self._socket.settimeout(seconds)
        socket.send_fds(self._socket, [json.dumps(arguments).encode()], [given.fileno(), taken.fileno()])
        status = self._socket.recv(64)
        if not status:
            raise ConnectionResetError("the process that reads files has ended")
        return int(status)

    def end(self) -> None:
        """Ends it, with the child that may still read."""
        self._socket.close()
        with suppress(PermissionError):  # macOS's answer where all have ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def run(arguments: list[Any], given: IO[bytes], taken: IO[bytes], seconds: float) -> int:
    """The exit status of the child that read one file within so many seconds. Raises TimeoutError."""
    while True:
        process, is_new = (_waiting.pop(), False) if _waiting else (ReaderProcess(), True)
        given.seek(0)
        try:
            status = process.read(arguments, given, taken, seconds)
        except OSError as error:
            process.end()
            if isinstance(error, TimeoutError):
                raise
            if is_new:
                return -signal.SIGKILL
            continue  # it was ended while it waited, as by a kernel that ran out of memory
        if len(_waiting) < _KEPT:
            _waiting.append(process)
        else:
            process.end()
        return status


@atexit.register
def end_all() -> None:
    """Ends the processes that wait."""
    while _waiting:
        _waiting.pop().end()
