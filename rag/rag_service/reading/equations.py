"""Equations of Word files in a line of text: 1/2, 10^6, ∑_(i=1)^n x^2."""

from __future__ import annotations

import re
from collections.abc import Callable

from rag_service.reading.characters import flat
from rag_service.reading.ooxml import Element

_PAIRS = {"(": ")", "[": "]", "{": "}", "|": "|", "‖": "‖", "⌊": "⌋", "⌈": "⌉", "〈": "〉", "⟨": "⟩"}
_INVISIBLE = re.compile("[\u2061-\u2064]")  # signs such as "function application"
_ROOTS = {"": "√", "2": "√", "3": "∛", "4": "∜"}


def equation(element: Element) -> str:
    """An equation (`m:oMath`) or a part of one."""
    writer = _WRITERS.get(element.tag)
    if writer:
        return writer(element)
    if element.tag == "t":
        return _INVISIBLE.sub(" ", element.text())
    if element.tag.endswith("Pr") or element.tag in ("del", "moveFrom"):
        return ""
    return "".join(map(equation, element.elements()))


def _part(element: Element, tag: str) -> str:
    found = element.child(tag)
    return equation(found).strip() if found else ""


def _setting(element: Element, tag: str, otherwise: str) -> str:
    """A property, such as the sign of a sum; one that is set to nothing is nothing."""
    value = element.value(f"{element.tag}Pr", tag)
    return otherwise if value is None else value


def _grouped(words: str) -> str:
    """Within brackets, where more than one number, name or sign would be torn apart without them."""
    whole = len(words) <= 1 or re.fullmatch(r"[\w.,′∞%]+", words) or _is_bracketed(words)
    return words if whole else f"({words})"


def _is_bracketed(words: str) -> bool:
    inner = words[1:-1]
    return words[0] in "([{" and words[-1] == _PAIRS[words[0]] and not any(one in inner for one in words[0] + words[-1])


def _fraction(element: Element) -> str:
    above, below = _part(element, "num"), _part(element, "den")
    if _setting(element, "type", "bar") == "noBar":
        return f"{_grouped(above)} over {_grouped(below)}"
    return f"{_grouped(above)}/{_grouped(below)}" if above or below else ""


def _scripts(element: Element) -> str:
    """A base with what stands below and above it."""
    below, above = _part(element, "sub"), _part(element, "sup")
    return _grouped(_part(element, "e")) + _indices(below, above)


def _indices(below: str, above: str) -> str:
    return (f"_{_grouped(below)}" if below else "") + ("°" if above == "∘" else f"^{_grouped(above)}" if above else "")


def _sum(element: Element) -> str:
    limits = _indices(_part(element, "sub"), _part(element, "sup"))
    return f"{_setting(element, 'chr', '∫')}{limits} {_part(element, 'e')}"


def _root(element: Element) -> str:
    return _rooted(_part(element, "deg"), _part(element, "e"))


def _rooted(degree: str, words: str) -> str:
    sign = _ROOTS.get(degree)
    return f"{sign}{_grouped(words)}" if sign else f"root_{_grouped(degree)}({words})"


def _brackets(element: Element) -> str:
    parts = [equation(one).strip() for one in element.elements() if one.tag == "e"]
    opening, closing = _setting(element, "begChr", "("), _setting(element, "endChr", ")")
    return opening + _setting(element, "sepChr", "|").join(parts) + closing


def _function(element: Element) -> str:
    return f"{_part(element, 'fName')} {_part(element, 'e')}"


def _limit(element: Element) -> str:
    mark = "_" if element.tag == "limLow" else "^"
    return f"{_part(element, 'e')}{mark}{_grouped(_part(element, 'lim'))}"


def _accent(element: Element) -> str:
    words, mark = _part(element, "e"), "\u0304" if element.tag == "bar" else _setting(element, "chr", "\u0302")
    return words + mark if len(words) == 1 else words


def _matrix(element: Element) -> str:
    rows = ([equation(cell).strip() for cell in row.elements() if cell.tag == "e"] for row in element.elements())
    return "; ".join(", ".join(row) for row in rows if row)


def _lines(element: Element) -> str:
    return "; ".join(equation(one).strip() for one in element.elements() if one.tag == "e")


_WRITERS: dict[str, Callable[[Element], str]] = {
    "f": _fraction, "sSup": _scripts, "sSub": _scripts, "sSubSup": _scripts,
    "sPre": lambda element: _indices(_part(element, "sub"), _part(element, "sup")) + _part(element, "e"),
    "nary": _sum, "rad": _root, "d": _brackets, "func": _function, "limLow": _limit, "limUpp": _limit,
    "acc": _accent, "bar": _accent, "m": _matrix, "eqArr": _lines,
}  # fmt: skip


def mathml(element: Element) -> str:
    """An equation in MathML, as OpenDocument and pages have them."""
    if element.tag in ("annotation", "annotation-xml"):
        return ""
    inner = element.elements()
    if not inner:
        return element.text().strip()
    parts = list(filter(None, map(mathml, inner)))
    if element.tag == "mfrac" and len(parts) == 2:
        return f"{_grouped(parts[0])}/{_grouped(parts[1])}"
    if element.tag in ("msup", "mover") and len(parts) == 2:
        return f"{_grouped(parts[0])}^{_grouped(parts[1])}"
    if element.tag in ("msub", "munder") and len(parts) == 2:
        return f"{_grouped(parts[0])}_{_grouped(parts[1])}"
    if element.tag in ("msubsup", "munderover") and len(parts) == 3:
        return f"{_grouped(parts[0])}{_indices(parts[1], parts[2])}"
    if element.tag == "mroot" and len(parts) == 2:
        return _rooted(parts[1], parts[0])
    return _rooted("", "".join(parts)) if element.tag == "msqrt" else "".join(parts)


def equation_field(code: str) -> str:
    r"""The formula of a field such as `EQ \f(1,2)`: 1/2. Phonetic guides, which are written so too, become the words
    without their reading."""
    words, _ = _field_part(re.sub(r"^\s*EQ\b", "", code, flags=re.IGNORECASE), 0, "")
    return flat(words)


def _field_part(code: str, at: int, until: str) -> tuple[str, int]:
    """Text from a place to one of these marks, and the mark's place."""
    words = ""
    while at < len(code) and code[at] not in until:
        if code[at] == "\\" and (found := re.match(r"\\([a-zA-Z]+)", code[at:])):
            shown, at = _field_switch(code, at + found.end(), found[1].lower())
            words += shown
        elif code[at] == "\\" and code[at + 1 : at + 2] == "*":  # a switch of the field: how it looks
            at += len(re.match(r'\\\*\s*("[^"]*"|\S*)\s*', code[at:])[0])  # type: ignore[index]
        elif code[at] == "\\":
            words += code[at + 1 : at + 2]
            at += 2
        elif code[at] == "(":
            inner, at = _field_part(code, at + 1, ")")
            words += f"({inner})"
            at += 1
        else:
            words += code[at]
            at += 1
    return words, at


def _field_switch(code: str, at: int, name: str) -> tuple[str, int]:
    r"""What a switch such as \f(1,2) shows, and the place behind it; options, as in \s\up8(2), stand before it."""
    said = re.match(r"[\w\s.+-]*(?:\\[blr]c\\.|\\[a-zA-Z]+[\s\d.,+-]*)*", code[at:])[0]  # type: ignore[index]
    at += len(said)
    parts: list[str] = []
    if at < len(code) and code[at] == "(":
        while at < len(code) and code[at] != ")":
            part, at = _field_part(code, at + 1, ",;)")
            parts.append(part.strip())
        at += 1
    return _switched(name, said.lower(), parts), at


def _switched(name: str, options: str, parts: list[str]) -> str:
    if not parts:
        return ""
    if name == "f" and len(parts) == 2:
        return f"{_grouped(parts[0])}/{_grouped(parts[1])}"
    if name == "r":
        return _rooted(parts[0] if len(parts) > 1 else "", parts[-1])
    if name == "s":
        marks = ["^", "_"] if len(parts) > 1 else ["_" if "\\do" in options else "^"]
        return "".join(mark + _grouped(part) for mark, part in zip(marks, parts, strict=False) if part)
    if name == "o":  # one over the other: the last is the base, what is raised over it its reading
        return "".join(part for part in parts if not part.startswith("^")) or parts[-1]
    if name == "b":
        opening = re.search(r"\\[bl]c\\(.)", options)
        mark = opening[1] if opening else "("
        return mark + ",".join(parts) + _PAIRS.get(mark, mark)
    if name == "i":
        sign = "∑" if "\\su" in options else "∏" if "\\pr" in options else "∫"
        return f"{sign}{_indices(parts[0], parts[1] if len(parts) > 1 else '')} {''.join(parts[2:])}"
    return ", ".join(part for part in parts if part)
