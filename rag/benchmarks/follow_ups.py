"""Does a follow-up question find its passage? 40 dialogues about the sample documents, without a language model.

    PYTHONPATH=. python benchmarks/follow_ups.py

Each dialogue ends with a question that leans on what was said before. It counts where the first passage holds the
expected words, once as it is asked and once with what is carried over. All of it was written before the rules, which
were made while looking at the first half and at the complete questions; the other half was run at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.measured import loaded, options
from rag_service.answering.answerer import Answerer
from rag_service.answering.follow_ups import complete
from rag_service.types import Turn

LINES = [line for line in Path(__file__).with_suffix(".txt").read_text().splitlines() if not line.startswith("#")]
COMPLETE = [line for line in LINES if " > " not in line and " = " not in line]


def dialogues() -> list[tuple[list[Turn], str, str]]:
    """The turns before, the follow-up, and words of the passage that answers it."""
    found, turns = [], list[Turn]()
    for line in LINES[: -len(COMPLETE)]:
        question, earlier, answer = line.partition(" > ")
        if earlier:
            turns.append(Turn(question, answer))
        else:
            question, _, words = line.partition(" = ")
            found.append((turns, question, words))
            turns = []
    return found


def changed() -> list[str]:
    """The complete questions that are changed after each dialogue but their own."""
    talks = [turns for turns, _, _ in dialogues()]
    questions = [*COMPLETE, *(turns[0].question for turns in talks)]
    return sorted(
        {one for one in questions for turns in talks if turns[0].question != one and complete(one, turns) != one}
    )


def row(name: str, answerer: Answerer, asked: Sequence[tuple[str, str]]) -> None:
    found = [answerer.search(question, "default", 4) for question, _ in asked]
    ranks = [
        next((rank for rank, hit in enumerate(hits) if words in " ".join(hit.passage.text.split())), 4)
        for hits, (_, words) in zip(found, asked, strict=True)
    ]
    answers = [answerer.ask(question, "default", 4) for question, _ in asked]
    quoted = sum(
        not answer.abstained and any(words in " ".join(one.quote.split()) for one in answer.citations)
        for answer, (_, words) in zip(answers, asked, strict=True)
    )
    shares = " | ".join(f"{sum(rank < count for rank in ranks) / len(ranks):.3f}" for count in (1, 4))
    print(f"| {name} | {shares} | {quoted / len(asked):.3f} |", flush=True)


def main() -> None:
    options(__doc__).parse_args()
    with loaded() as service:
        parts = service.parts()
        for file in sorted((Path(__file__).parent.parent / "documents").iterdir()):
            parts.library.add(file.name, file.read_bytes(), "default")
        print("| 20 dialogues each | recall@1 | @4 | quoted |\n| --- | --- | --- | --- |")
        everything = dialogues()
        for half, some in (("looked at", everything[:20]), ("the others", everything[20:])):
            row(f"{half}, as asked", parts.answerer, [(question, words) for _, question, words in some])
            completed = [(complete(question, turns), words) for turns, question, words in some]
            row(f"{half}, carried over", parts.answerer, completed)
            for (_, question, _), (whole, _) in zip(some, completed, strict=True):
                print(f"    {question}  ->  {whole}")
    wrong = changed()
    print(f"\nComplete questions that are changed: {len(wrong)} of {len(COMPLETE) + len(everything)}: {wrong}")


if __name__ == "__main__":
    main()
