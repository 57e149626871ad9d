"""The plain way: sentence-transformers, FAISS and transformers in a FastAPI handler."""

import os

import faiss
import torch
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

embedder = SentenceTransformer(os.environ["EMBEDDER"], device="cpu")
tokenizer = AutoTokenizer.from_pretrained(os.environ["GENERATOR"])
model = AutoModelForSeq2SeqLM.from_pretrained(os.environ["GENERATOR"], dtype=torch.float32).eval()
app = FastAPI()
held: dict = {}


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
    vectors = embedder.encode_document(body.passages, normalize_embeddings=True, show_progress_bar=False)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    held.update(index=index, passages=body.passages)
    return {"passages": index.ntotal}


@app.post("/ask")
def ask(body: Question) -> dict:
    vector = embedder.encode_query(body.question, normalize_embeddings=True, show_progress_bar=False)
    _, numbers = held["index"].search(vector.reshape(1, -1), body.top_k)
    context = " ".join(held["passages"][number] for number in numbers[0])
    inputs = tokenizer(f"question: {body.question} context: {context}", return_tensors="pt")
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=int(os.environ["ANSWER_TOKENS"]), do_sample=False)
    return {
        "answer": tokenizer.decode(output[0], skip_special_tokens=True),
        "prompt_tokens": inputs["input_ids"].shape[1],
        "answer_tokens": output.shape[1] - 1,
    }
