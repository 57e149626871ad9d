"""The generator's whole way (tokenizer, prompt, decoding, support check) with a tiny T5 that has learned to copy."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from conftest import TINY_T5
from transformers import AutoModelForSeq2SeqLM

from rag_service.answering import PROMPT, Answerer
from rag_service.engines.folders import ModelFolder
from rag_service.engines.torch_engine import TorchEmbedder, TorchGenerator
from rag_service.index import Index
from rag_service.ingestion import Library
from rag_service.loaders import Limits
from rag_service.retrieval import Retriever
from rag_service.store import Store

FACTS = (
    "The capital of Narvia is Beldorn. The river of Narvia is Silvex. "
    "The capital of Quelmont is Draknock. The height of Narvia is 42 metres."
)
QUESTIONS = {
    "What is the capital of Narvia?": "Beldorn",
    "What is the river of Narvia?": "Silvex",
    "What is the capital of Quelmont?": "Draknock",
}


def answers(generator: TorchGenerator) -> list[bool]:
    return [
        expected.lower() in generator.generate(PROMPT.format(question=question, context=FACTS)).lower()
        for question, expected in QUESTIONS.items()
    ]


def test_it_reads_the_answer_out_of_the_context() -> None:
    assert all(answers(TorchGenerator(ModelFolder(TINY_T5, "tiny", "folder"), 16)))


def test_noise_does_not(tmp_path: Path) -> None:
    for path in TINY_T5.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    model = AutoModelForSeq2SeqLM.from_pretrained(TINY_T5, local_files_only=True, dtype=torch.float32)
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(tmp_path)

    assert not any(answers(TorchGenerator(ModelFolder(tmp_path, "noise", "folder"), 16)))


def test_it_counts_its_own_tokens() -> None:
    generator = TorchGenerator(ModelFolder(TINY_T5, "tiny", "folder"), 16)

    assert generator.window == min(512, json.loads((TINY_T5 / "config.json").read_text()).get("n_positions", 512))
    assert generator.count("What is the capital of Narvia ?") == 8
    assert generator.count("What " * 2000) == 2001


def test_an_answer_goes_from_documents_to_quote(store: Store, embedder: TorchEmbedder, limits: Limits) -> None:
    Library(store, embedder, limits, 160, 32).add("facts.txt", FACTS.encode(), "default")
    generator = TorchGenerator(ModelFolder(TINY_T5, "tiny", "folder"), 16)
    answerer = Answerer(embedder, generator, Retriever(Index(store, embedder.dimension), store), store, 0.3)

    for question, expected in QUESTIONS.items():
        answer = answerer.ask(question, "default", 4)
        [citation] = answer.citations
        assert (answer.answered_by, answer.answer) == ("generator", expected)
        assert expected in citation.quote
        assert FACTS[citation.start : citation.end] == citation.quote
