"""What a page shows by its place or its form, written in plain characters: powers, formulas."""

from __future__ import annotations

import re

from selectolax.lexbor import LexborNode

from rag_service.reading.characters import flat
from rag_service.reading.equations import mathml
from rag_service.reading.ooxml import Element

_COUNTED = re.compile(r"(?:\d|\b[IVXLCDM]+|\b[Nn])$")
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


def formula(node: LexborNode) -> str:
    """A formula in MathML in one line: x^2, 1/2, √2."""
    return mathml(_element(node, 0))


def _element(node: LexborNode, depth: int) -> Element:
    if node.tag == "-text" or depth > _DEEPEST:
        return Element("", {}, [flat(node.text())])
    return Element(node.tag or "", {}, [_element(child, depth + 1) for child in node.iter(include_text=True)])
