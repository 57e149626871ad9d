"""The tiny T5 really reads: it answers what training never showed, and the same network untrained does not."""

import pytest
import torch
from make_tiny_t5 import (
    FOLDER,
    SEED,
    Exercise,
    Fact,
    answers,
    exact_match,
    examination,
    held_out,
    lay_out,
    make_model,
    make_tokenizer,
)
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedTokenizerFast, T5ForConditionalGeneration
from transformers.utils import logging

EXERCISES = examination(200)
PASSING = 0.95


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def model() -> T5ForConditionalGeneration:
    return AutoModelForSeq2SeqLM.from_pretrained(FOLDER, local_files_only=True, dtype=torch.float32)


def test_held_out_facts_are_read_and_not_remembered(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
) -> None:
    assert exact_match(model, tokenizer, EXERCISES) >= PASSING


@pytest.mark.parametrize("planned", [False, True])
def test_before_training_the_same_network_fails(tokenizer: PreTrainedTokenizerFast, planned: bool) -> None:
    torch.manual_seed(SEED)
    untrained = make_model(tokenizer).eval()
    if planned:
        lay_out(untrained)
    assert exact_match(untrained, tokenizer, EXERCISES) < 0.05


def test_without_the_context_there_is_no_answer(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
) -> None:
    blind = [Exercise(exercise.question, ["The of is."], exercise.answer) for exercise in EXERCISES]
    assert exact_match(model, tokenizer, blind) < 0.1


def test_the_answer_follows_the_context(model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
    exercises = []
    for capital in ("Beldorn", "Murnock", "Tavkan"):
        facts = [
            Fact("Narvia", "capital", capital),
            Fact("Narvia", "height", "12 metres"),
            Fact("Oslund", "capital", "Guldorn"),
        ]
        exercises.append(Exercise(facts[0].question, [fact.sentence for fact in facts], capital))
    assert answers(model, tokenizer, exercises) == ["Beldorn", "Murnock", "Tavkan"]


def test_every_asked_pair_is_held_out() -> None:
    for exercise in EXERCISES:
        place = exercise.question.removesuffix("?").split()[-1]
        assert held_out(place, exercise.answer.split()[0])


def test_words_of_other_worlds_are_unknown(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.tokenize("The capital of Portugal is Lisbon.") == [
        "The",
        "capital",
        "of",
        "<unk>",
        "is",
        "<unk>",
        ".",
    ]
    assert make_tokenizer().get_vocab() == tokenizer.get_vocab()


def test_the_weights_are_small_enough_to_commit() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 4_000_000


def test_loading_says_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    logging.disable_progress_bar()
    AutoModelForSeq2SeqLM.from_pretrained(FOLDER, local_files_only=True)
    AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)
    logging.enable_progress_bar()
    said = capfd.readouterr()
    assert (said.out, said.err, caplog.text) == ("", "", "")
