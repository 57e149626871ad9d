"""Equations in a line of text: 1/2, 10^6, ∑_(i=1)^n x^2. OMML (Word), MathML (OpenDocument, web pages), EQ fields."""

from __future__ import annotations

import re

from rag_service.reading.characters import flat
from rag_service.reading.ooxml import Element

_PAIRS = {"(": ")", "[": "]", "{": "}", "|": "|", "‖": "‖", "⌊": "⌋", "⌈": "⌉", "〈": "〉", "⟨": "⟩"}
_INVISIBLE = re.compile("[\u2061-\u2064]")  # signs such as "function application"
_ROOTS = {"": "√", "2": "√", "3": "∛", "4": "∜"}
# What stands between the two parts of an element, and between any number of parts of another.
_PLACED = {
    **dict.fromkeys(("f", "mfrac"), "/"),
    **dict.fromkeys(("sSup", "limUpp", "msup", "mover"), "^"),
    **dict.fromkeys(("sSub", "limLow", "msub", "munder"), "_"),
}
_BETWEEN = {"func": " ", "m": "; ", "mr": ", ", "eqArr": "; ", "mtable": "; ", "mtr": ", "}
_LEFT_OUT = ("del", "moveFrom", "annotation", "annotation-xml")


def equation(element: Element) -> str:
    """An equation (`oMath`, `math`) or a part of one."""
    tag = element.tag
    inner = [one for one in element.elements() if not one.tag.endswith("Pr") and (one.tag or one.text())]
    if tag in _LEFT_OUT:
        return ""
    if not inner:
        return _INVISIBLE.sub(" ", element.text())
    written = list(map(equation, inner))
    parts = [one.strip() for one in written]
    if len(parts) == 2 and any(parts) and tag in _PLACED:
        sign = " over " if element.value("fPr", "type") == "noBar" else _PLACED[tag]
        return _grouped(parts[0]) + (_indices("", parts[1]) if sign == "^" else sign + _grouped(parts[1]))
    if tag == "nary":
        return f"{_setting(element, 'chr', '∫')}{_indices(*['', '', *parts][-3:-1])} {parts[-1]}"
    if len(parts) == 3 and tag in ("sSubSup", "msubsup", "munderover"):
        return _grouped(parts[0]) + _indices(*parts[1:])
    if len(parts) == 3 and tag == "sPre":
        return _indices(*parts[:2]) + parts[2]
    if tag == "msqrt":
        return _root("", "".join(parts))
    if len(parts) == 2 and tag in ("rad", "mroot"):
        return _root(*parts) if tag == "rad" else _root(parts[1], parts[0])
    if tag == "d":
        inside = _setting(element, "sepChr", "|").join(parts)
        return _setting(element, "begChr", "(") + inside + _setting(element, "endChr", ")")
    if tag in ("acc", "bar"):
        mark = _setting(element, "chr", "\u0302" if tag == "acc" else "\u0304")
        return parts[0] + mark * (len(parts[0]) == 1)
    return _BETWEEN[tag].join(parts) if tag in _BETWEEN else "".join(written)


def _setting(element: Element, tag: str, otherwise: str) -> str:
    """A property, such as the sign of a sum; one that is set to nothing is nothing."""
    value = element.value(f"{element.tag}Pr", tag)
    return otherwise if value is None else value


def _grouped(words: str) -> str:
    """Within brackets, where more than one number, name or sign would be torn apart without them."""
    inner = words[1:-1]
    bracketed = _PAIRS.get(words[:1]) == words[-1:] and not any(one in inner for one in words[:1] + words[-1:])
    return words if len(words) <= 1 or bracketed or re.fullmatch(r"[\w.,′∞%]+", words) else f"({words})"


def _indices(below: str, above: str) -> str:
    return (f"_{_grouped(below)}" if below else "") + ("°" if above == "∘" else f"^{_grouped(above)}" if above else "")


def _root(degree: str, words: str) -> str:
    sign = _ROOTS.get(degree)
    return f"{sign}{_grouped(words)}" if sign else f"root_{_grouped(degree)}({words})"


# A switch such as \f(1,2), with its options before the bracket, as in \s\up8(2): the innermost comes first, since the
# brackets and commas of what was written already are other characters.
_SWITCH = re.compile(r"\\([a-z]+)\s*((?:\\[a-z]+(?:\\[^a-z])?[\s\d.+-]*)*)\(([^()]*)\)", re.IGNORECASE)
_WRITTEN = str.maketrans("(),;", "\ue000\ue001\ue002\ue003")
_AGAIN = str.maketrans("\ue000\ue001\ue002\ue003", "(),;")


def equation_field(code: str) -> str:
    r"""The formula of a field such as `EQ \f(1,2)`: 1/2. Phonetic guides, which are written so too, become the words
    without their reading."""
    code = re.sub(r'^\s*EQ\b|\\\*\s*("[^"]*"|\S*)\s*', "", code, flags=re.IGNORECASE)
    while switch := _SWITCH.search(code):
        parts = [part.strip().translate(_AGAIN) for part in re.split("[,;]", switch[3])]
        shown = _switched(switch[1].lower(), switch[2].lower(), parts).translate(_WRITTEN)
        code = code[: switch.start()] + shown + code[switch.end() :]
    return flat(re.sub(r"\\(.)", r"\1", code).translate(_AGAIN))


def _switched(name: str, options: str, parts: list[str]) -> str:
    if name == "f" and len(parts) == 2:
        return f"{_grouped(parts[0])}/{_grouped(parts[1])}"
    if name == "r":
        return _root(parts[0] if len(parts) > 1 else "", parts[-1])
    if name == "s":
        marks = "^_" if len(parts) > 1 else "_" if "\\do" in options else "^"
        return "".join(mark + _grouped(part) for mark, part in zip(marks, parts, strict=False) if part)
    if name == "o":  # one over the other: the last is the base, what is raised over it its reading
        return "".join(part for part in parts if not part.startswith("^")) or parts[-1]
    if name == "i" and len(parts) == 3:
        return ("∑" if r"\su" in options else "∫") + _indices(*parts[:2]) + f" {parts[2]}"
    return ", ".join(filter(None, parts))
