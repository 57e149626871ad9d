"""txtai: its Embeddings (FAISS) and its RAG pipeline around its LLM, in a FastAPI handler."""

import os
import threading

from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoTokenizer
from txtai import LLM, RAG, Embeddings

tokenizer = AutoTokenizer.from_pretrained(os.environ["GENERATOR"])
llm = LLM(os.environ["GENERATOR"], method="transformers", task="sequence-sequence", gpu=False)
app = FastAPI()
held: dict = {}
one_at_a_time = threading.Lock()  # its database has one cursor, which two threads cannot use
TEMPLATE = "question: {question} context: {context}"


class Passages(BaseModel):
    passages: list[str]


class Question(BaseModel):
    question: str
    top_k: int


@app.get("/readyz")
def readyz() -> dict:
    return {}


@app.post("/passages")
def passages(body: Passages) -> dict:
    embeddings = Embeddings(path=os.environ["EMBEDDER"], content=True, gpu=False)
    embeddings.index(body.passages)
    held["rag"] = RAG(embeddings, llm, template=TEMPLATE, output="reference")
    held["embeddings"] = embeddings
    return {"passages": embeddings.count()}


@app.post("/ask")
def ask(body: Question) -> dict:
    rag = held["rag"]
    with one_at_a_time:
        rag.context = body.top_k
        answer = rag(body.question, maxlength=int(os.environ["ANSWER_TOKENS"]) + 1)
    return {"answer": answer["answer"], "answer_tokens": len(tokenizer(answer["answer"])["input_ids"]) - 1}
