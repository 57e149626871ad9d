"""A simulation of replicas behind a proxy that takes them in turn: first come, first served, with admission control."""

import heapq
import math
from collections import deque
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
    arrivals: Sequence[float],
    services: Sequence[float],
    replicas: int = 1,
    cores: int = 1,
    most: float = math.inf,
    together: Callable[[int], float] | None = None,
) -> Simulated:
    """Request n goes to replica n modulo `replicas`, which works on `cores` of them at a time, `services[n]` seconds
    each, and refuses what arrives while `most` are under way. A refusal costs nothing. With `together` a free core
    takes all that wait, and answers all of them after the sum of their seconds times together(how many they are): a
    bulk server, as an event loop is that calls the model once for what has arrived since its last call."""
    times: list[float] = []
    for place in range(replicas):
        times += _answered(arrivals[place::replicas], services[place::replicas], cores, most, together)
    return Simulated(np.array(times), 1 - len(times) / len(arrivals))


def _answered(
    arrivals: Sequence[float],
    services: Sequence[float],
    cores: int,
    most: float,
    together: Callable[[int], float] | None,
) -> list[float]:
    """Seconds from arrival to answer of what one replica admits."""
    waiting: deque[tuple[float, float]] = deque()  # arrival, seconds
    busy: list[tuple[float, list[float]]] = []  # end, arrivals
    times = []

    def begin(now: float) -> None:
        taken = [waiting.popleft() for _ in range(len(waiting) if together else 1)]
        work = sum(seconds for _, seconds in taken) * (together(len(taken)) if together else 1)
        heapq.heappush(busy, (now + work, [arrival for arrival, _ in taken]))

    def pass_until(now: float) -> None:
        while busy and busy[0][0] <= now:
            end, answered = heapq.heappop(busy)
            times.extend(end - arrival for arrival in answered)
            if waiting:
                begin(end)

    for now, seconds in zip(arrivals, services, strict=True):
        pass_until(now)
        if len(waiting) + sum(len(answered) for _, answered in busy) < most:
            waiting.append((now, seconds))
        if waiting and len(busy) < cores:
            begin(now)
    pass_until(math.inf)
    return times


def poisson(rate: float, count: int, random: np.random.Generator) -> Seconds:
    """Times of arrival of independent clients, `rate` a second."""
    return np.cumsum(random.exponential(1 / rate, count))


def highest_utilization(
    draw: Callable[[int], Seconds],
    cores: int,
    most: int,
    limit: float,
    count: int = 200_000,
    together: Callable[[int], float] | None = None,
) -> float:
    """The largest of TRIED at which one replica refuses nothing and answers 99 % within `limit` seconds; 0 for none.

    `draw(n)` gives n service times; `together` is that of `simulate`. Arrivals at one replica are Poisson, which many
    proxies in front of it come to.
    """
    services = draw(count)
    found = 0.0
    for share in TRIED:
        arrivals = poisson(share * cores / services.mean(), count, np.random.default_rng(0))
        one = simulate(arrivals, services, 1, cores, most, together)
        if one.refused or np.percentile(one.times, 99) > limit:
            break
        found = share
    return found
