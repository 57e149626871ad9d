"""The numbers of list items, headings and notes as they are shown: 3, c, C, iii, III."""

from __future__ import annotations

_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip


def list_number(number: int, kind: str, repeats_letters: bool = False) -> str:
    """A number as a list of this kind shows it: a, A, i or I; in digits for any other kind. After z come aa and ab, or
    aa and bb where the list repeats its letters."""
    shown = str(number)
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
    return shown
