"""How often the right paragraph is found, on a question set in SQuAD's format: one table, every trial a row.

    PYTHONPATH=. python benchmarks/retrieval.py FILE [--chunk-tokens 96 160 254] [--splits 20]

Each paragraph is ingested as a document of its own by the service's own stages; a paragraph counts as found at k when
any of its passages is among the first k hits. With --splits the articles are parted into halves at random: the shares
are chosen on one half of them and judged on the other, so that nothing is judged on what it was chosen by.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import random
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rag_service.indexing.ingest import Library
from rag_service.models.engines import Embedder
from rag_service.reading import Limits
from rag_service.search.retriever import Retriever
from rag_service.service import Service
from rag_service.settings import read_settings
from rag_service.store.faiss_index import Index
from rag_service.store.protocol import Edition, Store
from rag_service.store.sqlite import SqliteStore
from rag_service.types import Encoded, SearchOptions, Weights

TRIALS = {
    "cosine alone": Weights(0, 1, 0),
    "BM25 alone": Weights(0, 0, 1),
    "cosine and BM25, half and half": Weights(0, 0.5, 0.5),
    "late interaction alone": Weights(1, 0, 0),
    "late 0.9, BM25 0.1 (the service's)": Weights(),
    "late 0.8, BM25 0.2": Weights(0.8, 0, 0.2),
    "late 0.8, cosine 0.1, BM25 0.1": Weights(0.8, 0.1, 0.1),
    "late 0.6, cosine 0.2, BM25 0.2": Weights(0.6, 0.2, 0.2),
    "a third each": Weights(1, 1, 1),
}
DEPTHS = (10, 20, 32, 50)
DEEPEST = 10


@dataclass(frozen=True)
class Question:
    text: str
    article: str
    paragraph: str


class Collection:
    """The paragraphs, ingested with one chunk size, and what every question's vectors are."""

    def __init__(self, store: Store, embedder: Embedder, tokens: int, overlap: int) -> None:
        self._store, self._embedder, self._tokens, self._overlap = store, embedder, tokens, overlap
        self._retriever = Retriever(Index(store, embedder.dimension), store)

    def fill(self, paragraphs: dict[str, str]) -> None:
        limits = Limits(file_bytes=10**6, seconds=60, memory_bytes=2**29, text_bytes=10**6)
        edition = Edition(self._embedder.identity, (None, ""), self._tokens, self._overlap)
        library = Library(self._store, self._embedder, limits, edition)
        for name, text in paragraphs.items():
            verdict = library.add(name, text.encode(), "default")
            if verdict.verdict == "failed":
                raise SystemExit(f"{name} cannot be ingested: {verdict.reason}")

    def ranks(self, questions: Sequence[Question], encoded: Sequence[Encoded], options: SearchOptions) -> list[int]:
        """For each question at which hit its paragraph was found, from 0; DEEPEST where it was not."""
        found, view = [], self._store.view("default")
        for question, vectors in zip(questions, encoded, strict=True):
            hits = self._retriever.find(view, question.text, vectors, DEEPEST, options)
            names = [{hit.passage.document, *hit.also_in} for hit in hits]
            found.append(next((rank for rank, one in enumerate(names) if question.paragraph in one), DEEPEST))
        return found


def read(path: Path) -> tuple[dict[str, str], list[Question]]:
    """The paragraphs by a name, and the questions that their articles answer."""
    paragraphs, questions = {}, []
    for article in json.loads(path.read_text())["data"]:
        for number, paragraph in enumerate(article["paragraphs"]):
            name = f"{article['title']}-{number}.txt"
            paragraphs[name] = paragraph["context"]
            asked = [asking["question"] for asking in paragraph["qas"] if not asking.get("is_impossible")]
            questions += [Question(text, article["title"], name) for text in asked]
    return paragraphs, questions


def recall(ranks: Sequence[int], count: int) -> float:
    return sum(rank < count for rank in ranks) / len(ranks)


def interval(share: float, count: int) -> str:
    """Wilson's 95 % interval of a share."""
    z = 1.96
    middle, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return f"{(middle - spread) / (1 + z * z / count):.3f} to {(middle + spread) / (1 + z * z / count):.3f}"


def row(name: str, ranks: Sequence[int]) -> None:
    reciprocal = sum(1 / (rank + 1) for rank in ranks if rank < DEEPEST) / len(ranks)
    shares = " | ".join(f"{recall(ranks, count):.4f}" for count in (1, 3, 5))
    print(f"| {name} | {shares} | {reciprocal:.4f} | {interval(recall(ranks, 1), len(ranks))} |", flush=True)


def head(title: str) -> None:
    print(
        f"\n{title}\n\n| trial | recall@1 | @3 | @5 | MRR | 95 % of recall@1 |\n| --- | --- | --- | --- | --- | --- |"
    )


def chosen_and_judged(trials: dict[Weights, list[int]], questions: Sequence[Question], splits: int) -> None:
    """Chooses the shares by MRR on half of the articles, judges them on the other, many times."""
    articles = sorted({question.article for question in questions})
    ones, fives, picks = [], [], []
    for seed in range(splits):
        half = set(random.Random(seed).sample(articles, len(articles) // 2))
        for inside in (True, False):
            choose = [place for place, one in enumerate(questions) if (one.article in half) is inside]
            judge = [place for place, one in enumerate(questions) if (one.article in half) is not inside]
            best = max(trials, key=lambda one: sum(1 / (trials[one][place] + 1) for place in choose))
            judged = [trials[best][place] for place in judge]
            picks.append(best)
            ones.append(recall(judged, 1))
            fives.append(recall(judged, 5))
    mean = sum(ones) / len(ones)
    print(
        f"\nChosen on half of the articles, judged on the other, {len(ones)} times: recall@1 {mean:.4f} "
        f"({min(ones):.4f} to {max(ones):.4f}), recall@5 {sum(fives) / len(fives):.4f} (least {min(fives):.4f})."
    )
    for weights in sorted(set(picks), key=picks.count, reverse=True)[:4]:
        shares = f"late {weights.late}, cosine {weights.dense}, BM25 {weights.lexical}"
        print(f"  chosen {picks.count(weights)} times: {shares}; on all articles {recall(trials[weights], 1):.4f}")


def grid() -> Iterable[Weights]:
    for dense, lexical in itertools.product((0.0, 0.1, 0.2, 0.3), repeat=2):
        yield Weights(round(1 - dense - lexical, 1), dense, lexical)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--chunk-tokens", type=int, nargs="+", default=[96, 128, 160, 200, 254])
    parser.add_argument("--overlap", type=int, nargs="+", default=[32])
    parser.add_argument("--splits", type=int, default=20)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Service(read_settings(data_dir=Path(folder), generator="none"))) as runtime,
    ):
        embedder = runtime.load().embedder
    paragraphs, questions = read(options.file)
    print(f"{len(paragraphs)} paragraphs, {len(questions)} questions, embedder {embedder.name}")
    encoded = [embedder.encode_question(question.text) for question in questions]
    for tokens, overlap in itertools.product(options.chunk_tokens, options.overlap):
        with tempfile.TemporaryDirectory() as folder, closing(SqliteStore(Path(folder) / "store.db")) as store:
            collection = Collection(store, embedder, tokens, overlap)
            started = time.perf_counter()
            collection.fill(paragraphs)
            count = sum(document.passages for document in store.documents())
            kept = sum(len(signs) for signs in store.token_signs(range(count + 1)).values())
            seconds = time.perf_counter() - started
            head(
                f"Passages of at most {tokens} tokens, overlap {overlap}: {count} passages, "
                f"{kept / count:,.0f} bytes of signs each, ingested in {seconds:.0f} s"
            )
            for name, weights in TRIALS.items():
                row(name, collection.ranks(questions, encoded, SearchOptions(weights=weights)))
            for depth in DEPTHS:
                row(f"the service's, depth {depth}", collection.ranks(questions, encoded, SearchOptions(depth=depth)))
            if options.splits:
                trials = {one: collection.ranks(questions, encoded, SearchOptions(weights=one)) for one in grid()}
                chosen_and_judged(trials, questions, options.splits)


if __name__ == "__main__":
    main()
