"""The generator of load, the same for every server: raw sockets in a process of its own, lighter than any of them.

closed loop   each connection sends its next request once the last one is answered: how much can the server do
open loop     requests become due at a fixed rate, whatever the server does, and are timed from then: how long do they
              take. A request that has to wait for a free connection has waited, too (no coordinated omission)
"""

import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 10.0  # seconds for the answers that are still out at the end of an open loop


@dataclass(frozen=True)
class Target:
    """Where to, and the bodies to send, one after the other and again; with an `authority` by TLS."""

    port: int
    path: str
    bodies: tuple[bytes, ...]
    authority: Path | None = None

    @property
    def requests(self) -> list[bytes]:
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in self.bodies]

    def connected(self) -> socket.socket:
        stream = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.authority:
            context = ssl.create_default_context(cafile=self.authority)
            stream = context.wrap_socket(stream, server_hostname="localhost")
            stream.setblocking(False)  # what arrives first may be TLS's own, and no answer
        return stream


@dataclass(frozen=True)
class Load:
    """What a loop measured; times in milliseconds. `busy` is the generator's share of a core: the limit if near 1."""

    per_second: float
    median: float
    p99: float
    busy: float


@dataclass
class Connection:
    """One keep-alive connection with at most one request under way, timed from `since`."""

    stream: socket.socket
    since: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def send(self, request: bytes, since: float) -> None:
        self.received.clear()
        self.since = since
        self.stream.sendall(request)

    def body(self) -> bytes | None:
        """Reads what is there; the answer's body once it is whole. Raises RuntimeError unless the answer is a 200."""
        try:
            part = self.stream.recv(65536)
        except ssl.SSLWantReadError:
            return None
        if not part:
            raise RuntimeError("the server closed the connection")
        self.received += part
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self.received[:end]).lower()
        if b" 200 " not in head.split(b"\r\n", 1)[0] or b"content-length:" not in head:
            raise RuntimeError(self.received.decode(errors="replace")[:500])
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        return bytes(self.received[end + 4 :]) if len(self.received) >= end + 4 + length else None


class Loop:
    """Connections to one target, and the times of its answers."""

    def __init__(self, target: Target, connections: int) -> None:
        self.requests = target.requests
        self.times: list[float] = []
        self.sent = 0
        # select() knows microseconds; epoll would wake to the next millisecond
        self.selector = selectors.SelectSelector()
        self.connections = []
        for _ in range(connections):
            stream = target.connected()
            self.connections.append(Connection(stream))
            self.selector.register(stream, selectors.EVENT_READ, self.connections[-1])

    def send(self, connection: Connection, since: float) -> None:
        connection.send(self.requests[self.sent % len(self.requests)], since)
        self.sent += 1

    def answered(self, timeout: float | None) -> list[Connection]:
        """The connections whose answer came within this many seconds."""
        free = []
        for key, _ in self.selector.select(timeout):
            if key.data.body() is not None:
                self.times.append(time.perf_counter() - key.data.since)
                free.append(key.data)
        return free

    def load(self, seconds: float, cpu: float) -> Load:
        for connection in self.connections:
            connection.stream.close()
        self.selector.close()
        ordered = sorted(self.times)
        median, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
        return Load(len(ordered) / seconds, median, p99, cpu / seconds)


def closed_loop(target: Target, connections: int, seconds: float) -> Load:
    """As many requests under way as there are connections, for this many seconds."""
    loop = Loop(target, connections)
    started, cpu = time.perf_counter(), time.process_time()
    for connection in loop.connections:
        loop.send(connection, time.perf_counter())
    while time.perf_counter() - started < seconds:
        for connection in loop.answered(timeout=30):
            loop.send(connection, time.perf_counter())
    return loop.load(time.perf_counter() - started, time.process_time() - cpu)


def open_loop(target: Target, connections: int, rate: float, seconds: float) -> Load:
    """Request n is due n / rate seconds after the start, and is sent then or as soon as a connection is free.

    Raises RuntimeError when not all are answered PATIENCE seconds after the last one was due.
    """
    loop = Loop(target, connections)
    free = deque(loop.connections)  # in turn, so that none is idle until the server closes it
    total = int(rate * seconds)
    started, cpu = time.perf_counter(), time.process_time()
    while len(loop.times) < total:
        now = time.perf_counter() - started
        while free and loop.sent < total and loop.sent / rate <= now:
            loop.send(free.popleft(), started + loop.sent / rate)
        if now > seconds + PATIENCE:
            raise RuntimeError(f"{len(loop.times)} of {total} requests at {rate:.0f}/s were answered")
        waiting = free and loop.sent < total
        due = loop.sent / rate - (time.perf_counter() - started) if waiting else PATIENCE
        free += loop.answered(max(due, 0.0))
    return loop.load(time.perf_counter() - started, time.process_time() - cpu)


def times_alone(target: Target, count: int) -> list[float]:
    """Seconds of each of so many requests, one after the other."""
    loop = Loop(target, 1)
    for _ in range(count):
        loop.send(loop.connections[0], time.perf_counter())
        while not loop.answered(timeout=30):
            pass
    loop.connections[0].stream.close()
    loop.selector.close()
    return loop.times


def ask(target: Target) -> Sequence[bytes]:
    """The answer to each body, one after the other."""
    loop = Loop(target, 1)
    [connection] = loop.connections
    answers = []
    for request in loop.requests:
        connection.send(request, 0.0)
        while (body := connection.body()) is None:
            pass
        answers.append(body)
    loop.selector.close()
    connection.stream.close()
    return answers
