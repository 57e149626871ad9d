"""What one passage and one question cost, in CPU seconds, and what a million passages take. Prints JSON.

    PYTHONPATH=. python benchmarks/unit_costs.py [--passages 2000 6000] [--vectors 100000 200000] [--questions 60]

From rag/. Each figure is CPU time of this process, and of the children that read files, divided by the number of
things done. The embedder is the real one; the generator has flan-t5-small's shape and random weights, and writes 32
tokens. Store and index are compared at two sizes: the slope is what a further passage takes.
"""

from __future__ import annotations

import ctypes
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import rag_service  # noqa: F401  # before the others: it sets how their threads wait

# isort: split
import faiss
import numpy
import psutil
from peers import material
from peers.programs import ANSWER_TOKENS, resident

from benchmarks.measured import options
from benchmarks.search import WHOLE, InMemory, Real, fill
from rag_service.service import Service
from rag_service.settings import read_settings
from rag_service.store.faiss_index import Index
from rag_service.store.sqlite import SqliteStore

QUESTIONS = Path("tests/data/sample-questions.json")


def children_cpu() -> float:
    """CPU seconds so far of the children and of those that they have waited for."""
    all_times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system + one.children_user + one.children_system for one in all_times)


def spent(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def costs_of_work(cache: Path, count: int) -> tuple[dict[str, float], list[float]]:
    """Seconds for each passage of a text file that is added, and for each question; those of each generated answer."""
    given = material.make(400)
    material.make_generator(cache / "generator", given)
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings(
            data_dir=Path(folder), models_dir=cache / "converted", generator=str((cache / "generator").resolve()),
            answer_tokens=ANSWER_TOKENS, threshold=0.0,
        )  # fmt: skip
        with closing(Service(settings)) as service:
            parts = service.load()
            embedder, library = parts.embedder, parts.library
            library.add("warm.txt", given.small[0].encode(), "default")
            read, book = children_cpu(), "\n\n".join(given.book).encode()
            adding = spent(lambda: library.add("book.txt", book, "default"))
            reading = children_cpu() - read
            passages = len(service.store.passage_numbers(service.store.view("default"))) - 1
            embedding = spent(lambda: embedder.encode_passages(given.book)) / len(given.book)
            asked = [given.questions[place % len(given.questions)] for place in range(count)]

            def each(work: Callable[[str], object]) -> list[float]:
                work(asked[0])
                return [spent(partial(work, question)) for question in asked]

            generated = each(lambda question: parts.answerer.ask(question, "default", 4))
            costs = {
                "passage_reading": reading / passages,
                "passage_embedding": embedding,
                "passage_cutting_and_storing": max(0.0, adding / passages - embedding),
                "question_embedding": fmean(each(embedder.encode_question)),
                "question_search": fmean(each(lambda question: parts.answerer.search(question, "default", 4))),
                "question_quoted": fmean(each(lambda question: parts.quoting.ask(question, "default", 4))),
                "question_generated": fmean(generated),
            }
            return costs, generated


def store_bytes(real: Real, counts: list[int]) -> float:
    """Bytes of SQLite, texts, words, vectors and signs, for each passage more."""
    sizes = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            with closing(SqliteStore(Path(folder) / "store.db")) as store:
                fill(store, real, count)
            sizes.append(sum(path.stat().st_size for path in Path(folder).iterdir()))
    return (sizes[1] - sizes[0]) / (counts[1] - counts[0])


def index_costs(real: Real, counts: list[int], limit: int) -> dict[str, float]:
    """Resident bytes for each vector more, and CPU seconds of a search of the larger index; exact up to `limit`."""
    found = []
    for count in counts:
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:  # memory that was freed would be used again
            found.append(alone.submit(index_cost, real, count, limit).result())
    (small, _), (large, search) = found
    return {"bytes": (large - small) / (counts[1] - counts[0]), "search": search, "at": counts[1]}


def index_cost(real: Real, count: int, limit: int) -> tuple[float, float]:
    faiss.omp_set_num_threads(1)
    source = InMemory(numpy.concatenate([real.multiplied(10_000, seed) for seed in range(count // 10_000)]))
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # or the index fills what making the vectors has left behind
    before = resident()
    with closing(Index(source, real.vectors.shape[1], flat_limit=limit)) as index:  # type: ignore[arg-type]
        index.size(WHOLE)
        grown = 1e6 * (resident() - before)
        return grown, fmean(spent(partial(index.search, WHOLE, one, 32)) for one in real.asked)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--passages", type=int, nargs=2, default=[2_000, 6_000], help="of the store")
    parser.add_argument(
        "--vectors", type=int, nargs=2, default=[100_000, 200_000], help="of the index of lists; tens of thousands"
    )
    parser.add_argument("--exact", type=int, nargs=2, default=[20_000, 80_000], help="of the exact index")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--cache", type=Path, default=Path("var/benchmarks"), help="the generator")
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    real = Real(QUESTIONS, 0.6)
    found: dict[str, Any] = {"dimension": real.vectors.shape[1]}
    found["exact_index"] = index_costs(real, given.exact, 10**9)
    found["lists_index"] = index_costs(real, given.vectors, 0)
    found["store_bytes"] = store_bytes(real, given.passages)
    found["seconds"], found["generated_seconds"] = costs_of_work(given.cache, given.questions)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
