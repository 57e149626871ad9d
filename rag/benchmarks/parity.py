"""The embedder in 8-bit integers beside sentence-transformers in float32: the same vectors, and do they find the same?

    PYTHONPATH=. python benchmarks/parity.py FILE [--passages 1000]

FILE is in SQuAD's format. Its paragraphs and its sentences in threes, fours and fives are the passages; a question has
found its paragraph where that is the nearest of all paragraphs, or among the nearest five. Nothing but the vectors is
compared here: no words, no late interaction. Exit code 1 where a target is missed.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from rag_service.language import sentences
from rag_service.models.embedder import BertEmbedder
from rag_service.models.find import embedder_folder

Vectors = NDArray[numpy.float32]


def recall(questions: Vectors, passages: Vectors, places: list[int], depth: int) -> float:
    """The share of the questions whose own passage is among the nearest `depth`."""
    nearest = numpy.argsort(-(questions @ passages.T), axis=1, kind="stable")[:, :depth]
    return float(numpy.mean([place in row for place, row in zip(places, nearest, strict=True)]))


def parts(paragraphs: list[str], count: int) -> list[str]:
    """The paragraphs, and runs of three to five sentences of them."""
    runs = []
    for text in paragraphs:
        places = list(sentences(text))
        for size in (3, 4, 5):
            runs += [text[places[first][0] : places[first + size - 1][1]] for first in range(len(places) - size + 1)]
    return [*paragraphs, *runs][:count]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--passages", type=int, default=1000)
    options = parser.parse_args()
    read = [one for article in json.loads(options.file.read_text())["data"] for one in article["paragraphs"]]
    asked = [(qa["question"], number) for number, one in enumerate(read) for qa in one["qas"]]
    paragraphs, questions, places = [one["context"] for one in read], [q for q, _ in asked], [n for _, n in asked]
    passages = parts(paragraphs, options.passages)

    folder = embedder_folder(None, "", Path("nowhere"), 1)
    reference = SentenceTransformer(str(folder.path), device="cpu")
    with tempfile.TemporaryDirectory() as models:
        small = BertEmbedder(folder, Path(models), "int8")
        mine, mine_asked = small.embed_passages(passages), numpy.stack([small.embed_question(q) for q in questions])
    exact: Vectors = reference.encode_document(passages, normalize_embeddings=True)
    exact_asked: Vectors = reference.encode_query(questions, normalize_embeddings=True)

    cosines = (mine * exact).sum(axis=1)
    print(f"{len(passages)} passages: cosine {cosines.mean():.4f}, least {cosines.min():.4f}")
    asked_cosines = (mine_asked * exact_asked).sum(axis=1)
    print(f"{len(questions)} questions: cosine {asked_cosines.mean():.4f}, least {asked_cosines.min():.4f}")
    worst = 0.0
    for depth in (1, 5):
        both = [
            recall(one_asked, one[: len(paragraphs)], places, depth)
            for one_asked, one in ((exact_asked, exact), (mine_asked, mine))
        ]
        worst = max(worst, both[0] - both[1])
        print(f"recall@{depth}: float32 {both[0]:.4f}, int8 {both[1]:.4f}")
    return 0 if cosines.min() >= 0.99 and worst <= 0.005 else 1


if __name__ == "__main__":
    sys.exit(main())
