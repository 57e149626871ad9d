"""The plain way: sentence-transformers, FAISS and transformers in a FastAPI handler."""

import os

import faiss
from sentence_transformers import SentenceTransformer

from peers.service import service
from peers.t5 import T5

embedder = SentenceTransformer(os.environ["EMBEDDER"], device="cpu")
t5 = T5()
held: dict = {}


def hold(passages: list[str]) -> int:
    vectors = embedder.encode_document(passages, normalize_embeddings=True, show_progress_bar=False)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    held.update(index=index, passages=passages)
    return index.ntotal


def answer(question: str, top_k: int) -> dict:
    vector = embedder.encode_query(question, normalize_embeddings=True, show_progress_bar=False)
    _, numbers = held["index"].search(vector.reshape(1, -1), top_k)
    context = " ".join(held["passages"][number] for number in numbers[0])
    return t5.write(f"question: {question} context: {context}")


app = service(hold, answer)
