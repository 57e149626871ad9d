"""The generator's whole way (tokenizer, prompt, decoding, support check) with a tiny T5 that has learned to copy."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from conftest import TINY_T5
from storing import library_over
from transformers import AutoModelForSeq2SeqLM

from rag_service.answering.answerer import PROMPT, Answerer
from rag_service.models.embedder import BertEmbedder
from rag_service.models.find import ModelFolder
from rag_service.models.generator import T5Generator
from rag_service.reading import Limits
from rag_service.search.retriever import Retriever
from rag_service.store.faiss_index import Index
from rag_service.store.protocol import Store

FACTS = (
    "The capital of Narvia is Beldorn. The river of Narvia is Silvex. "
    "The capital of Quelmont is Draknock. The height of Narvia is 42 metres."
)
QUESTIONS = {
    "What is the capital of Narvia?": "Beldorn",
    "What is the river of Narvia?": "Silvex",
    "What is the capital of Quelmont?": "Draknock",
}


PROMPTS = [PROMPT.format(question=question, context=FACTS) for question in QUESTIONS]


@pytest.fixture(scope="module")
def generator(models_dir: Path) -> T5Generator:
    return T5Generator(ModelFolder(TINY_T5, "tiny", "folder"), models_dir, "int8", 16)


def test_it_reads_the_answer_out_of_the_context(generator: T5Generator) -> None:
    assert [generator.generate(prompt) for prompt in PROMPTS] == list(QUESTIONS.values())


def test_an_answer_is_told_while_it_is_written(generator: T5Generator) -> None:
    told: list[str] = []
    prompt = "question: What is the height of Narvia? context: " + FACTS

    answer = generator.generate(prompt, told.append)

    assert len(told) == 2
    assert "".join(told).strip() == answer == "42 metres"


def test_prompts_of_many_at_the_same_time_never_mix(generator: T5Generator) -> None:
    def ask(number: int) -> tuple[str, str]:
        told: list[str] = []
        return generator.generate(PROMPTS[number % 3], told.append if number % 2 else None), "".join(told)

    with ThreadPoolExecutor(12) as many:
        given = list(many.map(ask, range(60)))

    expected = list(QUESTIONS.values())
    assert given == [(expected[n % 3], expected[n % 3] if n % 2 else "") for n in range(60)]


def test_a_network_of_noise_reads_nothing(tmp_path: Path) -> None:
    for path in TINY_T5.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    model = AutoModelForSeq2SeqLM.from_pretrained(TINY_T5, local_files_only=True, dtype=torch.float32)
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(tmp_path)

    noise = T5Generator(ModelFolder(tmp_path, "noise", "folder"), tmp_path / "models", "int8", 16)

    assert not {noise.generate(prompt) for prompt in PROMPTS} & set(QUESTIONS.values())


def test_a_model_that_tells_no_limit_has_the_window_that_t5_was_trained_with(tmp_path: Path) -> None:
    for path in TINY_T5.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tokenizer_config.json").unlink()

    assert T5Generator(ModelFolder(tmp_path, "tiny", "folder"), tmp_path / "models", "int8", 16).window == 512


def test_it_counts_its_own_tokens(generator: T5Generator) -> None:
    assert generator.window == min(512, json.loads((TINY_T5 / "config.json").read_text()).get("n_positions", 512))
    assert generator.count("What is the capital of Narvia ?") == 8
    assert generator.count("What " * 2000) == 2001


def test_an_answer_goes_from_documents_to_quote(
    store: Store, embedder: BertEmbedder, generator: T5Generator, limits: Limits
) -> None:
    library_over(store, embedder, limits, 160, 32).add("facts.txt", FACTS.encode(), "default")
    answerer = Answerer(embedder, generator, Retriever(Index(store, embedder.dimension), store), store, 0.3)

    for question, expected in QUESTIONS.items():
        answer = answerer.ask(question, "default", 4)
        [citation] = answer.citations
        assert (answer.answered_by, answer.answer) == ("generator", expected)
        assert expected in citation.quote
        assert FACTS[citation.start : citation.end] == citation.quote
