"""Fits the weights of words in `answering/word_weights.txt`: how much more often a word is what makes a question a
near miss than it is a word of a question that is answered.

    PYTHONPATH=. python benchmarks/word_weights.py ANSWERABLE UNANSWERABLE

The files hold pairs, line by line, a question in the second column (tabs): github.com/haichao592/UnAnsQ has them
(QG/train-*-questions.txt), made of SQuAD 2.0's training questions by Zhu and others (Learning to Ask Unanswerable
Questions for Machine Reading Comprehension, 2019). A weight is the logarithm of a ratio of frequencies, with two counts
added to each; words with a weight near 0 are left out. A line holds a weight and the stems that have it.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from benchmarks.measured import options
from rag_service.answering import confidence
from rag_service.language import content_stems

_ADDED, _LEAST, _FEWEST = 2, 0.2, 3


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("answerable", type=Path)
    parser.add_argument("unanswerable", type=Path)
    given = parser.parse_args()
    answered, added = Counter[str](), Counter[str]()
    files = [file.read_text(encoding="utf-8").splitlines() for file in (given.answerable, given.unanswerable)]
    for pair in zip(*files, strict=True):
        one, other = (content_stems(line.split("\t")[1]) for line in pair)
        answered.update(one)
        added.update(other - one)
    ratio = answered.total() / added.total()
    weights = {
        stem: round(math.log((added[stem] + _ADDED) / (answered[stem] / ratio + _ADDED)), 1)
        for stem in sorted({*answered, *added})
        if answered[stem] + added[stem] >= _FEWEST
    }
    by_weight: dict[float, list[str]] = {}
    for stem, weight in weights.items():
        by_weight.setdefault(weight, []).append(stem)
    lines = [f"{one} {' '.join(by_weight[one])}\n" for one in sorted(by_weight) if abs(one) >= _LEAST]
    Path(confidence.__file__).with_name("word_weights.txt").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
