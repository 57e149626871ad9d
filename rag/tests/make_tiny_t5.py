"""Train a tiny T5 that has really learned to copy an answer out of a context. Under three minutes on two cores.

    python tests/make_tiny_t5.py [FOLDER]        (from rag/; without FOLDER: tests/models/tiny-t5)

The world it lives in is made up: places with names such as "Narvia", and facts such as "The capital of Narvia is
Beldorn." or "The height of Narvia is 12 metres.". A prompt holds several facts that resemble each other; the answer
is the value of the one fact whose place and property are those of the question. Places and values are drawn at random
each time, and a tenth of all (place, value) pairs is never shown in training, so that no answer can be known by heart:
it has to be read. Words that the world does not have become <unk>; training shows such sentences too.

It is for tests: an answer of this model tells a working generator (tokenizer, prompt, decoding) from noise.
"""

import hashlib
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

FOLDER = Path(__file__).parent / "models" / "tiny-t5"
SEED = 7
RECALL_STEPS = 300
RECALL_BATCH = 24
STEPS = 600
BATCH = 32
PACE = 2e-3  # the highest learning rate
SLOT = 24  # a third of a state

PLACES = [
    first + second
    for first in ("Nar", "Quel", "Thra", "Os", "Wim", "Jor", "Kel", "Zan")
    for second in ("via", "mont", "goria", "lund", "sted", "wick")
]
NAMES = [
    first + second
    for first in ("Bel", "Drak", "Fen", "Gul", "Hax", "Ing", "Lor", "Mur", "Sil", "Tav")
    for second in ("dorn", "beth", "kan", "mir", "nock", "vex")
]
NUMBERS = [str(number) for number in range(2, 62)]
NAME_PROPERTIES = ("capital", "river", "founder", "flower", "harbour", "mountain", "patron", "dialect")
UNITS = {"height": "metres", "age": "years", "weight": "tonnes", "depth": "fathoms"}
PROPERTIES = (*NAME_PROPERTIES, *UNITS)
FRAME = ["question", ":", "context", "What", "is", "the", "The", "of", "?", "."]
SPECIAL = ["<pad>", "</s>", "<unk>"]
QUESTION_MARK = len(SPECIAL) + FRAME.index("?")
PROMPT = "question: {question} context: {context}"


@dataclass(frozen=True)
class Fact:
    """A property of a place, as a sentence of a passage and as a question."""

    place: str
    name: str
    value: str

    @property
    def sentence(self) -> str:
        """How a passage says it."""
        return f"The {self.name} of {self.place} is {self.value}."

    @property
    def question(self) -> str:
        """How it is asked for."""
        return f"What is the {self.name} of {self.place}?"


@dataclass(frozen=True)
class Exercise:
    """A question with the passages it is to be answered from."""

    question: str
    passages: list[str]
    answer: str

    @property
    def prompt(self) -> str:
        """What the model is given."""
        return PROMPT.format(question=self.question, context=" ".join(self.passages))


def held_out(place: str, value: str) -> bool:
    """Whether this pair is kept from training: about one in ten, by its hash."""
    return hashlib.sha256(f"{place} {value}".encode()).digest()[0] < 26


def make_facts(source: random.Random, most: int, asked_unseen: bool = False) -> list[Fact]:
    """Two to `most` facts about up to four places; the first one's pair is held out exactly when `asked_unseen`."""
    places, properties = source.sample(PLACES, source.randint(1, 4)), source.sample(PROPERTIES, source.randint(2, 4))
    keys = list(product(places, properties))
    chosen = source.sample(keys, min(source.randint(2, most), len(keys)))
    return [
        Fact(place, prop, make_value(source, place, prop, unseen=asked_unseen and index == 0))
        for index, (place, prop) in enumerate(chosen)
    ]


def make_passages(source: random.Random, facts: Sequence[Fact]) -> list[str]:
    """The facts in another order, sometimes with a sentence among them that says nothing."""
    sentences = [fact.sentence for fact in source.sample(facts, len(facts))]
    if source.random() < 0.3:
        filler = source.choices(("the", "The", "of", "is", "unheard"), weights=(1, 1, 1, 1, 6), k=source.randint(3, 12))
        sentences.insert(source.randint(0, len(sentences)), " ".join(filler) + ".")
    return sentences


def make_exercise(source: random.Random, most_facts: int = 8, unseen: bool = False) -> Exercise:
    """A random exercise; the asked (place, value) pair is held out from training exactly when `unseen`."""
    facts = make_facts(source, most_facts, unseen)
    return Exercise(facts[0].question, make_passages(source, facts), facts[0].value)


def make_value(source: random.Random, place: str, prop: str, unseen: bool) -> str:
    """A random value for a fact, from the held-out pairs exactly when `unseen`."""
    while True:
        word = source.choice(NUMBERS if prop in UNITS else NAMES)
        if held_out(place, word) == unseen:
            return f"{word} {UNITS[prop]}" if prop in UNITS else word


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word of the world; everything else is <unk>; </s> closes every text, as T5 expects."""
    words = [*SPECIAL, *FRAME, *PROPERTIES, *UNITS.values(), *PLACES, *NAMES, *NUMBERS]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", SPECIAL.index("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> T5ForConditionalGeneration:
    """The network with random weights."""
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=3 * SLOT,
            d_kv=2 * SLOT,
            d_ff=128,
            num_layers=2,
            num_decoder_layers=1,
            num_heads=6,
            dropout_rate=0.0,
            feed_forward_proj="relu",
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def answers(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, exercises: Sequence[Exercise]
) -> list[str]:
    """What the model says to each exercise, by greedy decoding."""
    batch = tokenizer([exercise.prompt for exercise in exercises], padding=True, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=6, do_sample=False
        )
    return [str(text) for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]


def exact_match(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, exercises: Sequence[Exercise]
) -> float:
    """The share of exercises answered with exactly the right words."""
    given = answers(model, tokenizer, exercises)
    return sum(exercise.answer == text for exercise, text in zip(exercises, given, strict=True)) / len(exercises)


def examination(size: int = 500) -> list[Exercise]:
    """Exercises whose asked (place, value) pair training never shows; always the same ones."""
    source = random.Random(SEED + 1)
    return [make_exercise(source, unseen=True) for _ in range(size)]


def lay_out(model: T5ForConditionalGeneration) -> None:
    """Give the random network a plan for looking up; from random weights the same skill takes many times longer.

    A word begins in the first third of a state. In the first layer, four heads bring the words one and two back into
    the second third, and those three and four back into the last: so "?" gets the place and the property that are
    asked for, and a value gets those of its fact. In the second layer, two heads are drawn to states with the same two
    thirds and bring their word. Weights that have no part in this stay random, but small. Training does the rest.
    """
    size, slot = model.config.d_kv, SLOT
    word, place, name = slice(0, slot), slice(slot, 2 * slot), slice(2 * slot, 3 * slot)
    one, both = torch.eye(slot), torch.eye(2 * slot)
    first, second = (block.layer[0].SelfAttention for block in model.encoder.block)
    with torch.no_grad():
        model.shared.weight[:, slot:] = 0
        model.shared.weight[:, word] = torch.randn(len(model.shared.weight), slot)
        model.shared.weight[0] = model.shared.weight[QUESTION_MARK]  # the decoder starts from 0: let it look for "?"
        for layer in (first, second):
            for weight in (layer.q.weight, layer.k.weight, layer.v.weight, layer.o.weight):
                weight *= 0.1
        for head, target in enumerate((place, place, name, name)):
            rows = slice(head * size, head * size + slot)
            first.relative_attention_bias.weight[head + 1, head] += 8.0  # row n of the table: n words back
            first.v.weight[rows, word] += one
            first.o.weight[target, rows] += one
        for head in (4, 5):
            rows, wide = slice(head * size, head * size + slot), slice(head * size, head * size + 2 * slot)
            second.q.weight[wide, slot:] += 0.4 * both
            second.k.weight[wide, slot:] += 0.4 * both
            second.v.weight[rows, word] += one
            second.o.weight[word, rows] += one


def recall_loss(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, source: random.Random
) -> torch.Tensor:
    """The encoder alone: a prompt asks for every fact of its context, and each question mark has to become its answer.

    Many questions to a prompt teach the looking-up much faster than one does.
    """
    prompts, values = [], []
    for _ in range(RECALL_BATCH):
        facts = make_facts(source, most=6)
        passages = make_passages(source, facts)
        prompts.append(PROMPT.format(question=" ".join(fact.question for fact in facts), context=" ".join(passages)))
        values += [fact.value.split()[0] for fact in facts]
    batch = tokenizer(prompts, padding=True, return_tensors="pt")
    states = model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    asked = states[batch["input_ids"] == QUESTION_MARK]
    scores = asked @ model.shared.weight.T * model.config.d_model**-0.5
    return torch.nn.functional.cross_entropy(scores, torch.tensor(tokenizer.convert_tokens_to_ids(values)))


def answer_loss(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, source: random.Random
) -> torch.Tensor:
    """The whole model: one question, and the decoder writes the answer."""
    exercises = [make_exercise(source) for _ in range(BATCH)]
    batch = tokenizer([exercise.prompt for exercise in exercises], padding=True, return_tensors="pt")
    labels = tokenizer([exercise.answer for exercise in exercises], padding=True, return_tensors="pt")["input_ids"]
    loss: torch.Tensor = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        labels=labels.masked_fill(labels == 0, -100),  # padding is not judged
    ).loss
    return loss


def train(model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
    """Teach the encoder to look up, then the whole model to answer."""
    source, begun = random.Random(SEED), time.monotonic()
    lay_out(model)
    model.train()
    for loss_of, steps in ((recall_loss, RECALL_STEPS), (answer_loss, STEPS)):
        optimizer = torch.optim.AdamW(model.parameters(), lr=PACE, betas=(0.9, 0.98), weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PACE, total_steps=steps, pct_start=0.05)
        for step in range(1, steps + 1):
            loss = loss_of(model, tokenizer, source)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if step % 100 == 0:
                said = f"{loss_of.__name__} {loss.item():.3f}, step {step} of {steps}, {time.monotonic() - begun:.0f} s"
                print(said, file=sys.stderr)
    model.eval()


def main(folder: Path = FOLDER) -> None:
    """Train, examine, save."""
    begun = time.monotonic()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the sums, and so the weights, do not depend on the number of cores
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    train(model, tokenizer)
    score = exact_match(model, tokenizer, examination())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(
        f"exact match on {len(examination())} held-out exercises: {score:.1%}; {time.monotonic() - begun:.0f} s in all"
    )


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
