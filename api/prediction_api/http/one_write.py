"""uvicorn's HTTP protocol, with each answer sent by one system call.

uvicorn writes an answer's head and its body apart: two calls into the kernel and two packets for a body of 200 bytes.
Gathering them gives about a fifth more predictions a second (wrk, 8 connections, 2 cores).
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_GATHERED = 65_536  # bytes; a long answer is written in one step, and only the transport tells it to wait


class GatheringTransport:
    """Keeps what is written until the current step of the event loop is done; everything else is the transport's."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []
        self._bytes = 0

    def write(self, data: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)
        self._bytes += len(data)
        if self._bytes > MOST_GATHERED:
            self._flush()

    def write_now(self, data: bytes) -> None:
        """For what is whole already: after what waits, and without waiting itself."""
        self._flush()
        self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._waiting:
            self._transport.write(b"".join(self._waiting))
            self._waiting.clear()
            self._bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class OneWriteProtocol(HttpToolsProtocol):
    """Given to uvicorn as its `http` implementation."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        gathering = GatheringTransport(transport, asyncio.get_running_loop())
        super().connection_made(cast("asyncio.Transport", gathering))
