"""What everyone gets: a generator of flan-t5-small's shape with random weights, passages of one length, questions.

Random weights write nonsense, but they take the time that the trained ones take. The output layer's row for </s> is
zero, so that no answer ends before its last token: all write the same number.
"""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

RAG = Path(__file__).resolve().parents[2]
SENTENCES, WORDS = 9, 12  # of a passage, of a sentence: about 145 of MiniLM's tokens, so that none is cut in two
SEED = 11


@dataclass(frozen=True)
class Material:
    """`small`: one passage to a document, for the questions; `book`: passages of one long document."""

    small: list[str]
    book: list[str]
    questions: list[str]


def make(book: int) -> Material:
    """Sentences of random words of the sample documents; the same ones each time."""
    source = random.Random(SEED)
    text = " ".join(path.read_text(encoding="utf-8") for path in sorted((RAG / "documents").glob("*.md")))
    words = sorted({word.lower() for word in re.findall(r"[A-Za-z]{3,10}", text)})
    passages = [_passage(source, words) for _ in range(60 + book)]
    questions = [_question(source, passage) for passage in passages[:60]]
    return Material(passages[:60], passages[60:], questions)


def _passage(source: random.Random, words: list[str]) -> str:
    return " ".join(" ".join(source.choices(words, k=WORDS)).capitalize() + "." for _ in range(SENTENCES))


def _question(source: random.Random, passage: str) -> str:
    asked = source.sample(re.findall(r"[a-z]{4,}", passage), 5)
    return f"Which {asked[0]} of the {asked[1]} {asked[2]} has {asked[3]} in {asked[4]}?"


def make_generator(folder: Path, material: Material) -> None:
    """The model's folder, made where it is not there. Some 310 MB."""
    if (folder / "tokenizer.json").exists():
        return
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(SEED)
    config = T5Config(
        vocab_size=32128, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_decoder_layers=8, num_heads=6,
        feed_forward_proj="gated-gelu", scale_decoder_outputs=False,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    head = torch.randn(config.vocab_size, config.d_model)
    head[config.eos_token_id] = 0
    model.lm_head.weight = torch.nn.Parameter(head)
    model.save_pretrained(folder)
    pieces = re.findall(r"\w+|[^\w\s]", " ".join([*material.small, *material.book, *material.questions]))
    known = {piece: number for number, piece in enumerate(dict.fromkeys(["<pad>", "</s>", "<unk>", *pieces]))}
    names = [*known, *(f"w{number}" for number in range(len(known), config.vocab_size))]
    tokenizer = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "pad_token": "<pad>",
                 "unk_token": "<unk>", "model_max_length": 512}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(described), encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
