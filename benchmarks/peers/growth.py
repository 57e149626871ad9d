"""What measured unit costs come to at other rates and sizes. Arithmetic alone, in CPU seconds and bytes."""

import math
from dataclasses import dataclass

HOURS_A_MONTH = 730
GB = 1e9
# Whatever the queue allows: at this load the measured p99 kept its limit too, at 0.8 it did not (docs/capacity.md).
MOST_UTILIZATION = 0.5
# Assumed, not measured.
PROXY_UTILIZATION = 0.7
SPARE = 1  # replicas, so that one may be lost or replaced
PRICE = 0.05  # of a core for an hour, with its memory, in any currency
EXECUTOR_CORES = 64


@dataclass(frozen=True)
class UnitCosts:
    """Measured: CPU seconds for each prediction, question, passage and training row, and bytes of what is kept.
    `*_utilization`: the highest at which the simulated queue keeps its p99. A search was measured at `search_at`."""

    prediction: float
    prediction_in_batch: float
    proxy: float
    log_bytes: float
    service_bytes: float
    model_bytes: float
    prediction_utilization: float
    quoted: float
    generated: float
    question_utilization: float
    question_cores: int
    passage: float
    index_bytes: float
    store_bytes: float
    search: float
    search_at: int
    row: float
    training: float  # of a table without rows


@dataclass(frozen=True)
class Plan:
    """`cores` are busy for good, `core_hours` once; memory and disk in GB."""

    target: str
    carried_by: str
    cores: float = 0.0
    core_hours: float = 0.0
    memory: float = 0.0
    disk: str = ""

    def __str__(self) -> str:
        month = f"{self.cores * HOURS_A_MONTH * PRICE:,.0f}" if self.cores else ""
        once = f"{self.core_hours:,.0f} ({self.core_hours * PRICE:,.0f})" if self.core_hours else ""
        cores, memory = (f"{one:,.0f}" if one else "" for one in (self.cores, self.memory))
        return f"| {self.target} | {self.carried_by} | {cores} | {month} | {once} | {memory} | {self.disk} |"


HEAD = (
    "| target | carried by | cores | a month | core hours once (price) | memory GB | disk |\n| --- | --- "
    + "| ---: " * 4
    + "| --- |"
)


def replicas(rate: float, seconds: float, utilization: float, cores: int = 1) -> int:
    """As many as answer `rate` a second, each taking `seconds` of one of a replica's `cores`, and SPARE more."""
    return math.ceil(rate * seconds / (cores * min(utilization, MOST_UTILIZATION))) + SPARE


def predictions(costs: UnitCosts, rate: float) -> list[Plan]:
    single = replicas(rate, costs.prediction, costs.prediction_utilization)
    proxies = math.ceil(rate * costs.proxy / PROXY_UTILIZATION)
    batch = replicas(rate, costs.prediction_in_batch, costs.prediction_utilization)
    each = (costs.service_bytes + costs.model_bytes) / GB
    log = f"{rate * costs.log_bytes * 86_400 / GB:,.0f} GB of prediction log a day"
    target = f"{rate:,.0f} predictions/s"
    return [
        Plan(
            f"{target}, one a request", f"{single:,} `api` replicas, {proxies:,} cores of Caddy",
            single + proxies, memory=single * each, disk=log,
        ),
        Plan(f"{target}, in batches", f"{batch:,} `api` replicas", batch, memory=batch * each, disk=log),
    ]  # fmt: skip


def questions(costs: UnitCosts, rate: float, passages: float) -> list[Plan]:
    found, cores = [], costs.question_cores
    for how, seconds in (("quoted", costs.quoted), ("a small generator's answer", costs.generated)):
        count = replicas(rate, seconds, costs.question_utilization, cores)
        memory = count * passages * costs.index_bytes / GB
        target = f"{rate:,.0f} questions/s over {passages:,.0f} passages, {how}"
        found.append(Plan(target, f"{count:,} `rag` replicas of {cores} cores", count * cores, memory=memory))
    return found


def documents(costs: UnitCosts, passages: float) -> list[Plan]:
    search = costs.search * passages / costs.search_at  # as many lists, each of them longer
    once = passages * costs.passage / 3600
    by = f"FAISS in each `rag` replica, {search:,.2f} s of CPU a search"
    store = f"{passages * costs.store_bytes / GB:,.0f} GB of store"
    memory = passages * costs.index_bytes / GB
    return [Plan(f"{passages:,.0f} passages", by, core_hours=once, memory=memory, disk=store)]


def training(costs: UnitCosts, rows: float) -> list[Plan]:
    hours = (costs.training + rows * costs.row) / 3600
    by = f"Spark, {hours / EXECUTOR_CORES:,.1f} h on {EXECUTOR_CORES} cores"
    return [Plan(f"{rows:,.0f} training rows", by, core_hours=hours)]


def table(costs: UnitCosts) -> str:
    plans = [
        *predictions(costs, 100_000), *questions(costs, 1_000, 1_000_000),
        *documents(costs, 100_000_000), *training(costs, 10_000_000_000),
    ]  # fmt: skip
    return "\n".join([HEAD, *map(str, plans)])
