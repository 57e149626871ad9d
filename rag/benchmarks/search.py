"""How long searching takes: `/search` over HTTP on a large store, and FAISS alone on a million vectors.

    PYTHONPATH=. python benchmarks/search.py FILE [--passages 100000] [--requests 300]
    PYTHONPATH=. python benchmarks/search.py FILE --vectors 1000000

FILE is a question set in SQuAD's format. Its paragraphs are too few, so they are multiplied: a passage of the large
store is four sentences drawn from all paragraphs (so that words are as common as in the paragraphs), with a real
passage's vector and its tokens' signs under noise. The million vectors are noisy copies of the real passages' and
sentences' vectors: as many clusters as there are of those, with a cosine of about 0.75 within, or of 0.5 with
`--noise 1`; the questions are the file's own.
"""

from __future__ import annotations

import resource
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import faiss
import numpy
from numpy.typing import NDArray
from peers.programs import Program, ours, resident

from benchmarks.measured import loaded, options
from rag_service.evaluation.questions import read_squad
from rag_service.language import paragraphs, sentences, terms_of
from rag_service.search.maxsim import signs
from rag_service.store.faiss_index import LISTS, PROBES, Index
from rag_service.store.protocol import Edition, Named, Passages, Store, Stored, View
from rag_service.store.sqlite import SqliteStore
from rag_service.types import Block, Extracted, Span

Vectors = NDArray[numpy.float32]
_OF_A_DOCUMENT = 500
_SENTENCES = 4


class Real:
    """The file's questions, sentences and paragraphs, with the vectors that they really have."""

    def __init__(self, path: Path, noise: float) -> None:
        self._noise = noise
        articles = read_squad(path)
        texts = [text[start:end] for text in (one.text for one in articles) for start, end in paragraphs(text)]
        self.questions = [question.text for article in articles for question in article.questions]
        self.sentences = [text[start:end] for text in texts for start, end in sentences(text)]
        with loaded() as service:
            embedder = service.parts().embedder
            encoded = embedder.encode_passages(texts)
            self.asked = numpy.stack([embedder.encode_question(question).vectors[0] for question in self.questions])
            self.vectors = numpy.concatenate([encoded.vectors, embedder.encode_passages(self.sentences).vectors])
        self.identity = embedder.identity
        self.signs = [signs(tokens, text) for tokens, text in zip(encoded.tokens, texts, strict=True)]

    def multiplied(self, count: int, seed: int) -> Vectors:
        """`(count, dimension)`: unit vectors, each near to one of the real ones."""
        random = numpy.random.default_rng(seed)
        dimension = self.vectors.shape[1]
        noise = random.normal(scale=self._noise / dimension**0.5, size=(count, dimension)).astype(numpy.float32)
        vectors = self.vectors[random.integers(len(self.vectors), size=count)] + noise
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def fill(store: Store, real: Real, count: int) -> None:
    random = numpy.random.default_rng(0)
    for number, start in enumerate(range(0, count, _OF_A_DOCUMENT)):
        many = min(_OF_A_DOCUMENT, count - start)
        drawn = random.integers(len(real.sentences), size=(many, _SENTENCES))
        texts = [" ".join(real.sentences[place] for place in row) for row in drawn]
        ends = numpy.cumsum([len(text) + 2 for text in texts]).tolist()
        spans = [Span(end - 2 - len(text), end - 2) for end, text in zip(ends, texts, strict=True)]
        packed = [noisy(real.signs[random.integers(len(real.signs))], random) for _ in texts]
        name, whole = f"{number}.txt", "\n\n".join(texts)
        blocks = tuple(Block("paragraph", span.start, span.end) for span in spans)
        terms = [terms_of(text) for text in texts]
        passages = Passages(spans, real.multiplied(many, number), packed, terms)
        edition = Edition(real.identity, (None, ""), 160, 32)
        store.put("default", Named(name, name, len(whole), Extracted(whole, blocks)), edition, passages)


def noisy(packed: bytes, random: numpy.random.Generator) -> bytes:
    """The signs with one in sixteen turned about."""
    noise = random.integers(256, size=(4, len(packed)), dtype=numpy.uint8)
    turned = noise[0] & noise[1] & noise[2] & noise[3]
    return (numpy.frombuffer(packed, dtype=numpy.uint8) ^ turned).tobytes()


def times(name: str, seconds: Sequence[float]) -> None:
    p50, p95, p99 = numpy.percentile(1000 * numpy.array(seconds), [50, 95, 99])
    print(f"| {name} | {p50:.1f} | {p95:.1f} | {p99:.1f} |", flush=True)


def measure_search(real: Real, count: int, requests: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with closing(SqliteStore(Path(folder) / "store.db")) as store:
            fill(store, real, count)
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        print(f"{count:,} passages stored in {time.perf_counter() - started:.0f} s, {size:,.0f} MB")
        variables = {"RAG_DATA_DIR": folder, "RAG_GENERATOR": "none"}
        with ours(Path(folder), variables) as program:
            print(f"ready after {program.started:.1f} s, resident {resident(program.process.pid):,} MB")
            asked = [{"query": real.questions[place % len(real.questions)]} for place in range(requests + 20)]
            print("\n| `/search`, one client, milliseconds | p50 | p95 | p99 |\n| --- | --- | --- | --- |")
            times(f"{count:,} passages, {requests} questions, embedding included", [*spent(program, asked)][20:])
            with writing(program) as writes:
                times("the same, while a document is added each second", [*spent(program, asked)][20:])
            print(f"\n{writes[0]} documents were added meanwhile; resident {resident(program.process.pid):,} MB")


def spent(program: Program, asked: Sequence[dict[str, str]]) -> Iterator[float]:
    """The seconds of each question."""
    for body in asked:
        began = time.perf_counter()
        program.post("/search", json=body)
        yield time.perf_counter() - began


@contextmanager
def writing(program: Program) -> Iterator[list[int]]:
    """Adds a short document each second, from a thread of its own; gives how many so far."""
    ended, writes = threading.Event(), [0]

    def write() -> None:
        while not ended.wait(1):
            text = f"The note number {writes[0]} says that valve {writes[0]} was checked."
            program.post("/documents", files={"files": (f"note-{writes[0]}.txt", text.encode())})
            writes[0] += 1

    thread = threading.Thread(target=write)
    thread.start()
    yield writes
    ended.set()
    thread.join()


WHOLE = View("c", 1, Edition("e", (None, ""), 160, 32, 1))


class InMemory:
    """The vectors as the index asks the store for them."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def view(self, collection: str) -> View:
        return WHOLE

    def change(self) -> int:
        return 1

    def store_id(self) -> str:
        return "benchmark"

    def collections(self) -> dict[str, int]:
        return {WHOLE.collection: 1}

    def passage_numbers(self, view: View) -> NDArray[numpy.int64]:
        return numpy.arange(len(self._vectors), dtype=numpy.int64)

    def vectors(self, numbers: Sequence[int]) -> dict[int, Stored]:
        return {number: Stored(self._vectors[number], b"") for number in numbers}


def measure_index(real: Real, count: int) -> None:
    faiss.omp_set_num_threads(1)
    dimension = real.vectors.shape[1]
    source = InMemory(numpy.concatenate([real.multiplied(100_000, seed) for seed in range(count // 100_000)]))
    exact = faiss.IndexFlatIP(dimension)
    exact.add(source._vectors)
    _, expected = exact.search(real.asked, 10)
    began = time.perf_counter()
    exact.search(real.asked[:1], 10)
    print(f"{count:,} vectors; exact search of one question on one core: {1000 * (time.perf_counter() - began):.0f} ms")
    del exact
    with tempfile.TemporaryDirectory() as folder:
        before, began = resident(), time.perf_counter()
        index = Index(source, dimension, Path(folder))
        index.size(WHOLE)
        built, grown = time.perf_counter() - began, resident() - before
        index.close()
        kept = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        print(f"built in {built:.0f} s on one core, {grown:,.0f} MB resident; kept: {kept:,.0f} MB; {LISTS} lists")
        began = time.perf_counter()
        index = Index(source, dimension, Path(folder))
        index.size(WHOLE)
        print(f"started from the kept index in {time.perf_counter() - began:.1f} s (digest checked)")
        print("\n| lists looked through | recall@10 | the same of 32 compared exactly | p50 ms | p95 | p99 |")
        print("| --- | --- | --- | --- | --- | --- |")
        for probes in (8, 16, PROBES, 32, 48):
            compare(index, source, real, expected, probes)
    print(f"peak of this program {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def compare(index: Index, source: InMemory, real: Real, expected: NDArray[numpy.int64], probes: int) -> None:
    from rag_service.store import faiss_index as module

    module.PROBES = probes
    spent, found, closer = [], 0, 0
    for vector, right in zip(real.asked, expected, strict=True):
        began = time.perf_counter()
        numbers = [number for number, _ in index.search(WHOLE, vector, 32)]
        spent.append(time.perf_counter() - began)
        found += len(set(numbers[:10]) & set(right.tolist()))
        cosines = source._vectors[numbers] @ vector
        closer += len({numbers[place] for place in numpy.argsort(-cosines)[:10]} & set(right.tolist()))
    shares = [share / expected.size for share in (found, closer)]
    p50, p95, p99 = numpy.percentile(1000 * numpy.array(spent), [50, 95, 99])
    print(f"| {probes} | {shares[0]:.4f} | {shares[1]:.4f} | {p50:.1f} | {p95:.1f} | {p99:.1f} |", flush=True)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--vectors", type=int, help="FAISS alone, on so many; a multiple of 100,000")
    parser.add_argument("--noise", type=float, default=0.6, help="the noise's length; a real vector's is 1")
    given = parser.parse_args()
    real = Real(given.file, given.noise)
    if given.vectors:
        measure_index(real, given.vectors)
    else:
        measure_search(real, given.passages, given.requests)


if __name__ == "__main__":
    main()
