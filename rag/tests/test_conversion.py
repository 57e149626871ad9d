"""A converted model says what the original says to PyTorch, and is kept whole or made again."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import ctranslate2
import numpy
import pytest
import torch
from conftest import TINY_T5
from make_tiny_t5 import answers, examination
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

from rag_service.errors import UnfitModel
from rag_service.models.convert import converted
from rag_service.models.embedder import BertEmbedder, read_recipe
from rag_service.models.find import ModelFolder, embedder_folder
from rag_service.models.generator import T5Generator

TEXTS = ["Sulphur dioxide keeps wine from browning.", "Çava, naïve 酒 🍷: unbelievably!", "", "wine " * 400]
DOCUMENTS = Path(__file__).parents[1] / "documents"


@pytest.fixture(scope="module")
def reference() -> SentenceTransformer:
    return SentenceTransformer(str(embedder_folder(None, Path("nowhere"), 1).path), device="cpu")


@pytest.fixture
def tiny(tmp_path: Path) -> ModelFolder:
    """A copy of the tiny T5 to break."""
    shutil.copytree(TINY_T5, tmp_path / "tiny")
    return ModelFolder(tmp_path / "tiny", "tiny", "folder")


def cosines(left: numpy.ndarray, right: numpy.ndarray) -> numpy.ndarray:
    return (left * right).sum(axis=1) / numpy.linalg.norm(right, axis=1)


def test_in_float32_the_embedder_gives_what_sentence_transformers_gives(
    reference: SentenceTransformer, models_dir: Path
) -> None:
    embedder = BertEmbedder(embedder_folder(None, Path("nowhere"), 1), models_dir, "float32")

    encoded = embedder.encode_passages(TEXTS)

    expected = reference.encode_document(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    numpy.testing.assert_allclose(encoded.vectors, expected, atol=1e-5)
    states = reference.encode(TEXTS[1], output_value="token_embeddings", show_progress_bar=False).numpy()[1:-1]
    numpy.testing.assert_allclose(cosines(encoded.tokens[1].vectors, states), 1.0, atol=1e-5)


def test_in_int8_real_passages_keep_their_direction(reference: SentenceTransformer, embedder: BertEmbedder) -> None:
    parts = [part for path in sorted(DOCUMENTS.glob("*.md")) for part in path.read_text().split("\n\n")]
    passages = [part for part in parts if len(part) > 80][:40]

    found = cosines(embedder.encode_passages(passages).vectors, reference.encode(passages, show_progress_bar=False))

    assert found.min() > 0.985
    assert found.mean() > 0.995


def test_the_identity_tells_how_the_vectors_were_computed(embedder: BertEmbedder) -> None:
    assert embedder.identity.startswith("int8:sha256:")


def test_in_float32_greedy_answers_are_those_of_transformers(models_dir: Path) -> None:
    exercises = examination(100)
    generator = T5Generator(ModelFolder(TINY_T5, "tiny", "folder"), models_dir, "float32", 6)
    model = AutoModelForSeq2SeqLM.from_pretrained(TINY_T5, local_files_only=True, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(TINY_T5, local_files_only=True)

    given = [generator.generate(exercise.prompt) for exercise in exercises]

    assert given == answers(model, tokenizer, exercises)


@pytest.mark.parametrize("kind", ["as flan-t5", "as flan-t5 before transformers 5", "as the first T5"])
def test_a_t5_gives_every_token_the_probability_that_transformers_gives(kind: str, tmp_path: Path) -> None:
    """The output layer and its scale are where conversions went wrong: greedy answers do not show it, scores do."""
    torch.manual_seed(3)
    flan = kind != "as the first T5"
    config = T5Config(
        vocab_size=220, d_model=32, d_kv=8, d_ff=48, num_layers=3, num_decoder_layers=2, num_heads=5,
        feed_forward_proj="gated-gelu" if flan else "relu", scale_decoder_outputs=not flan,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).eval()
    if flan:
        model.lm_head.weight = torch.nn.Parameter(torch.randn(220, 32))
    model.save_pretrained(tmp_path)
    if kind.endswith("before transformers 5"):
        described = json.loads((tmp_path / "config.json").read_text())
        del described["scale_decoder_outputs"]
        (tmp_path / "config.json").write_text(json.dumps({**described, "tie_word_embeddings": False}))
    shutil.copy(TINY_T5 / "tokenizer.json", tmp_path)
    folder = ModelFolder(tmp_path, "random", "folder")
    vocabulary = json.loads((converted(folder, "float32", tmp_path, "X") / "shared_vocabulary.json").read_text())
    source, target = [7, 50, 210, 9, 40, 1], [5, 12, 219, 33]

    translator = ctranslate2.Translator(str(converted(folder, "float32", tmp_path, "X")))
    [scored] = translator.score_batch([[vocabulary[n] for n in source]], [[vocabulary[n] for n in target]])

    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[0, *target]])).logits[0]
    expected = torch.log_softmax(logits, -1)[range(5), [*target, 1]]
    numpy.testing.assert_allclose(scored.log_probs, expected, atol=1e-4)


def test_a_model_is_converted_once_and_again_where_it_was_damaged(
    tiny: ModelFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    made = converted(tiny, "int8", tmp_path, "X")
    size = (made / "model.bin").stat().st_size
    assert converted(tiny, "int8", tmp_path, "X") == made
    assert len(caplog.messages) == 1

    (made / "model.bin").write_bytes(b"cut short")
    assert converted(tiny, "int8", tmp_path, "X") == made
    assert len(caplog.messages) == 2
    assert (made / "model.bin").stat().st_size == size
    assert [path.name for path in made.parent.iterdir()] == [made.name]

    (made / "model.bin").write_bytes(b"cut short")
    (made / "sha256.json").unlink()
    converted(tiny, "int8", tmp_path, "X")
    assert (made / "model.bin").stat().st_size == size


def test_what_changes_the_outcome_is_converted_apart(tiny: ModelFolder, tmp_path: Path) -> None:
    made = {converted(tiny, "int8", tmp_path, "X"), converted(tiny, "float32", tmp_path, "X")}
    config = json.loads((tiny.path / "config.json").read_text())
    (tiny.path / "config.json").write_text(json.dumps({**config, "scale_decoder_outputs": False}))
    made.add(converted(tiny, "int8", tmp_path, "X"))
    weights = load_file(tiny.path / "model.safetensors")
    save_file({name: weight + 1 for name, weight in weights.items()}, tiny.path / "model.safetensors")
    made.add(converted(tiny, "int8", tmp_path, "X"))

    assert len(made) == 4


def test_many_may_convert_at_the_same_time(tiny: ModelFolder, tmp_path: Path) -> None:
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(converted(tiny, "int8", tmp_path, "X"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(made) == 4
    assert [path.name for path in (tmp_path / "converted").iterdir()] == [made[0].name]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"model_type": "gpt2"}, "gpt2"), ({"num_layers": 9}, "not complete"), ({"feed_forward_proj": "swish"}, "swish")],
)
def test_a_model_that_cannot_be_used_is_refused_with_its_reason(
    change: dict[str, object], reason: str, tiny: ModelFolder, tmp_path: Path
) -> None:
    config = json.loads((tiny.path / "config.json").read_text())
    (tiny.path / "config.json").write_text(json.dumps({**config, **change}))

    with pytest.raises(UnfitModel, match=reason) as caught:
        converted(tiny, "int8", tmp_path, "RAG_GENERATOR")
    assert "RAG_GENERATOR" in caught.value.hint


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.json", "{", "cannot be read"),
        ("config.json", "[]", "cannot be read"),
        ("tokenizer.json", "{", "tokenizer.json"),
        ("model.safetensors", "cut", "model.safetensors"),
    ],
)
def test_a_model_that_cannot_be_read_is_refused_with_the_reason(
    file: str, content: str, reason: str, tiny: ModelFolder, tmp_path: Path
) -> None:
    (tiny.path / file).write_text(content)

    with pytest.raises(UnfitModel, match=reason):
        converted(tiny, "int8", tmp_path, "RAG_GENERATOR")


def test_a_model_without_a_tokenizer_is_refused(tiny: ModelFolder, tmp_path: Path) -> None:
    (tiny.path / "tokenizer.json").unlink()

    with pytest.raises(UnfitModel, match=r"tokenizer\.json"):
        converted(tiny, "int8", tmp_path, "RAG_GENERATOR")


@pytest.fixture
def copied(tmp_path: Path) -> ModelFolder:
    """The real embedder's folder, whose small files a test may replace."""
    source = embedder_folder(None, Path("nowhere"), 1).path
    target = tmp_path / "model"
    shutil.copytree(source, target, copy_function=lambda one, other: Path(other).symlink_to(one))
    return ModelFolder(target, "copied", "folder")


def replaced(folder: ModelFolder, name: str, content: object) -> ModelFolder:
    path = folder.path / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(content))
    return folder


TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
PROMPTS = {"query": "question: ", "document": "text: ", "passage": "passage: "}


def test_pooling_that_is_not_known_is_refused(copied: ModelFolder) -> None:
    replaced(copied, "1_Pooling/config.json", {"pooling_mode_max_tokens": True})

    with pytest.raises(UnfitModel, match="max"):
        read_recipe(copied)


@pytest.mark.parametrize(
    ("modules", "named"),
    [
        ([{"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}], "module Dense"),
        ([{"idx": 2, "name": "2", "path": "2", "type": "sentence_transformers.models.WordWeights"}], "WordWeights"),
        ([{**POOLING, "path": "2_Pooling"}], "same kind"),
        (["Pooling"], "cannot be read"),
    ],
)
def test_a_module_whose_work_would_be_left_out_is_refused_by_name(
    modules: list[object], named: str, copied: ModelFolder, tmp_path: Path
) -> None:
    replaced(copied, "modules.json", [TRANSFORMER, POOLING, *modules])

    with pytest.raises(UnfitModel, match=named) as raised:
        BertEmbedder(copied, tmp_path, "int8")
    assert "RAG_ENGINE=torch" in raised.value.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}),
        ("config_sentence_transformers.json", {"prompts": {"query": "query: "}}),
        ("config_sentence_transformers.json", {"prompts": {"document": "text: "}}),
        ("sentence_bert_config.json", {"max_seq_length": 128}),
        ("modules.json", [TRANSFORMER, POOLING]),
    ],
)
def test_what_changes_the_vectors_changes_the_identity(name: str, content: object, copied: ModelFolder) -> None:
    before = read_recipe(copied).identity(copied, "int8")
    replaced(copied, name, content)

    assert read_recipe(copied).identity(copied, "int8") != before


def test_what_changes_no_vector_changes_no_identity(copied: ModelFolder) -> None:
    before = read_recipe(copied).identity(copied, "int8")
    replaced(copied, "config_sentence_transformers.json", {"__version__": {"transformers": "9"}, "prompts": {}})

    assert read_recipe(copied).identity(copied, "int8") == before


def test_prompts_and_pooling_are_those_of_sentence_transformers(copied: ModelFolder, tmp_path: Path) -> None:
    replaced(copied, "config_sentence_transformers.json", {"prompts": PROMPTS, "default_prompt_name": "passage"})
    cls = {"word_embedding_dimension": 384, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    replaced(copied, "1_Pooling/config.json", cls)
    texts = ["Sulphur dioxide keeps wine from browning.", "Yes?"]
    theirs = SentenceTransformer(str(copied.path), device="cpu", local_files_only=True)

    ours = BertEmbedder(copied, tmp_path, "float32")

    numpy.testing.assert_allclose(ours.encode_passages(texts).vectors, theirs.encode_document(texts), atol=2e-5)
    numpy.testing.assert_allclose(ours.encode_question(texts[0]).vectors[0], theirs.encode_query(texts[0]), atol=2e-5)
