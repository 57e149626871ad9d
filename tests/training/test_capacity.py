"""The simulated queue against the formulas that are known for it; what follows from unit costs."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from peers import growth
from peers.growth import UnitCosts
from peers.proxy import caddyfile
from peers.queueing import highest_utilization, poisson, simulate

COUNT, SERVICE = 100_000, 0.01


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


def test_a_turn_for_all_that_wait_takes_what_follows_from_the_share_of_idle_arrivals(
    random: np.random.Generator,
) -> None:
    """A turn takes SERVICE however many it answers. Who comes during a turn waits for half of it on average; that one
    turn brings load such requests, and with exp(-load), when none came, the next one finds it idle."""
    load = 1.5
    arrivals = poisson(load / SERVICE, COUNT, random)
    times = simulate(arrivals, np.full(COUNT, SERVICE), together=lambda count: 1 / count).times
    waits = load / (load + math.exp(-load))
    assert times.mean() == pytest.approx(SERVICE * (1 + waits / 2), rel=0.01)


def test_replicas_in_turn_share_the_requests(random: np.random.Generator) -> None:
    arrivals = poisson(2 * 0.8 / SERVICE, COUNT, random)
    one, two = (simulate(arrivals, np.full(COUNT, SERVICE), replicas=count, most=50) for count in (1, 2))
    assert one.refused == pytest.approx(1 - 1 / 1.6, rel=0.02)
    assert two.refused == 0


def test_the_stricter_the_limit_the_lower_the_utilization() -> None:
    def fixed(count: int) -> np.ndarray:
        return np.full(count, SERVICE)

    found = [highest_utilization(fixed, 1, 128, limit, 20_000) for limit in (0.005, 0.02, 0.05, 1.0)]
    assert found[0] == 0
    assert found[1] < found[2] < found[3]


COSTS = UnitCosts(
    prediction=200e-6, prediction_in_batch=20e-6, proxy=140e-6, log_bytes=500, service_bytes=2e8, model_bytes=2e7,
    prediction_utilization=0.95, quoted=0.02, generated=0.35, question_utilization=0.5, question_cores=2, passage=0.05,
    index_bytes=400, store_bytes=5000, search=0.001, search_at=400_000, row=50e-6, training=100,
)  # fmt: skip


def test_replicas_have_headroom_and_one_to_spare() -> None:
    assert growth.replicas(1000, 0.001, utilization=0.5) == 2 + 1
    assert growth.replicas(1000, 0.001, utilization=0.99) == 2 + 1  # at most 0.5
    assert growth.replicas(1001, 0.002, utilization=0.5, cores=4) == 2 + 1


def test_predictions_in_batches_take_fewer_cores_and_as_much_log() -> None:
    single, batch = growth.predictions(COSTS, 100_000)
    assert single.cores == (40 + 1) + 20
    assert single.memory == pytest.approx(41 * 0.22)
    assert batch.cores == 4 + 1
    assert single.disk == batch.disk == "4,320 GB of prediction log a day"


def test_each_replica_holds_the_whole_index() -> None:
    quoted, generated = growth.questions(COSTS, 1000, 1_000_000)
    assert quoted.cores == 2 * (20 + 1)
    assert quoted.memory == pytest.approx(21 * 0.4)
    assert generated.cores == 2 * (350 + 1)


def test_passages_and_rows_are_paid_once() -> None:
    [passages] = growth.documents(COSTS, 1e8)
    [rows] = growth.training(COSTS, 1e10)
    assert passages.core_hours == pytest.approx(1e8 * 0.05 / 3600)
    assert (passages.memory, passages.disk) == (pytest.approx(40), "500 GB of store")
    assert "0.25 s of CPU a search" in passages.carried_by
    assert rows.core_hours == pytest.approx((100 + 1e10 * 50e-6) / 3600)


def test_the_measured_proxy_is_the_one_of_production() -> None:
    text = caddyfile({"api": [8101, 8102], "rag": [8201]})
    assert "to 127.0.0.1:8101 127.0.0.1:8102" in text
    assert "to 127.0.0.1:8201" in text
    assert "dynamic" not in text
    with pytest.raises(ValueError, match="0 times"):
        caddyfile({"other": [1]})
