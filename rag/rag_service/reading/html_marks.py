"""What a page shows by its place or its form, written in plain characters: powers, formulas, numbers of list items."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborNode

from rag_service.reading.characters import flat

_COUNTED = re.compile(r"(?:\d|\b[IVXLCDM]+|\b[Nn])$")
_BETWEEN = {"msup": "^", "mover": "^", "msub": "_", "munder": "_", "mfrac": "/"}
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_DEEPEST = 30  # formulas in formulas


def superscript(words: str, before: str, is_note: bool) -> str:
    """Raised words as they stand after `before`: a power with its mark (10^6), an ordinal's letters without (1st), a
    note's mark apart from the word."""
    base = re.search(r"[\w)\]]*$", before)[0]  # type: ignore[index]
    if not base or is_note or (words.isdigit() and re.fullmatch(r"[^\W\d_]{4,}", base)):
        return f" {words} "
    if re.fullmatch(r"[^\W\d_]{2,}|[^\w+−–-]*", words) or (words in "aeo" and _COUNTED.search(base)):
        return words
    return f"^{words}" if re.fullmatch(r"[+−–-]?[\w.,]+|[+−–-]", words) else f"^({words})"


def subscript(words: str, before: str) -> str:
    """Lowered words: as they are (H2O), but never grown together with a number (10_2)."""
    return f"_{words}" if words[:1].isdigit() and before[-1:].isdigit() else words


def formula(node: LexborNode, depth: int = 0) -> str:
    """A formula in one line: x^2, 1/2, √2."""
    if node.tag == "-text" or depth > _DEEPEST:
        return flat(node.text())
    if (node.tag or "").startswith("annotation"):
        return ""
    parts = [part for child in node.iter(include_text=True) if (part := formula(child, depth + 1))]
    if node.tag in _BETWEEN:
        return _BETWEEN[node.tag].join(_grouped(part) for part in parts)
    if node.tag in ("msubsup", "munderover") and len(parts) == 3:
        return "{}_{}^{}".format(*map(_grouped, parts))
    if node.tag == "msqrt":
        return "√" + _grouped("".join(parts))
    return "".join(parts)


def _grouped(part: str) -> str:
    return part if re.fullmatch(r"[\w.,]*|\W|\(.*\)", part) else f"({part})"


def numeral(number: int, kind: str) -> str:
    """A list item's number, as `type` of the list says: 1, a, A, i or I."""
    if kind in ("i", "I") and 0 < number < 4000:
        shown = ""
        for value, letters in _ROMAN:
            shown += letters * (number // value)
            number %= value
        return shown if kind == "i" else shown.upper()
    if kind in ("a", "A") and number > 0:
        shown = ""
        while number:
            number, letter = divmod(number - 1, 26)
            shown = chr(ord(kind) + letter) + shown
        return shown
    return str(number)
