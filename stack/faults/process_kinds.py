"""The kinds of fault of the programs of `make run`; what is checked after each is in truth.py."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from shutil import copyfileobj, rmtree
from tempfile import NamedTemporaryFile

from stack.errors import StepFailed
from stack.faults.process_stack import FAKETIME, Programs
from stack.faults.trial import Kind, change_model, exchange, kind, meanwhile, run_ends_well
from stack.faults.truth import Document, Violation
from stack.faults.truth import Truth as AnyTruth
from stack.http_client import content
from stack.processes import answers, tail
from stack.state import archive

HOUR, DAYS = 3_600, 100 * 86_400
OLD_STORE = Path("rag/tests/data/store-1.sql")  # as the first release wrote it
# Arguments: the folder of the state, and where the backup goes.
BACK_UP = """
import os, sys
from pathlib import Path
from stack.state.backup import ROOT, backup
from stack.state.places import Processes
backup(Processes(Path(sys.argv[1]), os.environ), ROOT, Path(sys.argv[2]))
"""
KINDS: list[Kind] = []
Truth = AnyTruth[Programs]

# The prediction service.


@kind(KINDS, "api killed", 40)
def api_killed(truth: Truth, choose: Random) -> None:
    with truth.excused("api"):
        time.sleep(choose.uniform(0, 1))
        truth.target.kill("api")


@kind(KINDS, "api killed while it changes models", 40)
def api_killed_while_swapping(truth: Truth, choose: Random) -> None:
    with truth.excused("api"):
        change_model(truth, choose)
        time.sleep(choose.uniform(0, 3))
        truth.target.kill("api")


@kind(KINDS, "model changed under traffic", 20)
def swapped(truth: Truth, choose: Random) -> None:
    change_model(truth, choose)
    time.sleep(choose.uniform(0, 3))


@kind(KINDS, "api: file of its model copies damaged", 20)
def model_copy_damaged(truth: Truth, choose: Random) -> None:
    with truth.excused("api"), truth.target.stopped("api"):
        files = sorted(path for path in (truth.target.settings.home / "models").rglob("*") if path.is_file())
        damage(choose.choice(files), choose)


@kind(KINDS, "api: prediction log damaged", 10)
def log_damaged(truth: Truth, choose: Random) -> None:
    with truth.excused("api"), truth.target.stopped("api"):
        files = sorted((truth.target.disk / "predictions").rglob("predictions-*.jsonl"))
        with choose.choice(files).open("ab") as file:  # as a power cut leaves it
            file.write(choose.randbytes(choose.randrange(1, 200)))


# The question-answering service.


@kind(KINDS, "rag killed while it adds a document", 40)
def rag_killed_while_adding(truth: Truth, choose: Random) -> None:
    with truth.excused("rag"), meanwhile(lambda: truth.give(Document.made(choose))):
        time.sleep(choose.uniform(0, 1.5))
        truth.target.kill("rag")


@kind(KINDS, "rag killed while it deletes a document", 20)
def rag_killed_while_deleting(truth: Truth, choose: Random) -> None:
    document = choose.choice(list(truth.documents.values()))
    with truth.excused("rag"), meanwhile(lambda: truth.forget(document)):
        time.sleep(choose.uniform(0, 0.1))
        truth.target.kill("rag")
    if len(truth.documents) < 5:
        truth.give(Document.made(choose))


@kind(KINDS, "rag killed while it reindexes", 15)
def rag_killed_while_reindexing(truth: Truth, choose: Random) -> None:
    with truth.excused("rag"):
        truth.target.restart("rag", {"RAG_CHUNK_TOKENS": str(choose.choice([80, 120, 160, 200]))})
        truth.target.wait_healthy("rag")
        content(truth.rag.post("/reindex"))
        time.sleep(choose.uniform(0, 3))
        truth.target.kill("rag")


@kind(KINDS, "rag killed while a collection is exchanged", 15)
def rag_killed_while_promoting(truth: Truth, choose: Random) -> None:
    with truth.excused("rag"), meanwhile(lambda: exchange(truth)):
        time.sleep(choose.uniform(0, 0.3))
        truth.target.kill("rag")


@kind(KINDS, "document added and another deleted", 10)
def changed(truth: Truth, choose: Random) -> None:
    truth.give(Document.made(choose))
    truth.forget(choose.choice(list(truth.documents.values())))


# What is around them.


@kind(KINDS, "tracking server killed", 15)
def mlflow_killed(truth: Truth, choose: Random) -> None:
    time.sleep(choose.uniform(0, 1))
    truth.target.kill("mlflow")


@kind(KINDS, "tracking server cut off, then the model changes", 20)
def mlflow_cut(truth: Truth, choose: Random) -> None:
    relay = truth.target.relay
    choose.choice([relay.cut, relay.silence])()
    change_model(truth, choose)
    time.sleep(choose.uniform(1, 6))
    relay.restore()


@kind(KINDS, "a program stands still", 25)
def frozen(truth: Truth, choose: Random) -> None:
    name = choose.choice(["api", "rag", "mlflow"])
    with truth.excused(*({name} - {"mlflow"})), truth.target.frozen(name):
        time.sleep(choose.uniform(0.5, 4))


@kind(KINDS, "disk full", 20)
def disk_full(truth: Truth, choose: Random) -> None:
    document = Document.made(choose)
    with truth.target.full_disk():
        truth.give(document)
        time.sleep(choose.uniform(0, 2))
    truth.give(document)
    if document.name not in truth.documents:
        raise Violation("a document is refused although there is room again")


@kind(KINDS, "clock moved", 20)
def clock_moved(truth: Truth, choose: Random) -> None:
    files = {path.name for path in (truth.target.disk / "predictions").rglob("*.jsonl")}
    truth.target.shift_clock(choose.choice([HOUR, -HOUR, DAYS]))
    time.sleep(choose.uniform(1, 4))
    truth.give(Document.made(choose))
    truth.target.shift_clock(0)
    if lost := files - {path.name for path in (truth.target.disk / "predictions").rglob("*.jsonl")}:
        raise Violation(f"logs were removed: {sorted(lost)}")


@kind(KINDS, "rag: derived file or store damaged", 10)
def rag_damaged(truth: Truth, choose: Random) -> None:
    """Of the store there is a copy, as a backup would have it: damaged, it is refused with a sentence."""
    folder = truth.target.disk / "rag"
    with truth.excused("rag"):
        with truth.target.stopped("rag"):
            kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            damaged = choose.choice(sorted(kept))
            damage(damaged, choose)
        log = truth.target.of("rag").program.log
        deadline = time.monotonic() + 60
        while not answers(truth.target.of("rag").program.health or "") and time.monotonic() < deadline:
            if "Traceback" in tail(log, 40):
                raise Violation(f"{damaged.name} damaged: a traceback instead of a sentence")
            time.sleep(0.5)
        with truth.target.stopped("rag"):
            for path, data in kept.items():
                path.write_bytes(data)


@kind(KINDS, "rag: store of the first release, killed while it is brought up to date", 6)
def rag_upgraded(truth: Truth, choose: Random) -> None:
    folder = truth.target.disk / "rag"
    with truth.excused("rag"):
        with truth.target.stopped("rag"):
            own = folder.rename(folder.with_name("rag-aside"))
            folder.mkdir()
            with closing(sqlite3.connect(folder / "store.db")) as store:
                store.executescript((truth.target.settings.root / OLD_STORE).read_text(encoding="utf-8"))
        time.sleep(choose.uniform(0, 10))
        truth.target.kill("rag")
        listed: list[str] = []
        deadline = time.monotonic() + 60
        while not listed and time.monotonic() < deadline:
            time.sleep(0.5)
            with suppress(StepFailed):
                listed = sorted(one["name"] for one in truth.listed())
        with truth.target.stopped("rag"):
            rmtree(folder)
            own.rename(folder)
        if listed != ["cellar.md", "slopes.txt"]:
            raise Violation(f"of the two documents of an older store, these are listed: {listed}")


@kind(KINDS, "backup killed, and taken again", 10)
def backup_killed(truth: Truth, choose: Random) -> None:
    """Nothing of the killed one can be taken for a backup, and the next has all that was acknowledged before it."""
    settings = truth.target.settings
    folder = settings.home / "backups"
    command = [sys.executable, "-c", BACK_UP, str(settings.home), str(folder)]
    environment = {**os.environ, "PREDICTION_LOG_DIR": str(truth.target.disk / "predictions")}

    def started() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(command, cwd=settings.root, env=environment, stdout=subprocess.DEVNULL)

    with started() as first:
        time.sleep(choose.uniform(0, 4))
        first.kill()
    known = set(truth.documents)
    with started() as second:
        pass
    if second.returncode != 0:
        raise Violation(f"after a killed backup, the next ended with {second.returncode}")
    for path in folder.glob("*"):
        archive.check(path, settings.root)
        with NamedTemporaryFile() as store:
            for info, member in archive.members(path):
                if info.name == "state/rag/store.db" and member:
                    copyfileobj(member, store)
            store.flush()
            with closing(sqlite3.connect(store.name)) as opened:
                kept = {name for (name,) in opened.execute("SELECT name FROM names")}
        if missing := known - kept:
            raise Violation(f"{path.name} lacks {sorted(missing)}")
    rmtree(folder)


@kind(KINDS, "Airflow's part killed during a training", 12)
def airflow_killed(truth: Truth, choose: Random) -> None:
    part = choose.choice(["airflow scheduler", "airflow api-server", "airflow dag-processor", "pipeline.py", "java"])
    run_ends_well(truth, choose, lambda: truth.target.kill_part("airflow", part), part)


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


def runnable(one: Kind, target: Programs) -> str | None:
    """Why this kind cannot be tried on this machine; None where it can."""
    if one.name == "disk full" and not target.small_disk:
        return "needs root, for a small file system of its own"
    if one.name == "clock moved" and not FAKETIME.exists():
        return "needs libfaketime (Debian's package faketime)"
    return None
