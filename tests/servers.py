"""Servers that tests start as programs of their own: where they listen, whether they are up, and how they end."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


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


@contextmanager
def server_running(
    command: Sequence[str | Path], folder: Path, url: str, variables: Mapping[str, str]
) -> Iterator[None]:
    """Runs a server in `folder` until the block ends, from when `url` says that it is well. One that ends while it is
    waited for fails with its log."""
    log = folder / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, **variables}, stdout=output, stderr=output)
        try:
            while not answers(url):
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            yield
        finally:
            ended(process)


def ended(process: "subprocess.Popen[bytes]") -> None:
    """Ends a program of a test: gently, and where that takes long all the same."""
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
