"""The benchmarks' queue against the formulas that are known for it, and the growth that follows from unit costs."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from peers.queueing import highest_utilization, poisson, simulate

COUNT, SERVICE = 300_000, 0.01


@pytest.fixture
def random() -> Iterator[np.random.Generator]:
    return np.random.default_rng(7)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_fixed_service_times_wait_as_pollaczek_and_khinchine_have_it(random: np.random.Generator, load: float) -> None:
    arrivals = poisson(load / SERVICE, COUNT, random)
    waiting = simulate(arrivals, np.full(COUNT, SERVICE)).times.mean() - SERVICE
    assert waiting == pytest.approx(load * SERVICE / (2 * (1 - load)), rel=0.05)


def test_two_cores_wait_as_erlang_has_it(random: np.random.Generator) -> None:
    load, cores = 0.8, 2
    arrivals = poisson(load * cores / SERVICE, COUNT, random)
    waiting = simulate(arrivals, random.exponential(SERVICE, COUNT), cores=cores).times.mean() - SERVICE
    offered = load * cores
    busy = offered**cores / math.factorial(cores) / (1 - load)
    waits = busy / (sum(offered**k / math.factorial(k) for k in range(cores)) + busy)
    assert waiting == pytest.approx(waits * SERVICE / (cores * (1 - load)), rel=0.07)


def test_a_full_replica_refuses_as_many_as_erlang_has_it(random: np.random.Generator) -> None:
    load, most = 1.2, 5
    arrivals = poisson(load / SERVICE, COUNT, random)
    found = simulate(arrivals, random.exponential(SERVICE, COUNT), most=most)
    assert found.refused == pytest.approx((1 - load) * load**most / (1 - load ** (most + 1)), rel=0.03)
    assert len(found.times) == pytest.approx(COUNT * (1 - found.refused))


def test_replicas_in_turn_share_the_requests(random: np.random.Generator) -> None:
    arrivals = poisson(2 * 0.8 / SERVICE, COUNT, random)
    one, two = (simulate(arrivals, np.full(COUNT, SERVICE), replicas=count, most=50) for count in (1, 2))
    assert one.refused == pytest.approx(1 - 1 / 1.6, rel=0.02)
    assert two.refused == 0


def test_the_stricter_the_limit_the_lower_the_utilization() -> None:
    def fixed(count: int) -> np.ndarray:
        return np.full(count, SERVICE)

    found = [highest_utilization(fixed, 1, 128, limit, 50_000) for limit in (0.005, 0.02, 0.05, 1.0)]
    assert found[0] == 0
    assert found[1] < found[2] < found[3]
