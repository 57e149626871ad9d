"""What a Word file says of its paragraphs apart from their words: styles and automatic numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rag_service.reading.list_numbers import Level, list_label
from rag_service.reading.ooxml import NOTHING, Element, is_true
from rag_service.reading.symbols import symbol

_KINDS = {
    "lowerLetter": "a", "upperLetter": "A", "lowerRoman": "i", "upperRoman": "I", "decimalZero": "01",
    "ordinal": "1st", "none": "",
}  # fmt: skip
# By name, which is English in Word's own files; without one by identity, which Word translates and writes in ASCII.
_HEADING_STYLE = re.compile(
    r"(?i)(title|titel|titolo|tytu[łl]?|n[áa]?zev)|(?:heading|ü?berschrift|titre|t[ií]?tulo|titolo|nag[łl]?[óo]?wek|nadpis|"
    r"kop|rubrik|overskrift|otsikko|c[íi]?msor|naslov|заголовок) ?([1-9])"
)


class Styles:
    """Looks up a property of a style, or of the style that it is based on."""

    def __init__(self, root: Element) -> None:
        self._styles = {one.get("styleId"): one for one in root.all("style")}
        standard = (one for one in root.all("style") if one.get("default") in ("1", "true", "on"))
        self._standard = next((one.get("styleId") for one in standard if one.get("type") == "paragraph"), "")

    def of(self, paragraph: Element) -> str:
        """The style's identity of a paragraph with these properties."""
        return paragraph.value("pStyle") or self._standard

    def name(self, style: str) -> str:
        """A style's name, its identity where it has none."""
        return self._styles.get(style, NOTHING).value("name") or style

    def heading_level(self, style: str, paragraph: Element) -> int | None:
        """1 is the highest; None: no heading."""
        level = paragraph.value("outlineLvl")
        for identity, one in self._line(style) if level is None else ():
            if named := _HEADING_STYLE.fullmatch(self.name(identity)):
                return 1 if named[1] else int(named[2])
            if (level := one.value("pPr", "outlineLvl")) is not None:
                break
        return int(level) + 1 if level in tuple("012345678") else None

    def numbering(self, style: str, paragraph: Element) -> tuple[str | None, int | None, str] | None:
        """Number list, level and the style that says so, each None where it is not said; None: not numbered."""
        line = [(paragraph, style), *((one.child("pPr"), identity) for identity, one in self._line(style))]
        said = [(one.child("numPr"), identity) for one, identity in line if one.child("numPr")]
        if not said:
            return None
        number = next(((value, by) for one, by in said if (value := one.value("numId")) is not None), (None, style))
        level = next((value for one, _ in said if (value := one.value("ilvl")) is not None), None)
        return number[0], int(level) if level and level.isdigit() else None, number[1]

    def value(self, style: str, *path: str) -> str | None:
        """The value of a style's property such as ("rPr", "vertAlign"); None if the style does not set it."""
        said = (one.value(*path) for _, one in self._line(style))
        return next((value for value in said if value is not None), None)

    def is_on(self, style: str, *path: str) -> bool:
        """Whether a style sets a property such as ("rPr", "vanish")."""
        value = self.value(style, *path)
        return value is not None and is_true(value)

    def marks_first_row(self, style: str) -> bool | None:
        """Whether a table of this style shows its first row in another way; None where the style is not known."""
        line = [one for _, one in self._line(style) if one]
        kinds = [part.get("type") for one in line for part in one.all("tblStylePr")]
        return "firstRow" in kinds if line else None

    def _line(self, style: str) -> Iterator[tuple[str, Element]]:
        """A style and those that it is based on, with their identities."""
        for _ in range(20):  # styles that are based on each other have no end
            one = self._styles.get(style, NOTHING)
            yield style, one
            style = one.value("basedOn") or ""
            if not style:
                return


@dataclass(frozen=True)
class _Level(Level):
    style: str = ""
    restarts_after: int | None = None
    only_digits: bool = False


@dataclass
class _List:
    """A list's levels and its numbers so far; several uses may go on with one list's numbers."""

    levels: dict[int, _Level]
    linked: str | None  # the style that says the levels in its place
    counts: dict[int, int] = field(default_factory=dict)


@dataclass
class _Use:
    """A list as paragraphs name it, with what differs from the list's own levels."""

    list_id: str
    starts: dict[int, int]
    levels: dict[int, _Level]


class Numbering:
    """Counts the paragraphs of a file's lists, to be asked of each in order."""

    def __init__(self, root: Element, styles: Styles) -> None:
        self._styles = styles
        self._lists: dict[str, _List] = {}
        self._uses: dict[str, _Use] = {}
        for one in root.elements():
            if one.tag == "abstractNum":
                levels = {_number(level.attributes.get("ilvl"), 0): _level(level) for level in one.all("lvl")}
                self._lists[one.get("abstractNumId")] = _List(levels, one.value("numStyleLink"))
            elif one.tag == "num":
                self._uses[one.get("numId")] = _use(one)

    def label(self, style: str, paragraph: Element) -> tuple[str, int] | None:
        """A paragraph's number or bullet as it is shown, "" where it shows none, and its level from 1; None: the
        paragraph is not of a list. The number is counted as used."""
        said = self._styles.numbering(style, paragraph)
        if said is None or said[0] == "0":
            return None
        number, level, by = said
        use, numbered = self._numbered(number or "")
        if use is None or numbered is None:
            return "-", (level or 0) + 1
        levels = {**numbered.levels, **use.levels}
        if level is None:
            level = next((key for key, one in levels.items() if one.style == by), 0)
        level = min(level, 8)
        own, counts = levels.get(level, _Level()), numbered.counts
        counts[level] = use.starts.pop(level, counts[level] + 1 if level in counts else own.start)
        for lower in [one for one in counts if one > level]:
            after = levels[lower].restarts_after if lower in levels else None
            if after is None or level < after:
                del counts[lower]
        so_far = [counts.get(place, levels.get(place, own).start) for place in range(level + 1)]
        return list_label(own, {} if own.only_digits else levels, so_far), level + 1

    def _numbered(self, number: str) -> tuple[_Use | None, _List | None]:
        use = self._uses.get(number)
        found = self._lists.get(use.list_id) if use else None
        if found and found.linked and not found.levels:
            said = self._styles.numbering(found.linked, NOTHING)
            other = self._uses.get(said[0] or "") if said else None
            found = self._lists.get(other.list_id, found) if other else found
        return use, found


def _level(one: Element) -> _Level:
    written = one.value("numFmt") or "decimal"
    shown = one.value("lvlText") or ""
    if written == "bullet" and shown.strip():
        mark = symbol(one.child("rPr", "rFonts").get("ascii"), ord(shown[0]))
        shown = mark if mark in ("☐", "☒") else "-"
    restart = one.value("lvlRestart")
    return _Level(
        shown="" if written == "none" and "%" in shown else shown,
        kind=_KINDS.get(written, "1"),
        start=_number(one.value("start"), 0 if one.value("start") is None else 1),
        repeats_letters=True,
        style=one.value("pStyle") or "",
        restarts_after=None if restart is None else _number(restart, 0),
        only_digits=bool(one.is_on("isLgl")),
    )


def _use(one: Element) -> _Use:
    use = _Use(one.value("abstractNumId") or "", {}, {})
    for override in one.all("lvlOverride"):
        level = _number(override.attributes.get("ilvl"), 0)
        if own := override.child("lvl"):
            use.levels[level] = _level(own)
        if (start := override.value("startOverride")) is not None:
            use.starts[level] = _number(start, 1)
    return use


def _number(value: str | None, otherwise: int) -> int:
    return int(value) if value and re.fullmatch(r"-?\d{1,9}", value) else otherwise
