"""txtai: its Embeddings (FAISS) and its RAG pipeline around its LLM, in a FastAPI handler."""

import os
import threading

from transformers import AutoTokenizer
from txtai import LLM, RAG, Embeddings

from peers.service import service

tokenizer = AutoTokenizer.from_pretrained(os.environ["GENERATOR"])
llm = LLM(os.environ["GENERATOR"], method="transformers", task="sequence-sequence", gpu=False)
held: dict = {}
one_at_a_time = threading.Lock()  # its database has one cursor, which two threads cannot use
TEMPLATE = "question: {question} context: {context}"


def hold(passages: list[str]) -> int:
    embeddings = Embeddings(path=os.environ["EMBEDDER"], content=True, gpu=False)
    embeddings.index(passages)
    held["rag"] = RAG(embeddings, llm, template=TEMPLATE, output="reference")
    held["embeddings"] = embeddings
    return embeddings.count()


def answer(question: str, top_k: int) -> dict:
    rag = held["rag"]
    with one_at_a_time:
        rag.context = top_k
        found = rag(question, maxlength=int(os.environ["ANSWER_TOKENS"]) + 1)
    return {"answer": found["answer"], "answer_tokens": len(tokenizer(found["answer"])["input_ids"]) - 1}


app = service(hold, answer)
