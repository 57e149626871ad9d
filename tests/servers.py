"""Servers that tests start as programs of their own: where they listen, whether they are up, and how they end."""

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """A free port of this machine. Until the block ends nobody else is given it, and a program that may listen where
    another socket only waits, as servers do, can listen there; as long as none does, connections are refused."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
        if sys.platform != "linux":  # elsewhere two sockets never share an address
            held.close()
        yield port


def answers(url: str) -> bool:
    """Whether a service says at `url` that it is well."""
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except OSError:
        return False
    return True


def ended(process: "subprocess.Popen[bytes]") -> None:
    """Ends a program of a test: gently, and where that takes long all the same."""
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
