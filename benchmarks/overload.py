"""What is left of the prediction service when four times as much is asked of it as it can do.

    .venvs/training/bin/python benchmarks/overload.py [--seconds 30] [--connections 8]

A forest of 200 trees, one row per request. First the peak: a closed loop of these connections. Then four times that:
a closed loop of four times the connections, and an open loop at four times the peak's rate, whose requests become due
whatever the service does, over at most 500 connections, with no regard to Retry-After. Goodput is what is answered with
200; refusals are timed from when they were due, and from when they were sent. Last, 500 connections whose clients wait
for the second that Retry-After asks for. Prints one table.
"""

import argparse
import json
import os
import re
import selectors
import socket
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from peers import model, servers
from peers.load import Target
from peers.programs import running

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
CROWD = 500  # connections of the open loop
TIMES = 4


@dataclass(frozen=True)
class Outcome:
    """Answers with 200 and with 429 a second, and the median times to them in milliseconds (0 where there was none);
    `good_p99` is exceeded by one answer in a hundred.

    `offered` is what was sent a second. A time counts from when the request was due; `refused_sent` from when it was
    sent, which in an open loop is later where all connections are taken. `busy` is the generator's share of a core:
    near 1, it was the limit.
    """

    offered: float
    good: float
    refused: float
    good_median: float
    good_p99: float
    refused_median: float
    refused_sent: float
    busy: float


@dataclass
class Client:
    """One keep-alive connection with at most one request under way, which was due at `since`."""

    stream: socket.socket
    since: float = 0.0
    sent: float = 0.0
    received: bytes = b""

    def status(self) -> int | None:
        """Reads what is there; the answer's status once it is whole. Raises RuntimeError unless 200 or 429."""
        part = self.stream.recv(65536)
        if not part:
            raise RuntimeError("the service closed a connection")
        self.received += part
        end = self.received.find(b"\r\n\r\n")
        if end < 0 or len(self.received) < end + 4 + int(LENGTH.search(self.received)[1]):
            return None
        status = int(self.received[9:12])
        if status not in (200, 429):
            raise RuntimeError(f"{self.received!r}")
        self.received = b""
        return status


def drive(target: Target, connections: int, seconds: float, due: Sequence[float] | None, patience: float) -> Outcome:
    """Sends requests when they are `due`, in seconds from the start; without that, each client sends its next one once
    it has its answer. A client that was refused first waits `patience` seconds."""
    requests, times, sent_times = target.requests, {200: [], 429: []}, {200: [], 429: []}
    selector = selectors.EpollSelector()
    free: deque[Client] = deque()
    for _ in range(connections):
        stream = target.connected()
        free.append(Client(stream))
        stream.sendall(requests[0])
        while not free[-1].status():  # the service has taken the connection: hundreds at once would hold it up
            pass
        stream.setblocking(False)  # with a time limit, each call would ask the kernel first whether it may
        selector.register(stream, selectors.EVENT_READ, free[-1])
    resting: deque[tuple[float, Client]] = deque()
    sent, started, cpu = 0, time.perf_counter(), time.process_time()
    while (now := time.perf_counter()) - started < seconds:
        while resting and resting[0][0] <= now:
            free.append(resting.popleft()[1])
        while free and (due is None or (sent < len(due) and due[sent] <= now - started)):
            client = free.popleft()
            client.sent = time.perf_counter()
            client.since = client.sent if due is None else started + due[sent]
            client.stream.sendall(requests[sent % len(requests)])
            sent += 1
        for key, _ in selector.select(0 if free else 0.005):
            client = key.data
            status = client.status()
            if status:
                now = time.perf_counter()
                times[status].append(now - client.since)
                sent_times[status].append(now - client.sent)
                if status == 429 and patience:
                    resting.append((now + patience, client))
                else:
                    free.append(client)
    took, used = time.perf_counter() - started, time.process_time() - cpu
    for key in list(selector.get_map().values()):
        key.data.stream.close()
    good, refused, refused_sent = (_percentile(one, 50) for one in (times[200], times[429], sent_times[429]))
    counts = sent / took, len(times[200]) / took, len(times[429]) / took
    return Outcome(*counts, good, _percentile(times[200], 99), refused, refused_sent, used / took)


def _percentile(seconds: list[float], percent: float) -> float:
    return float(np.percentile(seconds, percent)) * 1000 if seconds else 0.0


def resident_mib(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        line = next(line for line in page if line.startswith(b"process_resident_memory_bytes "))
    return float(line.split()[1]) / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    print("fitting the forest", file=sys.stderr)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pool = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        forest, uri = model.make(folder), stack.enter_context(servers.registry(folder))
        model.register(forest, uri)
        server = servers.ours(uri)
        started = server.start(forest.folder)
        target = Target(started.port, server.path, tuple(json.dumps(server.body(row)).encode() for row in forest.rows))

        def measure(connections: int, rate: float | None = None, patience: float = 0.0) -> Outcome:
            due = None if rate is None else (np.arange(rate * options.seconds) / rate).tolist()
            return pool.submit(drive, target, connections, options.seconds, due, patience).result()

        with running(
            started.command, f"http://127.0.0.1:{started.port}{started.ready}", forest.folder, started.variables
        ):
            measure(options.connections)  # warm up
            peak, before = measure(options.connections), resident_mib(started.port)
            lines = {
                f"peak: closed loop, {options.connections} connections": peak,
                f"closed loop, {TIMES * options.connections} connections": measure(TIMES * options.connections),
                f"open loop, {TIMES * peak.good:,.0f}/s offered": measure(CROWD, TIMES * peak.good),
                f"closed loop, {CROWD} connections, Retry-After kept": measure(CROWD, patience=1.0),
            }
            grown = resident_mib(started.port) - before
    print(f"\n{options.seconds:g} s each, {os.cpu_count()} cores. Memory grew by {grown:.1f} MiB.\n")
    print("| load | sent/s | goodput/s | of the peak | median ms | refused/s | refusal: median ms | sent | generator |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, one in lines.items():
        figures = f"{one.offered:,.0f} | {one.good:,.0f} | {one.good / peak.good:.0%} | {one.good_median:.2f}"
        refusals = f"{one.refused:,.0f} | {one.refused_median:.2f} | {one.refused_sent:.2f}"
        print(f"| {name} | {figures} | {refusals} | {one.busy:.0%} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
