"""This prediction service beside its peers: the same forest, the same machine, one run.

    .venvs/training/bin/python benchmarks/predict.py [--seconds 10] [--connections 8] [--rate 500] [--trees 200]
                                                     [--only NAME ...]

A forest, fitted to the bundled wines, is served by each in turn, while the others are stopped;
`peers/servers.py` says how each is set up. Before it is measured, a server must give the forest's own predictions for a
hundred rows. Then it gets those rows, one per request, in a closed loop (how much can it do) and, if it can do that
much, in an open loop at a fixed rate (how long does it take). Peers are installed with uv into var/peers at the first
run. Prints one table; what could not be measured is in it, with the reason. Exit code 1 where that is this service
itself or the echo.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from peers import load, model, servers
from peers.load import Load, Target
from peers.model import Forest
from peers.programs import NotMeasured, running
from peers.servers import Server

WARM_UP = 2.0  # seconds
OPEN_CONNECTIONS = 64  # requests that may be under way in the open loop
TOLERANCE = 1e-5  # relative; the graph computes in float32


@dataclass(frozen=True)
class Measured:
    """`steady` is None for a server that cannot do the open loop's rate."""

    closed: Load
    steady: Load | None


def measure(server: Server, forest: Forest, pool: ProcessPoolExecutor, options: argparse.Namespace) -> Measured:
    """Starts the server, checks its answers, measures it. Raises NotMeasured."""
    started = server.start(forest.folder)
    bodies = tuple(json.dumps(server.body(row)).encode() for row in forest.rows)
    target = Target(started.port, server.path, bodies)
    ready = f"http://127.0.0.1:{started.port}{started.ready}"
    with running(started.command, ready, forest.folder, started.variables):
        try:
            _check(server, forest, target, pool.submit(load.ask, target).result())
            pool.submit(load.closed_loop, target, options.connections, min(WARM_UP, options.seconds)).result()
            closed = pool.submit(load.closed_loop, target, options.connections, options.seconds).result()
            if closed.per_second <= options.rate:
                return Measured(closed, None)
            steady = pool.submit(load.open_loop, target, OPEN_CONNECTIONS, options.rate, options.seconds).result()
            return Measured(closed, steady)
        except (RuntimeError, OSError, KeyError) as error:
            raise NotMeasured(f"failed: {str(error)[:300]}") from error


def _check(server: Server, forest: Forest, target: Target, answers: list[bytes]) -> None:
    if server.prediction is None:
        same = answers == list(target.bodies)
    else:
        given = [server.prediction(json.loads(answer)) for answer in answers]
        same = np.allclose(given, forest.predictions, rtol=TOLERANCE, atol=TOLERANCE)
    if not same:
        raise NotMeasured("does not give the forest's predictions")


def table(found: dict[Server, Measured | str], rate: float) -> str:
    """The servers, the slowest first; the ratio is to `mlflow models serve`."""
    base = fastest(found, "mlflow")
    lines = [
        f"| server | with | requests/s | median ms | p99 ms | ratio | at {rate:g}/s: median ms | p99 ms |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    measured = [(server, one) for server, one in found.items() if isinstance(one, Measured)]
    for server, one in sorted(measured, key=lambda pair: pair[1].closed.per_second):
        closed, steady = one.closed, one.steady
        ratio = f"{closed.per_second / base:.3g}" if base else ""
        slow = f"{steady.median:.2f} | {steady.p99:.2f}" if steady else "cannot | "
        figures = f"{closed.per_second:,.0f} | {closed.median:.2f} | {closed.p99:.2f} | {ratio} | {slow}"
        lines.append(f"| {server.name} | {server.how} | {figures} |")
    lines += [
        f"| {server.name} | {server.how} | not measured: {one} |"
        for server, one in found.items()
        if isinstance(one, str)
    ]
    return "\n".join(lines)


def fastest(found: dict[Server, Measured | str], *names: str) -> float:
    """Requests per second of the fastest server with one of these in its name; 0 where none was measured."""
    rates = [
        one.closed.per_second
        for server, one in found.items()
        if isinstance(one, Measured) and any(name in server.name for name in names)
    ]
    return max(rates, default=0.0)


def verdicts(found: dict[Server, Measured | str], ours: Server, rate: float) -> list[str]:
    """How this service stands to what it is meant to reach, where both were measured."""
    mine = found.get(ours)
    if not isinstance(mine, Measured):
        return []
    goals = []
    if base := fastest(found, "mlflow"):
        times = mine.closed.per_second / base
        goals.append((times >= 100, f"{times:.0f} times `mlflow models serve` (at least 100)"))
    if peer := fastest(found, "mlflow", "MLServer", "BentoML", "plain"):
        times = mine.closed.per_second / peer
        goals.append((times > 1, f"{times:.1f} times the fastest peer (more than 1)"))
    if limit := fastest(found, "echo"):
        share = mine.closed.per_second / limit
        goals.append((share >= 0.6, f"{share:.2f} of the echo (at least 0.6)"))
    p99 = mine.steady.p99 if mine.steady else float("inf")
    goals.append((p99 <= 10, f"p99 {p99:.1f} ms at {rate:g} requests a second (at most 10)"))
    return [f"{'met' if met else 'MISSED'}: {text}" for met, text in goals]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second in the open loop")
    parser.add_argument("--trees", type=int, default=model.TREES, help="how much work the model itself is")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="NAME", help="servers whose name has one of these in it"
    )
    options = parser.parse_args()
    found: dict[Server, Measured | str] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pool = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        print("fitting the forest", file=sys.stderr)
        forest = model.make(folder, options.trees)
        uri = stack.enter_context(servers.registry(folder))
        model.register(forest, uri)
        ours = servers.ours(uri)
        peers = [servers.plain(), servers.mlflow_serve(), servers.mlserver()]
        peers += [servers.bentoml("sklearn"), servers.bentoml("onnx")]
        for server in [ours, servers.echo(), *peers]:
            if not any(part in f"{server.name} {server.how}" for part in options.only):
                continue
            print(f"{server.name}, {server.how}", file=sys.stderr)
            try:
                found[server] = measure(server, forest, pool, options)
            except NotMeasured as reason:
                found[server] = str(reason)
        logged = sum(file.read_bytes().count(b"\n") for file in (folder / servers.LOG).rglob("predictions-*.jsonl"))
    print(f"\nOne row per request; {options.connections} connections in the closed loop; {options.seconds:g} s each;")
    print(f"a forest of {options.trees} trees.")
    print(f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}.\n")
    print(table(found, options.rate))
    busiest = max((one.closed.busy for one in found.values() if isinstance(one, Measured)), default=0.0)
    print(f"\nThe generator was busy for at most {busiest:.0%} of a core. {logged:,} predictions were logged.")
    print("\n".join(verdicts(found, ours, options.rate)))
    needed = [server for server in found if server is ours or server.prediction is None]
    return int(any(isinstance(found[server], str) for server in needed))


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    sys.exit(main())
