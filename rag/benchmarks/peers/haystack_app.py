"""Haystack: a pipeline of its text embedder, in-memory retriever and prompt builder, in a FastAPI handler.

Haystack 3 has no generator for T5 any more; as its documentation says, a component of one's own calls transformers.
"""

import os

import torch
from fastapi import FastAPI
from haystack import Document, Pipeline, component
from haystack.components.builders import PromptBuilder
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.embedders.sentence_transformers import (
    SentenceTransformersDocumentEmbedder,
    SentenceTransformersTextEmbedder,
)
from pydantic import BaseModel
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

TEMPLATE = (
    "question: {{ question }} context: "
    "{% for document in documents %}{{ document.content }}{% if not loop.last %} {% endif %}{% endfor %}"
)


@component
class T5:
    def __init__(self) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(os.environ["GENERATOR"])
        self.model = AutoModelForSeq2SeqLM.from_pretrained(os.environ["GENERATOR"], dtype=torch.float32).eval()

    @component.output_types(replies=list[str], prompt_tokens=int, answer_tokens=int)
    def run(self, prompt: str) -> dict:
        inputs = self.tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            output = self.model.generate(**inputs, max_new_tokens=int(os.environ["ANSWER_TOKENS"]), do_sample=False)
        return {
            "replies": [self.tokenizer.decode(output[0], skip_special_tokens=True)],
            "prompt_tokens": inputs["input_ids"].shape[1],
            "answer_tokens": output.shape[1] - 1,
        }


store = InMemoryDocumentStore(embedding_similarity_function="dot_product")
writer = SentenceTransformersDocumentEmbedder(
    model=os.environ["EMBEDDER"], normalize_embeddings=True, progress_bar=False
)
pipeline = Pipeline()
pipeline.add_component(
    "embedder",
    SentenceTransformersTextEmbedder(model=os.environ["EMBEDDER"], normalize_embeddings=True, progress_bar=False),
)
pipeline.add_component("retriever", InMemoryEmbeddingRetriever(document_store=store))
pipeline.add_component("prompt", PromptBuilder(template=TEMPLATE, required_variables="*"))
pipeline.add_component("t5", T5())
pipeline.connect("embedder.embedding", "retriever.query_embedding")
pipeline.connect("retriever.documents", "prompt.documents")
pipeline.connect("prompt.prompt", "t5.prompt")
app = FastAPI()


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
    store.delete_all_documents()
    embedded = writer.run(documents=[Document(content=text) for text in body.passages])
    store.write_documents(embedded["documents"])
    return {"passages": store.count_documents()}


@app.post("/ask")
def ask(body: Question) -> dict:
    found = pipeline.run(
        {
            "embedder": {"text": body.question},
            "retriever": {"top_k": body.top_k},
            "prompt": {"question": body.question},
        }
    )["t5"]
    return {"answer": found["replies"][0], **found}
