"""Many documents at once: Spark reads and embeds them part by part, then they are loaded beside the collection that
answers, and take its place at the end."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException

from rag_service.bulk.files import files_of, place_of
from rag_service.bulk.load import Load, drop_next
from rag_service.bulk.parts import Part, Work
from rag_service.bulk.progress import Say, progress
from rag_service.errors import AlreadyReindexing, NoDocuments, SparkStopped
from rag_service.models.load import load_embedder
from rag_service.service import Service
from rag_service.settings import Settings


def embed(settings: Settings, source: str, collection: str, master: str, folder: str | None, say: Say) -> Counter[str]:
    """Adds the files of a folder or a bucket to a collection, all at the same moment; counts what became of them.
    `folder`: where the parts are kept until all are loaded, which this process and every executor must reach.

    Raises NoDocuments, AlreadyReindexing, OtherEmbedder, SparkStopped, Watched.
    """
    with closing(Service(settings)) as service, service.store.alone("reindex") as alone:
        if not alone:  # the edition must stay until all are loaded
            raise AlreadyReindexing
        service.refuse_watched(collection)
        drop_next(service.store, collection)
        edition = service.library_over(service.store, load_embedder(settings)).edition()
        there = settings.model_copy(update={"models_dir": settings.models_dir.absolute()})  # executors start elsewhere
        folder = f"{place_of(folder or str(settings.data_dir))}/bulk-{collection}"
        work = Work(source, folder, there, service.limits(), edition, service.store.known(edition))
        parts = list(work.parts(files_of(source)))
        if not parts:
            raise NoDocuments(source, "it has no file of a supported type")
        make_parts(work, parts, master, say)
        failures = settings.data_dir / f"bulk-{collection}.failed.jsonl"
        counts = Load(service.store, collection, work, failures, say).run(parts)
        work.remove()
    return counts


def make_parts(work: Work, parts: Sequence[Part], master: str, say: Say) -> None:
    """Makes the parts that are not there yet. Raises SparkStopped."""
    there = work.done()
    lacking = [part for part in parts if part.key not in there]
    total, left = (sum(len(part.files) for part in some) for some in (parts, lacking))
    if not lacking:
        return
    try:
        with _spark(master) as spark:
            done, shared = spark.accumulator(total - left), spark.broadcast(work)

            def make(part: Part) -> None:
                shared.value.make(part)
                done.add(len(part.files))

            with progress("embedded", total, lambda: done.value, say):
                # Only the files' names pass through Spark: each task writes its own part, so that a kill keeps it.
                spark.parallelize(lacking, len(lacking)).foreach(make)
    except (PySparkException, Py4JJavaError) as error:
        raise SparkStopped(_reason(error)) from error


@contextmanager
def _spark(master: str) -> Iterator[SparkContext]:
    code = str(Path(__file__).parents[2])
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "512m",
        "spark.executorEnv.PYTHONPATH": code,
        "spark.executorEnv.TOKENIZERS_PARALLELISM": "false",  # a task has one core
    }
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # Spark itself would take the first python3 on PATH
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    configured = SparkConf().setMaster(master).setAppName("rag embed").setAll(list(settings.items()))
    with SparkContext(conf=configured) as spark:
        spark.setLogLevel("FATAL")  # what stops the work is said in a sentence
        yield spark


def _reason(error: Exception) -> str:
    """The line that says it: of Python's traceback the last, where an executor had one, else Java's first."""
    text = str(error).partition("\n\tat ")[0].strip()
    lines = [line for line in text.splitlines() if line and not line[0].isspace()]
    if "Traceback" in text:
        return lines[-1]
    return next((line.removeprefix(": ") for line in lines if line.startswith(": ")), lines[0])
