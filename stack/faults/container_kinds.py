"""The kinds of fault of the production stack's containers; what is checked after each is in truth.py."""

import time
from random import Random

from stack.faults.container_stack import Containers
from stack.faults.trial import Kind, change_model, exchange, kind, meanwhile, run_ends_well
from stack.faults.truth import Document
from stack.faults.truth import Truth as AnyTruth

KINDS: list[Kind] = []
Truth = AnyTruth[Containers]
# What users may notice of each, until it is healthy again. Of a replica: the requests that it was at.
NOTICED = {"postgres": ("rag",), "proxy": ("api", "rag")}
AROUND = ("postgres", "redis", "proxy", "mlflow", "rag-worker", "airflow", "airflow-scheduler", "spark-master")
IN_A_TRAINING = (
    "airflow-worker", "airflow-scheduler", "airflow", "airflow-dag-processor", "redis", "postgres", "mlflow",
    "spark-master", "spark-worker-1", "spark-worker-2",
)  # fmt: skip


@kind(KINDS, "containers: one of those around is killed", 16)
def killed(truth: Truth, choose: Random) -> None:
    service = choose.choice(AROUND)
    with truth.excused(*NOTICED.get(service, ())):
        truth.target.kill(truth.target.one_of(service, choose))
        time.sleep(choose.uniform(0, 3))


def kill_replica(truth: Truth, choose: Random, service: str) -> None:
    """The other one has to answer at once: only the requests that the killed one was at may fail."""
    with truth.excused(service, until_healthy=False):
        truth.target.kill(truth.target.one_of(service, choose))


@kind(KINDS, "containers: a replica of api is killed", 8)
def api_killed(truth: Truth, choose: Random) -> None:
    kill_replica(truth, choose, "api")


@kind(KINDS, "containers: a replica of api is killed while the model changes", 6)
def api_killed_while_swapping(truth: Truth, choose: Random) -> None:
    change_model(truth, choose)
    time.sleep(choose.uniform(0, 3))
    kill_replica(truth, choose, "api")


@kind(KINDS, "containers: a replica of rag is killed", 8)
def rag_killed(truth: Truth, choose: Random) -> None:
    kill_replica(truth, choose, "rag")


@kind(KINDS, "containers: a replica of rag is killed while a collection is exchanged", 4)
def rag_killed_while_promoting(truth: Truth, choose: Random) -> None:
    with meanwhile(lambda: exchange(truth)):
        time.sleep(choose.uniform(0, 0.5))
        kill_replica(truth, choose, "rag")


@kind(KINDS, "containers: the worker is killed while it adds a document", 8)
def worker_killed(truth: Truth, choose: Random) -> None:
    with meanwhile(lambda: truth.give(Document.made(choose))):
        time.sleep(choose.uniform(0, 1.5))
        truth.target.kill(truth.target.one_of("rag-worker", choose))


@kind(KINDS, "containers: PostgreSQL is killed while a document is added and one deleted", 4)
def postgres_killed(truth: Truth, choose: Random) -> None:
    document = choose.choice(list(truth.documents.values()))

    def change() -> None:
        truth.give(Document.made(choose))
        truth.forget(document)

    with truth.excused("rag"), meanwhile(change):
        time.sleep(choose.uniform(0, 3))
        truth.target.kill(truth.target.one_of("postgres", choose))


@kind(KINDS, "containers: one stands still", 8)
def frozen(truth: Truth, choose: Random) -> None:
    service = choose.choice(("api", "rag", "postgres", "redis", "mlflow"))
    with truth.target.frozen(truth.target.one_of(service, choose)):  # who asks waits, and is answered
        time.sleep(choose.uniform(0.5, 4))


@kind(KINDS, "containers: one is cut off from the network", 8)
def cut_off(truth: Truth, choose: Random) -> None:
    service = choose.choice(("api", "postgres", "redis", "mlflow", "rag-worker"))
    noticed = {"postgres": ("rag",), "api": ("api",)}.get(service, ())
    with truth.excused(*noticed), truth.target.cut_off(service, truth.target.one_of(service, choose)):
        time.sleep(choose.uniform(1, 8))


@kind(KINDS, "containers: one is killed during a training", 6)
def killed_during_training(truth: Truth, choose: Random) -> None:
    service = choose.choice(IN_A_TRAINING)

    def kill() -> bool:
        if not truth.target.training("airflow-worker", "pipeline.py train"):
            return False
        found = truth.target.training(service, "pipeline.py train") or truth.target.one_of(service, choose)
        with truth.excused(*NOTICED.get(service, ())):
            truth.target.kill(found)
        return True

    run_ends_well(truth, choose, kill, service)
