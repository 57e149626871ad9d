"""Haystack: a pipeline of its text embedder, in-memory retriever and prompt builder, in a FastAPI handler.

Haystack 3 has no generator for T5 any more; as its documentation says, a component of one's own calls transformers.
"""

import os

from haystack import Document, Pipeline, component
from haystack.components.builders import PromptBuilder
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.embedders.sentence_transformers import (
    SentenceTransformersDocumentEmbedder,
    SentenceTransformersTextEmbedder,
)

from peers.service import service
from peers.t5 import T5

TEMPLATE = (
    "question: {{ question }} context: "
    "{% for document in documents %}{{ document.content }}{% if not loop.last %} {% endif %}{% endfor %}"
)


@component
class Writer:
    def __init__(self) -> None:
        self.t5 = T5()

    @component.output_types(answer=str, prompt_tokens=int, answer_tokens=int)
    def run(self, prompt: str) -> dict:
        return self.t5.write(prompt)


store = InMemoryDocumentStore(embedding_similarity_function="dot_product")
document_embedder = SentenceTransformersDocumentEmbedder(
    model=os.environ["EMBEDDER"], normalize_embeddings=True, progress_bar=False
)
pipeline = Pipeline()
pipeline.add_component(
    "embedder",
    SentenceTransformersTextEmbedder(model=os.environ["EMBEDDER"], normalize_embeddings=True, progress_bar=False),
)
pipeline.add_component("retriever", InMemoryEmbeddingRetriever(document_store=store))
pipeline.add_component("prompt", PromptBuilder(template=TEMPLATE, required_variables="*"))
pipeline.add_component("t5", Writer())
pipeline.connect("embedder.embedding", "retriever.query_embedding")
pipeline.connect("retriever.documents", "prompt.documents")
pipeline.connect("prompt.prompt", "t5.prompt")


def hold(passages: list[str]) -> int:
    store.delete_all_documents()
    embedded = document_embedder.run(documents=[Document(content=text) for text in passages])
    store.write_documents(embedded["documents"])
    return store.count_documents()


def answer(question: str, top_k: int) -> dict:
    inputs = {"embedder": {"text": question}, "retriever": {"top_k": top_k}, "prompt": {"question": question}}
    return pipeline.run(inputs)["t5"]


app = service(hold, answer)
