"""What a Word file says of its paragraphs apart from their words: styles and automatic numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rag_service.reading.list_numbers import list_number
from rag_service.reading.ooxml import Element, is_true
from rag_service.reading.symbols import symbol

_LEVELS = 9
_KINDS = {"lowerLetter": "a", "upperLetter": "A", "lowerRoman": "i", "upperRoman": "I"}
# By name, which is English in Word's own files; without one by identity, which Word translates and writes in ASCII.
_HEADING_STYLE = re.compile(
    r"(?i)(title|titel|titolo|tytu[łl]?|n[áa]?zev)|(?:heading|ü?berschrift|titre|t[ií]?tulo|titolo|nag[łl]?[óo]?wek|nadpis|"
    r"kop|rubrik|overskrift|otsikko|c[íi]?msor|naslov|заголовок) ?([1-9])"
)


class Styles:
    """Looks up what a style says; one that says nothing of a matter takes it from the style it is based on."""

    def __init__(self, root: Element | None) -> None:
        found = [one for one in root.elements() if one.tag == "style"] if root else []
        self._styles = {one.attributes.get("styleId", ""): one for one in found}
        standard = (one for one in found if one.attributes.get("default") in ("1", "true", "on"))
        self._standard = next((key for key in standard if key.attributes.get("type") == "paragraph"), None)

    def of(self, paragraph: Element | None) -> str:
        """The style's identity of a paragraph with these properties."""
        chosen = paragraph.value("pStyle") if paragraph else None
        return chosen or (self._standard.attributes.get("styleId", "") if self._standard else "")

    def name(self, style: str) -> str:
        """A style's name, its identity where it has none."""
        one = self._styles.get(style)
        return (one.value("name") if one else None) or style

    def heading_level(self, style: str, paragraph: Element | None) -> int | None:
        """1 is the highest; None: no heading."""
        said = paragraph.value("outlineLvl") if paragraph else None
        if said is not None:
            return _outline(said)
        for identity, one in self._line(style):
            if named := _HEADING_STYLE.fullmatch(self.name(identity)):
                return 1 if named[1] else int(named[2])
            if one and (level := one.value("pPr", "outlineLvl")) is not None:
                return _outline(level)
        return None

    def numbering(self, style: str, paragraph: Element | None) -> tuple[str | None, int | None, str] | None:
        """Number list, level and the style that says so, each None where it is not said; None: not numbered."""
        direct = paragraph.child("numPr") if paragraph else None
        said = [(direct, style)] if direct else []
        for identity, one in self._line(style):
            if one and (numbered := one.child("pPr", "numPr")):
                said.append((numbered, identity))
        if not said:
            return None
        number = next(((value, by) for one, by in said if (value := one.value("numId")) is not None), (None, style))
        level = next((value for one, _ in said if (value := one.value("ilvl")) is not None), None)
        return number[0], int(level) if level and level.isdigit() else None, number[1]

    def value(self, style: str, *path: str) -> str | None:
        """What a style says of a property such as ("rPr", "vertAlign"); None where it says nothing."""
        said = (one.value(*path) for _, one in self._line(style) if one)
        return next((value for value in said if value is not None), None)

    def is_on(self, style: str, *path: str) -> bool:
        """Whether a style sets a property such as ("rPr", "vanish")."""
        value = self.value(style, *path)
        return value is not None and is_true(value)

    def marks_first_row(self, style: str) -> bool | None:
        """Whether a table of this style shows its first row in another way; None where the style is not known."""
        line = [one for _, one in self._line(style) if one]
        kinds = [part.attributes.get("type") for one in line for part in one.elements() if part.tag == "tblStylePr"]
        return "firstRow" in kinds if line else None

    def _line(self, style: str) -> Iterator[tuple[str, Element | None]]:
        for _ in range(20):  # styles that are based on each other have no end
            one = self._styles.get(style)
            yield style, one
            style = (one.value("basedOn") if one else None) or ""
            if not style:
                return


def _outline(level: str) -> int | None:
    return int(level) + 1 if level in set("012345678") else None


@dataclass
class _Level:
    """How the numbers of a level are written. `shown`: with %1 for the first level's number, %2 for the second's."""

    start: int
    written: str
    shown: str
    font: str
    style: str
    restarts_after: int | None
    only_arabic: bool


@dataclass
class _List:
    levels: dict[int, _Level]
    linked: str | None  # the style that says the levels in its place
    counts: list[int | None] = field(default_factory=lambda: [None] * _LEVELS)


@dataclass
class _Use:
    """A list as paragraphs name it: several may go on with one list's numbers."""

    list_id: str
    starts: dict[int, int]
    levels: dict[int, _Level]


class Numbering:
    """Counts the paragraphs of a file's lists, to be asked of each in order."""

    def __init__(self, root: Element | None, styles: Styles) -> None:
        self._styles = styles
        self._lists: dict[str, _List] = {}
        self._uses: dict[str, _Use] = {}
        for one in root.elements() if root else ():
            if one.tag == "abstractNum":
                linked = one.value("numStyleLink")
                self._lists[one.attributes.get("abstractNumId", "")] = _List(_levels(one), linked)
            elif one.tag == "num":
                self._uses[one.attributes.get("numId", "")] = _use(one)

    def label(self, style: str, paragraph: Element | None) -> tuple[str, int] | None:
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
        level = min(level, _LEVELS - 1)
        _count(numbered, use, levels, level)
        return _shown(numbered.counts, levels, level), level + 1

    def _numbered(self, number: str) -> tuple[_Use | None, _List | None]:
        use = self._uses.get(number)
        found = self._lists.get(use.list_id) if use else None
        if found and found.linked and not found.levels:
            said = self._styles.numbering(found.linked, None)
            other = self._uses.get(said[0] or "") if said else None
            found = self._lists.get(other.list_id, found) if other else found
        return use, found


def _levels(parent: Element) -> dict[int, _Level]:
    return {_number(one.attributes.get("ilvl"), 0): _level(one) for one in parent.elements() if one.tag == "lvl"}


def _level(one: Element) -> _Level:
    fonts = one.child("rPr", "rFonts")
    restart = one.value("lvlRestart")
    return _Level(
        start=_number(one.value("start"), 0 if one.value("start") is None else 1),
        written=one.value("numFmt") or _alternative(one) or "decimal",
        shown=one.value("lvlText") or "",
        font=fonts.attributes.get("ascii", "") if fonts else "",
        style=one.value("pStyle") or "",
        restarts_after=None if restart is None else _number(restart, 0),
        only_arabic=bool(one.is_on("isLgl")),
    )


def _alternative(level: Element) -> str | None:
    choice = level.child("AlternateContent", "Fallback")
    return choice.value("numFmt") if choice else None


def _use(one: Element) -> _Use:
    use = _Use(one.value("abstractNumId") or "", {}, {})
    for override in one.elements():
        if override.tag == "lvlOverride":
            level = _number(override.attributes.get("ilvl"), 0)
            if (own := override.child("lvl")) is not None:
                use.levels[level] = _level(own)
            start = override.value("startOverride")
            if start is not None:
                use.starts[level] = _number(start, 1)
    return use


def _count(numbered: _List, use: _Use, levels: dict[int, _Level], level: int) -> None:
    """Goes on to the next number of a level; levels below it begin again, unless they are said to go on."""
    before = numbered.counts[level]
    start = levels[level].start if level in levels else 1
    numbered.counts[level] = use.starts.pop(level) if level in use.starts else start if before is None else before + 1
    for lower in range(level + 1, _LEVELS):
        after = levels[lower].restarts_after if lower in levels else None
        if after is None or level < after:
            numbered.counts[lower] = None


def _shown(counts: list[int | None], levels: dict[int, _Level], level: int) -> str:
    own = levels.get(level)
    if own is None or (own.written == "none" and "%" in own.shown):
        return ""
    if own.written == "bullet":
        if not own.shown.strip():
            return ""
        mark = symbol(own.font, ord(own.shown[0]))
        return mark if mark in ("☐", "☒") else "-"

    def number(match: re.Match[str]) -> str:
        at = int(match[1]) - 1
        one = levels.get(at)
        count = counts[at]
        if count is None:
            count = one.start if one else 1
        return _written(count, "decimal" if own.only_arabic or one is None else one.written)

    return re.sub(r"%([1-9])", number, own.shown).strip()


def _written(number: int, how: str) -> str:
    """A number as a list of this kind (`w:numFmt`) shows it; in digits where the kind is not known."""
    if how == "ordinal":
        ending = "th" if 10 < number % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        return f"{number}{ending}"
    if how == "none":
        return ""
    return f"{number:02}" if how == "decimalZero" else list_number(number, _KINDS.get(how, "1"), repeats_letters=True)


def _number(value: str | None, otherwise: int) -> int:
    return int(value) if value and re.fullmatch(r"-?\d{1,9}", value) else otherwise
