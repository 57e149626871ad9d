"""The numbers of list items, headings and notes as they are shown: 3, c, C, iii, III."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip


@dataclass(frozen=True)
class Level:
    """How the items of a list's level are marked. `shown`: the mark, with %1 for the first level's number, %2 for the
    second's. `kind` is that of the level's own number, see `list_number`."""

    shown: str = ""
    kind: str = "1"
    start: int = 1
    repeats_letters: bool = False


def list_label(own: Level, levels: Mapping[int, Level], counts: Sequence[int]) -> str:
    """An item's mark. `levels` and their numbers, `counts`, are those from the first level on."""

    def number(match: re.Match[str]) -> str:
        at = int(match[1]) - 1
        level = levels.get(at, Level())
        count = counts[at] if at < len(counts) else level.start
        return list_number(count, level.kind, level.repeats_letters)

    return re.sub(r"%([1-9])", number, own.shown).strip()


def list_number(number: int, kind: str, repeats_letters: bool = False) -> str:
    """A number as a list of this kind shows it: a, A, i or I, 01, 1st; "" for the kind "", in digits for any other.
    After z come aa and ab, or aa and bb where the list repeats its letters."""
    shown = str(number)
    if kind == "":
        return ""
    if kind in ("a", "A") and number > 0:
        if repeats_letters:
            return chr(ord(kind) + (number - 1) % 26) * min((number - 1) // 26 + 1, 30)
        shown = ""
        while number:
            number, letter = divmod(number - 1, 26)
            shown = chr(ord(kind) + letter) + shown
    elif kind in ("i", "I") and 0 < number < 10_000:
        shown = ""
        for value, digits in _ROMAN:
            shown += digits * (number // value)
            number %= value
        shown = shown.upper() if kind == "I" else shown
    elif kind == "01":
        shown = f"{number:02}"
    elif kind == "1st":
        shown += "th" if 10 < number % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return shown
