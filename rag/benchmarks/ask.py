"""This service beside the plain way, txtai and Haystack: the same weights, passages and questions, in one run.

    PYTHONPATH=. python benchmarks/ask.py [--requests 15] [--seconds 15] [--clients 8] [--book 400] [--only NAME]

From rag/, with the environment of requirements-test.lock. Each is started while the others are stopped, then

ingestion   the passages of one long document, from the request until it is answered. This service reads the file in a
            child process, cuts it, and keeps its text, its words and its token vectors; the others get the passages
            ready made and embed them
one client  questions one after the other: the median
clients     as many at the same time, each asking again once it is answered: answers a second

The generator has flan-t5-small's shape and random weights (peers/material.py), writes 32 tokens, and gets four passages
of one length. This service is measured as users have it: what it writes is checked against the passages, finds no
support (the weights are random), and is replaced by the best sentence, which is the longest way that a question goes.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers import material, programs
from peers.material import Material
from peers.programs import ANSWER_TOKENS, NotMeasured, Program, resident

from rag_service.models.find import embedder_folder

TOP_K = 4
NAMES = ("plain", "txtai", "haystack", "ours")
TITLES = {"plain": "plain FastAPI", "txtai": "txtai 9.14", "haystack": "Haystack 3.4", "ours": "this service"}


@dataclass(frozen=True)
class Measured:
    """Passages a second, milliseconds, answers a second, seconds, megabytes."""

    ingestion: float
    median: float
    throughput: float
    p95: float
    start: float
    memory: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--book", type=int, default=400, help="passages of the long document")
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--cache", type=Path, default=Path("var/benchmarks"), help="environments and the model")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    given = material.make(options.book)
    material.make_generator(options.cache / "generator", given)
    found: dict[str, Measured | str] = {}
    for name in [name for name in NAMES if name in options.only]:
        try:
            found[name] = (_ours if name == "ours" else _peer)(name, given, options)
        except NotMeasured as error:
            found[name] = str(error)
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    print(table(found, options))
    return 1 if isinstance(found.get("ours", ""), str) else 0


def _peer(name: str, given: Material, options: argparse.Namespace) -> Measured:
    embedder = embedder_folder(None, Path("nowhere"), 1).path
    variables = {
        "EMBEDDER": str(embedder),
        "GENERATOR": str((options.cache / "generator").resolve()),
        "ANSWER_TOKENS": str(ANSWER_TOKENS),
    }
    with programs.peer(name, options.cache.resolve(), variables) as program:
        program.post("/passages", json={"passages": given.small})  # warms up
        begun = time.perf_counter()
        program.post("/passages", json={"passages": given.book})
        rate = len(given.book) / (time.perf_counter() - begun)
        program.post("/passages", json={"passages": given.small})
        answer = program.post("/ask", json={"question": given.questions[0], "top_k": TOP_K})
        if answer["answer_tokens"] != ANSWER_TOKENS:
            raise NotMeasured(f"wrote {answer['answer_tokens']} tokens, not {ANSWER_TOKENS}")
        return _asked(program, given, options, rate, program.started)


def _ours(_: str, given: Material, options: argparse.Namespace) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            "RAG_GENERATOR": str((options.cache / "generator").resolve()),
            "RAG_ANSWER_TOKENS": str(ANSWER_TOKENS),
            "RAG_THRESHOLD": "0",
            "RAG_DATA_DIR": folder,
            "RAG_MODELS_DIR": str((options.cache / "converted").resolve()),
            "RAG_MAX_WAITING": str(max(16, options.clients)),
        }
        with programs.ours(options.cache.resolve(), variables) as program:
            _upload(program, {f"{number}.txt": text for number, text in enumerate(given.small)}, "default")
            begun = time.perf_counter()
            # Cut by its own rules, the text may become a passage more than the others get ready-made; it is as long.
            _upload(program, {"book.txt": "\n\n".join(given.book)}, "book")
            rate = len(given.book) / (time.perf_counter() - begun)
        with programs.ours(options.cache.resolve(), variables) as program:
            answer = program.post("/ask", json={"question": given.questions[0], "top_k": TOP_K})
            if answer["abstained"]:
                raise NotMeasured("did not answer")
            return _asked(program, given, options, rate, program.started)


def _upload(program: Program, texts: dict[str, str], collection: str) -> None:
    files = [("files", (name, text.encode())) for name, text in texts.items()]
    answer = program.post("/documents", files=files, data={"collection": collection})
    made = sum(document["passages"] for document in answer["documents"])
    if made < len(texts):
        raise NotMeasured(f"made {made} passages of {len(texts)} files")


def _asked(program: Program, given: Material, options: argparse.Namespace, rate: float, start: float) -> Measured:
    def ask(number: int) -> float:
        begun = time.perf_counter()
        program.post("/ask", json={"question": given.questions[number % len(given.questions)], "top_k": TOP_K})
        return time.perf_counter() - begun

    for number in range(2):
        ask(number)
    alone = [ask(number) for number in range(options.requests)]
    end = time.perf_counter() + options.seconds

    def client(first: int) -> list[float]:
        spent: list[float] = []
        while time.perf_counter() < end:
            spent.append(ask(first + len(spent) * options.clients))
        return spent

    begun = time.perf_counter()
    with ThreadPoolExecutor(options.clients) as clients:
        together = [seconds for spent in clients.map(client, range(options.clients)) for seconds in spent]
    throughput, p95 = len(together) / (time.perf_counter() - begun), statistics.quantiles(together, n=20)[-1]
    return Measured(rate, 1000 * statistics.median(alone), throughput, 1000 * p95, start, resident(program.process.pid))


def table(found: dict[str, Measured | str], options: argparse.Namespace) -> str:
    """One line each; what could not be measured with its reason."""
    ours: Any = found.get("ours")
    lines = [
        f"{options.requests} alone, {options.clients} clients for {options.seconds:g} s, {platform.machine()}",
        "",
        "| | passages/s | median ms, 1 client | answers/s | p95 ms | start s | memory MB |"
        " ingestion, latency, throughput: this service is |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, one in found.items():
        if isinstance(one, str):
            lines.append(f"| {TITLES[name]} | not measured: {one} |")
            continue
        times = ""
        if name != "ours" and isinstance(ours, Measured):
            parts = (ours.ingestion / one.ingestion, one.median / ours.median, ours.throughput / one.throughput)
            times = ", ".join(f"{part:.1f}" for part in parts) + " times faster"
        lines.append(
            f"| {TITLES[name]} | {one.ingestion:.1f} | {one.median:.0f} | {one.throughput:.2f} | {one.p95:.0f} |"
            f" {one.start:.1f} | {one.memory} | {times} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
