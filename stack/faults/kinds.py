"""The kinds of fault. Each does one thing to the running stack; what is checked after each is in truth.py."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx

from stack import steps
from stack.airflow_client import Airflow
from stack.errors import StepFailed
from stack.faults.truth import Document, Truth, Violation
from stack.faults.victims import FAKETIME
from stack.processes import answers, tail

HOUR, DAYS = 3_600, 100 * 86_400
RUN_SECONDS = 1_200.0
Trial = Callable[[Truth, Random], None]


@dataclass(frozen=True)
class Kind:
    """`times`: how many trials of it a whole run has."""

    name: str
    times: int
    trial: Trial


KINDS: list[Kind] = []


def kind(name: str, times: int) -> Callable[[Trial], Trial]:
    """Adds a trial to KINDS."""

    def add(trial: Trial) -> Trial:
        KINDS.append(Kind(name, times, trial))
        return trial

    return add


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Does `work` in a thread while the `with` lasts, and waits for its end; it may be refused."""
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work)
        yield
        with suppress(StepFailed, httpx.TransportError):
            result.result()


# The prediction service.


@kind("api killed", 40)
def api_killed(truth: Truth, choose: Random) -> None:
    with truth.excused("api"):
        time.sleep(choose.uniform(0, 1))
        truth.victims.kill("api")


@kind("api killed while it changes models", 40)
def api_killed_while_swapping(truth: Truth, choose: Random) -> None:
    version = choose.choice([one for one in ("1", "2") if one != truth.alias()])
    with truth.excused("api"):
        truth.move_alias(version)
        time.sleep(choose.uniform(0, 3))
        truth.victims.kill("api")


@kind("model changed under traffic", 20)
def swapped(truth: Truth, choose: Random) -> None:
    truth.move_alias(choose.choice([one for one in ("1", "2") if one != truth.alias()]))
    time.sleep(choose.uniform(0, 3))


@kind("api: file of its model copies damaged", 20)
def model_copy_damaged(truth: Truth, choose: Random) -> None:
    with truth.excused("api"), truth.victims.stopped("api"):
        files = sorted(path for path in (truth.victims.settings.home / "models").rglob("*") if path.is_file())
        damage(choose.choice(files), choose)


@kind("api: prediction log damaged", 10)
def log_damaged(truth: Truth, choose: Random) -> None:
    with truth.excused("api"), truth.victims.stopped("api"):
        files = sorted((truth.victims.disk / "predictions").rglob("predictions-*.jsonl"))
        with choose.choice(files).open("ab") as file:  # as a power cut leaves it
            file.write(choose.randbytes(choose.randrange(1, 200)))


# The question-answering service.


@kind("rag killed while it adds a document", 40)
def rag_killed_while_adding(truth: Truth, choose: Random) -> None:
    with truth.excused("rag"), meanwhile(lambda: truth.give(Document.made(choose))):
        time.sleep(choose.uniform(0, 1.5))
        truth.victims.kill("rag")


@kind("rag killed while it deletes a document", 20)
def rag_killed_while_deleting(truth: Truth, choose: Random) -> None:
    document = choose.choice(list(truth.documents.values()))
    with truth.excused("rag"), meanwhile(lambda: truth.forget(document)):
        time.sleep(choose.uniform(0, 0.1))
        truth.victims.kill("rag")
    if len(truth.documents) < 5:
        truth.give(Document.made(choose))


@kind("rag killed while it reindexes", 15)
def rag_killed_while_reindexing(truth: Truth, choose: Random) -> None:
    with truth.excused("rag"):
        truth.victims.restart("rag", {"RAG_CHUNK_TOKENS": str(choose.choice([80, 120, 160, 200]))})
        truth.victims.wait_healthy("rag")
        steps.content(truth.rag.post("/reindex"))
        time.sleep(choose.uniform(0, 3))
        truth.victims.kill("rag")


@kind("rag killed while a collection is exchanged", 15)
def rag_killed_while_promoting(truth: Truth, choose: Random) -> None:
    def promote() -> None:
        steps.content(truth.rag.post("/collections/default/next"))
        steps.content(truth.rag.post("/collections/default/promote"))

    with truth.excused("rag"), meanwhile(promote):
        time.sleep(choose.uniform(0, 0.3))
        truth.victims.kill("rag")


@kind("document added and another deleted", 10)
def changed(truth: Truth, choose: Random) -> None:
    truth.give(Document.made(choose))
    truth.forget(choose.choice(list(truth.documents.values())))


# What is around them.


@kind("tracking server killed", 15)
def mlflow_killed(truth: Truth, choose: Random) -> None:
    time.sleep(choose.uniform(0, 1))
    truth.victims.kill("mlflow")


@kind("tracking server cut off, then the model changes", 20)
def mlflow_cut(truth: Truth, choose: Random) -> None:
    relay = truth.victims.relay
    choose.choice([relay.cut, relay.silence])()
    truth.move_alias(choose.choice([one for one in ("1", "2") if one != truth.alias()]))
    time.sleep(choose.uniform(1, 6))
    relay.restore()


@kind("a program stands still", 25)
def frozen(truth: Truth, choose: Random) -> None:
    name = choose.choice(["api", "rag", "mlflow"])
    with truth.excused(*({name} - {"mlflow"})), truth.victims.frozen(name):
        time.sleep(choose.uniform(0.5, 4))


@kind("disk full", 20)
def disk_full(truth: Truth, choose: Random) -> None:
    document = Document.made(choose)
    with truth.victims.full_disk():
        truth.give(document)
        time.sleep(choose.uniform(0, 2))
    truth.give(document)
    if document.name not in truth.documents:
        raise Violation("a document is refused although there is room again")


@kind("clock moved", 20)
def clock_moved(truth: Truth, choose: Random) -> None:
    files = {path.name for path in (truth.victims.disk / "predictions").rglob("*.jsonl")}
    truth.victims.shift_clock(choose.choice([HOUR, -HOUR, DAYS]))
    time.sleep(choose.uniform(1, 4))
    truth.give(Document.made(choose))
    truth.victims.shift_clock(0)
    if lost := files - {path.name for path in (truth.victims.disk / "predictions").rglob("*.jsonl")}:
        raise Violation(f"logs were removed: {sorted(lost)}")


@kind("rag: derived file or store damaged", 10)
def rag_damaged(truth: Truth, choose: Random) -> None:
    """Of the store there is a copy, as a backup would have it: damaged, it is refused with a sentence."""
    folder = truth.victims.disk / "rag"
    with ExitStack() as held:
        held.enter_context(truth.excused("rag"))
        with truth.victims.stopped("rag"):
            kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            damaged = choose.choice(sorted(kept))
            damage(damaged, choose)
        log = truth.victims.of("rag").program.log
        deadline = time.monotonic() + 60
        while not answers(truth.victims.of("rag").program.health or "") and time.monotonic() < deadline:
            if "Traceback" in tail(log, 40):
                raise Violation(f"{damaged.name} damaged: a traceback instead of a sentence")
            time.sleep(0.5)
        with truth.victims.stopped("rag"):
            for path, data in kept.items():
                path.write_bytes(data)


@kind("Airflow's part killed during a training", 12)
def airflow_killed(truth: Truth, choose: Random) -> None:
    part = choose.choice(["airflow scheduler", "airflow api-server", "airflow dag-processor", "pipeline.py", "java"])
    airflow = signed_in(truth)
    run_id = airflow.trigger({"trials": choose.randrange(3, 20), "gate": "off"})
    time.sleep(choose.uniform(2, 40))
    while not truth.victims.kill_part("airflow", part):
        if {task.state for task in airflow.tasks(run_id)} <= {"success", "skipped"}:
            break  # it was quicker
        time.sleep(0.5)
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        truth.victims.wait_healthy("airflow")
        with suppress(httpx.TransportError):  # it may be away for a moment
            try:
                return signed_in(truth).follow(run_id, deadline - time.monotonic(), lambda _: None)
            except StepFailed as error:
                raise Violation(f"{part} killed: {str(error)[:2000]}") from error
    raise Violation(f"{part} killed: the run did not end in {RUN_SECONDS:.0f} s")


def signed_in(truth: Truth) -> Airflow:
    settings = truth.victims.settings
    passwords = json.loads((settings.var / "airflow" / "passwords.json").read_text())
    return Airflow(settings.url("airflow"), passwords["admin"])


def damage(path: Path, choose: Random) -> None:
    """Cuts a file short, or overwrites a piece of it."""
    data = bytearray(path.read_bytes())
    if not data or choose.random() < 0.3:
        path.write_bytes(bytes(data[: len(data) // 2]))
        return
    at = choose.randrange(len(data))
    piece = choose.randbytes(min(64, len(data) - at))
    data[at : at + len(piece)] = piece
    path.write_bytes(bytes(data))


def runnable(one: Kind, small_disk: bool) -> str | None:
    """Why this kind cannot be tried on this machine; None where it can."""
    if one.name == "disk full" and not small_disk:
        return "needs root, for a small file system of its own"
    if one.name == "clock moved" and not FAKETIME.exists():
        return "needs libfaketime (Debian's package faketime)"
    return None
