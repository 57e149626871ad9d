"""A simulation of replicas behind a proxy that takes them in turn: first come, first served, with admission control."""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]
TRIED = [share / 100 for share in range(40, 100, 5)]


@dataclass(frozen=True)
class Simulated:
    """Seconds from arrival to answer of each admitted request, and the share of requests that was refused."""

    times: Seconds
    refused: float


def simulate(
    arrivals: Sequence[float], services: Sequence[float], replicas: int = 1, cores: int = 1, most: float = math.inf
) -> Simulated:
    """Request n goes to replica n modulo `replicas`, which works on `cores` of them at a time, `services[n]` seconds
    each, and refuses what arrives while `most` are under way. A refusal costs nothing."""
    free = [[0.0] * cores for _ in range(replicas)]  # when each core will be
    leaving: list[list[float]] = [[] for _ in range(replicas)]
    times, refused = [], 0
    for number, (now, work) in enumerate(zip(arrivals, services, strict=True)):
        place = number % replicas
        while leaving[place] and leaving[place][0] <= now:
            heapq.heappop(leaving[place])
        if len(leaving[place]) >= most:
            refused += 1
            continue
        end = max(now, free[place][0]) + work
        heapq.heapreplace(free[place], end)
        heapq.heappush(leaving[place], end)
        times.append(end - now)
    return Simulated(np.array(times), refused / len(arrivals))


def poisson(rate: float, count: int, random: np.random.Generator) -> Seconds:
    """Times of arrival of independent clients, `rate` a second."""
    return np.cumsum(random.exponential(1 / rate, count))


def highest_utilization(
    draw: Callable[[int], Seconds], cores: int, most: int, limit: float, count: int = 200_000
) -> float:
    """The largest of TRIED at which one replica refuses nothing and answers 99 % within `limit` seconds; 0 for none.

    `draw(n)` gives n service times. Arrivals at one replica are Poisson, which many proxies in front of it come to.
    """
    services = draw(count)
    found = 0.0
    for share in TRIED:
        arrivals = poisson(share * cores / services.mean(), count, np.random.default_rng(0))
        one = simulate(arrivals, services, 1, cores, most)
        if one.refused or np.percentile(one.times, 99) > limit:
            break
        found = share
    return found
