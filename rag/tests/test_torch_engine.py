"""The engine that runs what transformers can load; against those libraries themselves, and the default engine."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest
from conftest import TINY_T5
from test_embedder import TEXTS
from test_generator import PROMPTS, QUESTIONS

from rag_service.errors import EngineMissing, UnfitModel
from rag_service.models.embedder import BertEmbedder
from rag_service.models.engines import ChatGenerator, Message
from rag_service.models.find import ModelFolder, embedder_folder
from rag_service.models.load import load_embedder, load_generator
from rag_service.settings import read_settings

torch = pytest.importorskip("torch", reason="PyTorch is not installed here: RAG_ENGINE=torch is not tested")
from sentence_transformers import SentenceTransformer  # noqa: E402
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: E402
from transformers import (  # noqa: E402
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5ForConditionalGeneration,
)

from rag_service.models.torch_engine import TorchChat, TorchEmbedder, TorchSeq2Seq  # noqa: E402

WORDS = "sulphur dioxide keeps wine from browning yes the lid is red what . ? : answer".split()
ASKED = [Message("system", "the lid is red ."), Message("user", "what is red ?")]


def tokenizer() -> Any:
    """Words, and nothing else."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    own = Tokenizer(models.WordLevel({word: place for place, word in enumerate(special + WORDS)}, unk_token="[UNK]"))
    own.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    own.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=own, model_max_length=64, eos_token="[SEP]", **names)


@pytest.fixture(scope="module")
def minilm() -> TorchEmbedder:
    return TorchEmbedder(embedder_folder(None, Path("nowhere"), 1))


def test_the_default_embedder_gives_the_same_on_both_engines(minilm: TorchEmbedder, models_dir: Path) -> None:
    other = BertEmbedder(embedder_folder(None, Path("nowhere"), 1), models_dir, "float32")
    texts = [*TEXTS, "wine " * 300]

    mine, theirs = minilm.encode_passages(texts), other.encode_passages(texts)

    numpy.testing.assert_allclose(mine.vectors, theirs.vectors, atol=2e-5)
    for ours, others in zip(mine.tokens, theirs.tokens, strict=True):
        assert ours.places.tolist() == others.places.tolist()
        numpy.testing.assert_allclose(ours.vectors, others.vectors, atol=5e-5)
    assert minilm.count(texts) == other.count(texts)
    assert [one.tolist() for one in minilm.places(texts)] == [one.places.tolist() for one in mine.tokens]
    assert (minilm.limit, minilm.dimension) == (other.limit, other.dimension)
    assert minilm.identity != other.identity
    assert minilm.encode_passages([]).vectors.shape == (0, 384)


@pytest.fixture
def dense(tmp_path: Path) -> ModelFolder:
    """An encoder with a layer after the pooling, and prompts, which the default engine refuses."""
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(WORDS) + 4, max_position_embeddings=64, **sizes)
    BertModel(config).save_pretrained(tmp_path / "bert")
    tokenizer().save_pretrained(tmp_path / "bert")
    modules = [Transformer(str(tmp_path / "bert")), Pooling(16), Dense(16, 5)]
    prompts = {"query": "what : ", "document": "wine : "}
    SentenceTransformer(modules=modules, device="cpu", prompts=prompts).save(str(tmp_path / "dense"))
    return ModelFolder(tmp_path / "dense", "dense", "folder")


def test_a_layer_that_the_default_engine_refuses_is_run(dense: ModelFolder, tmp_path: Path) -> None:
    with pytest.raises(UnfitModel, match="Dense"):
        BertEmbedder(dense, tmp_path, "float32")
    theirs = SentenceTransformer(str(dense.path), device="cpu", local_files_only=True)
    texts = ["sulphur dioxide keeps wine", "yes"]

    mine = TorchEmbedder(dense)

    expected = theirs.encode_document(texts, normalize_embeddings=True)
    numpy.testing.assert_allclose(mine.encode_passages(texts).vectors, expected, atol=1e-5)
    expected = theirs.encode_query(texts[0], normalize_embeddings=True)
    numpy.testing.assert_allclose(mine.encode_question(texts[0]).vectors[0], expected, atol=1e-5)
    tokens = mine.encode_passages(texts).tokens[0]
    assert [texts[0][start:end] for start, end in tokens.places] == texts[0].split()
    assert (mine.dimension, tokens.vectors.shape) == (5, (4, 16))
    (dense.path / "2_Dense" / "config.json").write_text((dense.path / "2_Dense" / "config.json").read_text() + "\n")
    assert TorchEmbedder(dense).identity != mine.identity


def test_a_t5_answers_as_on_the_default_engine() -> None:
    generator = TorchSeq2Seq(ModelFolder(TINY_T5, "tiny", "folder"), 16)
    told: list[str] = []

    with ThreadPoolExecutor(6) as together:
        assert [*together.map(generator.generate, [*PROMPTS, *PROMPTS])] == [*QUESTIONS.values(), *QUESTIONS.values()]
    assert generator.generate(PROMPTS[0], told.append) == "".join(told).strip() == "Beldorn"
    assert generator.count(PROMPTS[0]) <= generator.window


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A causal model that babbles, always the same to the same prompt."""
    folder = tmp_path_factory.mktemp("chat")
    torch.manual_seed(2)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    tokens = {"vocab_size": len(WORDS) + 4, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = LlamaConfig(max_position_embeddings=60, **sizes, **tokens)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return ModelFolder(folder, "babble", "folder")


def test_a_causal_model_writes_what_transformers_writes(chat: ModelFolder) -> None:
    generator = TorchChat(chat, 4096, 8)
    told: list[str] = []

    ended = generator.write(ASKED, told.append)

    own = tokenizer()
    prompt = own("the lid is red .\n\nwhat is red ?\n\nAnswer:", return_tensors="pt")
    model = LlamaForCausalLM.from_pretrained(chat.path, local_files_only=True)
    written = model.generate(**prompt, max_new_tokens=8, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "".join(told) == own.decode(written, skip_special_tokens=True) != ""
    assert len(told) > 1
    assert ended is (len(written) < 8) is True
    assert TorchChat(chat, 4096, 1).write(ASKED, told.append) is False
    assert (generator.window, generator.sent_to) == (52, None)
    assert generator.count(ASKED) == prompt["input_ids"].shape[1]
    assert isinstance(generator, ChatGenerator)


def test_a_chat_template_is_used_where_there_is_one(chat: ModelFolder, tmp_path: Path) -> None:
    own = tokenizer()
    own.chat_template = "{% for message in messages %}{{ message.content }} {% endfor %}yes :"
    LlamaForCausalLM.from_pretrained(chat.path, local_files_only=True).save_pretrained(tmp_path)
    own.save_pretrained(tmp_path)

    assert TorchChat(ModelFolder(tmp_path, "chat", "folder"), 4096, 8).count(ASKED) == 11  # words; nothing around them


def test_the_setting_chooses_the_engine(chat: ModelFolder) -> None:
    settings = read_settings(engine="torch", generator=str(chat.path), llm_context=1024)

    assert isinstance(load_embedder(settings), TorchEmbedder)
    assert isinstance(load_generator(settings)[0], TorchChat)
    assert isinstance(load_generator(settings.model_copy(update={"generator": str(TINY_T5)}))[0], TorchSeq2Seq)
    generator, why = load_generator(settings.model_copy(update={"engine": "ctranslate2"}))
    assert generator is None
    assert "RAG_ENGINE=torch" in (why or "")


def test_weights_in_a_pickle_are_not_read(tmp_path: Path) -> None:
    T5ForConditionalGeneration.from_pretrained(TINY_T5, local_files_only=True).config.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")

    with pytest.raises(UnfitModel, match="safetensors"):
        TorchSeq2Seq(ModelFolder(tmp_path, "pickled", "folder"), 8)


def test_without_pytorch_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "rag_service.models.torch_engine")
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(EngineMissing) as raised:
        load_embedder(read_settings(engine="torch"))
    assert "RAG_ENGINE" in raised.value.hint
    generator, why = load_generator(read_settings(engine="torch", generator=str(TINY_T5)))
    assert generator is None
    assert "RAG_ENGINE is torch" in (why or "")
