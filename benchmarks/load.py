"""What replicas and the proxy cost: up to 3 prediction services and 2 question-answering services behind Caddy.

    .venvs/training/bin/python benchmarks/load.py [--seconds 5] [--rounds 3] [--only api rag]

The proxy has its production configuration, with TLS. The prediction services serve a forest of 200 trees, one row per
request; the question-answering services the sample documents from one PostgreSQL, with the embedder and without a
generator, so that an answer is a quotation. Closed loops say how much can be done, open ones at a fixed rate how long
it takes. The setups take turns, round by round, and the table has medians; all programs share the cores, the generator
of load among them, so the CPU time of each per request says more than requests a second do. Then all replicas are
replaced one by one under traffic; exit code 1 where a request fails.
"""

import argparse
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path

import httpx
from peers import load, model, servers
from peers.load import Load, Target
from peers.processes import children, cpu_seconds, tree
from peers.programs import ROOT, VENVS, free_port, running
from peers.proxy import Proxy, proxy
from peers.servers import Started

sys.path.insert(0, str(ROOT / "tests"))

from servers import postgres_running

CLIENTS = 8  # of the traffic while replicas are replaced
QUESTIONS = ROOT / "rag" / "tests" / "data" / "sample-questions.json"
Processes = Callable[[], Sequence[int]]


class Replica:
    """One process of a service; `replace` stops it and starts another at the same address."""

    def __init__(self, started: Started, folder: Path) -> None:
        self.started, self._folder, self._running = started, folder, ExitStack()
        self._start()

    def _start(self) -> None:
        started = self.started
        ready = f"http://127.0.0.1:{started.port}{started.ready}"
        program = running(started.command, ready, self._folder, started.variables)
        self.process = self._running.enter_context(program)

    def replace(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        self._running.close()


@dataclass(frozen=True)
class Service:
    """`path` is below the proxy's /`name`; `others` are further processes that its requests keep busy, by name."""

    name: str
    path: str
    bodies: tuple[bytes, ...]
    replicas: Sequence[Replica]
    connections: int
    rate: float
    others: Mapping[str, Processes]


@contextmanager
def prediction(folder: Path, options: argparse.Namespace) -> Iterator[Service]:
    with servers.registry(folder) as uri, ExitStack() as stack:
        forest = model.make(folder)
        model.register(forest, uri)
        server = servers.ours(uri)
        replicas = []
        for number in range(3):
            started = server.start(folder)
            own = {"MODELS_DIR": str(folder / f"models-{number}"), "API_DRAIN_SECONDS": "6"}
            replicas.append(Replica(replace(started, variables={**started.variables, **own}), folder))
            stack.callback(replicas[-1].stop)
        bodies = tuple(json.dumps(server.body(row)).encode() for row in forest.rows)
        yield Service("api", server.path, bodies, replicas, options.connections, options.api_rate, {})


@contextmanager
def answering(folder: Path, options: argparse.Namespace) -> Iterator[Service]:
    with postgres_running(folder / "postgres") as address, ExitStack() as stack:
        variables = {"RAG_STORE": address.format("postgres"), "PYTHONPATH": str(ROOT / "rag"), "RAG_GENERATOR": "none"}
        variables |= {"RAG_MODELS_DIR": str(folder / "rag-models"), "RAG_WORK": "false", "RAG_DRAIN_SECONDS": "6"}
        program = [str(VENVS / "rag/bin/python"), "-m", "rag_service"]
        ingest = [*program, "ingest", str(ROOT / "rag" / "documents")]
        own = {"RAG_DATA_DIR": str(folder)}
        subprocess.run(
            ingest, env={**os.environ, **variables, **own}, check=True, stdout=subprocess.DEVNULL, cwd=folder
        )
        replicas = []
        for number in range(2):
            port = free_port()
            own = {"RAG_PORT": str(port), "RAG_DATA_DIR": str(folder / f"rag-{number}")}
            replicas.append(Replica(Started([*program, "serve"], port, "/readyz", variables | own), folder))
            stack.callback(replicas[-1].stop)
        articles = json.loads(QUESTIONS.read_text(encoding="utf-8"))["data"]
        asked = [one["question"] for article in articles for part in article["paragraphs"] for one in part["qas"]]
        bodies = tuple(json.dumps({"question": question}).encode() for question in asked)
        main = int((folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        others = {"PostgreSQL": lambda: list(tree(main, children()))}
        yield Service("rag", "/ask", bodies, replicas, options.connections // 2, options.rag_rate, others)


SERVICES = {"api": prediction, "rag": answering}


@dataclass(frozen=True)
class Measured:
    """A closed and an open loop in one round, and the CPU seconds of each group of processes per request."""

    closed: Load
    steady: Load
    cpu: dict[str, float]


def measure(service: Service, count: int, front: Proxy | None, pool: ProcessPoolExecutor, seconds: float) -> Measured:
    if front:
        target = Target(front.port, f"/{service.name}{service.path}", service.bodies, front.authority)
    else:
        target = Target(service.replicas[0].started.port, service.path, service.bodies)
    groups: dict[str, Processes] = {"service": lambda: [one.process.pid for one in service.replicas[:count]]}
    groups |= service.others | {"proxy": lambda: [front.process.pid] if front else []}
    pool.submit(load.closed_loop, target, service.connections, min(1.0, seconds)).result()  # connections and caches
    before = {name: sum(map(cpu_seconds, processes())) for name, processes in groups.items()}
    closed = pool.submit(load.closed_loop, target, service.connections, seconds).result()
    requests = closed.per_second * seconds
    cpu = {name: (sum(map(cpu_seconds, groups[name]())) - used) / requests for name, used in before.items()}
    steady = pool.submit(load.open_loop, target, 64, service.rate, seconds).result()
    return Measured(closed, steady, cpu | {"generator": closed.busy / closed.per_second})


def replaced(service: Service, front: Proxy) -> tuple[int, Counter[str]]:
    """Requests while each replica in turn was stopped and started, and those that were not answered with 200."""
    faults: Counter[str] = Counter()
    ended, url = threading.Event(), f"https://localhost:{front.port}/{service.name}{service.path}"
    context = ssl.create_default_context(cafile=front.authority)

    def client(number: int) -> int:
        asked = 0
        with httpx.Client(verify=context, timeout=30, trust_env=False) as http:
            for body in cycle(service.bodies[number:] + service.bodies[:number]):
                if ended.wait(0.01):
                    break
                asked += 1
                try:
                    answer = http.post(url, content=body, headers={"Content-Type": "application/json"})
                    if answer.status_code != httpx.codes.OK:
                        faults[f"{answer.status_code} {answer.text[:200]}"] += 1
                except httpx.TransportError as error:
                    faults[repr(error)] += 1
        return asked

    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = [clients.submit(client, number) for number in range(CLIENTS)]
        try:
            for replica in service.replicas:
                replica.replace()
                time.sleep(1)  # with all replicas
        finally:
            ended.set()
        return sum(one.result() for one in asked), faults


def table(found: dict[str, list[Measured]], service: Service) -> str:
    """Medians of the rounds; the ratio is to the same round's first setup."""
    base = next(iter(found.values()))
    groups = list(base[0].cpu)
    times = f"p50, p99 ms | at {service.rate:g}/s: p50, p99 ms"
    lines = [f"| {service.name} | requests/s | ratio | {times} | CPU µs a request: {' | '.join(groups)} |"]
    lines.append("| --- " + "| ---: " * (4 + len(groups)) + "|")
    for name, rounds in found.items():
        ratio = _median(
            [one.closed.per_second / first.closed.per_second for one, first in zip(rounds, base, strict=True)]
        )
        closed, steady = (
            f"{_median([one.median for one in loads]):.2f}, {_median([one.p99 for one in loads]):.2f}"
            for loads in ([one.closed for one in rounds], [one.steady for one in rounds])
        )
        cpu = " | ".join(f"{_median([one.cpu[group] for one in rounds]) * 1e6:,.0f}" for group in groups)
        rate = _median([one.closed.per_second for one in rounds])
        lines.append(f"| {name} | {rate:,.0f} | {ratio:.2f} | {closed} | {steady} | {cpu} |")
    return "\n".join(lines)


_median = statistics.median


def run(name: str, folder: Path, pool: ProcessPoolExecutor, options: argparse.Namespace) -> bool:
    """Prints what was measured of a service; whether no request failed."""
    print(f"starting {name}", file=sys.stderr)
    with SERVICES[name](folder, options) as service, ExitStack() as stack:
        ports = [one.started.port for one in service.replicas]
        fronts: dict[int, Proxy] = {}
        for count in range(1, len(ports) + 1):
            others = {"api": [1], "rag": [1]} | {name: ports[:count]}
            fronts[count] = stack.enter_context(proxy(folder / f"proxy-{name}-{count}", others))
        setups: dict[str, tuple[int, Proxy | None]] = {"1 replica, no proxy": (1, None)}
        setups |= {f"{count} behind the proxy": (count, front) for count, front in fronts.items()}
        found: dict[str, list[Measured]] = {setup: [] for setup in setups}
        for number in range(options.rounds):
            for setup, (count, front) in setups.items():
                found[setup].append(measure(service, count, front, pool, options.seconds))
            print(f"{name}, round {number + 1} of {options.rounds}", file=sys.stderr)
        print(f"\n{table(found, service)}\n", flush=True)
        requests, faults = replaced(service, fronts[len(ports)])
        print(f"{len(ports)} replicas replaced one by one: {requests:,} requests, {sum(faults.values())} failed")
        for fault, times in faults.items():
            print(f"  {times} times: {fault}")
        return not faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each loop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16, help="of the closed loop; questions: half as many")
    parser.add_argument("--api-rate", type=float, default=300.0, help="requests a second in the open loop")
    parser.add_argument("--rag-rate", type=float, default=8.0)
    parser.add_argument("--only", nargs="+", choices=list(SERVICES), default=list(SERVICES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        well = [run(name, Path(folder), pool, options) for name in options.only]
    print(f"\n{options.rounds} rounds of {options.seconds:g} s, {os.cpu_count()} cores.")
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
