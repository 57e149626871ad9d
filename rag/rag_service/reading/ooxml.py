"""The parts of office files that are archives (.docx, .pptx, .xlsx, .odt): found by relationships, and their XML read
within bounds."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote
from xml.parsers import expat

from rag_service.errors import LoadFailed
from rag_service.reading.blocks import TextBudget

# Markup is many times its text; beyond this it is no document but an attempt to fill the memory.
_MARKUP_FOR_TEXT = 32
_DEEPEST = 256
# Elements and attributes that only say how text looks, or mark a place: together half of all, and of no use here.
_UNUSED = frozenset(
    "lang sz szCs color spacing ind jc proofErr bookmarkStart bookmarkEnd kern tcW tcBorders lastRenderedPageBreak "
    "noProof bCs iCs widowControl autoSpaceDE autoSpaceDN adjustRightInd tabs rPrChange pPrChange".split()
)
_UNUSED_ATTRIBUTES = ("rsid", "paraId", "textId")
_OF_TEXT = frozenset(
    ("t", "instrText", "v", "text", "lastModifiedBy", "title", "creator", "created", "modified", "subject")
)


@dataclass(slots=True)
class Element:
    """An element without its namespace: the local names in these files are enough to distinguish what is read."""

    tag: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    def elements(self) -> list[Element]:
        return [one for one in self.children if type(one) is Element]

    def __bool__(self) -> bool:
        """False for NOTHING alone."""
        return bool(self.tag)

    def get(self, name: str) -> str:
        """An attribute; "" where it has none of this name."""
        return self.attributes.get(name, "")

    def all(self, tag: str) -> list[Element]:
        """The children of this name."""
        return [one for one in self.elements() if one.tag == tag]

    def child(self, *path: str) -> Element:
        """The first child of this name, and of that one its first child of the next name; NOTHING where there is
        none."""
        found = self
        for tag in path:
            found = next((one for one in found.children if type(one) is Element and one.tag == tag), NOTHING)
        return found

    def value(self, *path: str) -> str | None:
        """The attribute `val` of the element that `child` finds; "" if it has none, None if there is no such child."""
        found = self.child(*path)
        return found.get("val") if found else None

    def is_on(self, *path: str) -> bool | None:
        """Whether a property is set; None where it is not said."""
        value = self.value(*path)
        return None if value is None else is_true(value)

    def descendants(self, tag: str) -> Iterator[Element]:
        for one in self.elements():
            if one.tag == tag:
                yield one
            yield from one.descendants(tag)

    def text(self) -> str:
        """All text in it, in order."""
        return "".join(one if isinstance(one, str) else one.text() for one in self.children)


_NO_ATTRIBUTES: dict[str, str] = {}  # one for all elements without any: most have none
NOTHING = Element("", _NO_ATTRIBUTES)


@dataclass(frozen=True)
class Relation:
    """That one part uses another; `kind` is the last step of the relationship's type, such as "footnotes". `part` is ""
    where it is another file."""

    kind: str
    part: str


class Package:
    """The parts of an archive. All methods raise LoadFailed: damaged, encrypted, too large."""

    def __init__(self, archive: zipfile.ZipFile, text_bytes: int) -> None:
        self._archive = archive
        self._left = self._limit = _MARKUP_FOR_TEXT * text_bytes
        self.text = TextBudget(text_bytes)
        # The names of parts ignore case, and some programs write the strokes of another system.
        self._names = {name.replace("\\", "/").lower(): name for name in archive.namelist()}

    def __contains__(self, part: str) -> bool:
        return part.lower() in self._names

    def names(self) -> Iterable[str]:
        """The names of all parts, in lower case."""
        return self._names

    def opening(self, part: str) -> bytes:
        """A part's first bytes, 64 KiB at most."""
        return next(self._pieces(part), b"")

    def relations(self, part: str = "") -> dict[str, Relation]:
        """Which parts a part uses, in order, by identity; "" stands for the file as a whole."""
        folder, name = posixpath.split(part)
        place = posixpath.join(folder, "_rels", f"{name}.rels")
        return {one.get("Id"): _relation(one, folder) for one in self.tree(place).all("Relationship")}

    def used(self, kind: str, part: str = "") -> Iterator[Element]:
        """The parts of this kind that a part uses."""
        for relation in self.relations(part).values():
            if relation.kind == kind and relation.part in self:
                yield self.tree(relation.part)

    def main(self) -> str:
        """The main part of the file, as the file says; "" if it names none that exists."""
        for relation in self.relations().values():
            if relation.kind == "officeDocument" and relation.part in self:
                return relation.part
        return "word/document.xml" if "word/document.xml" in self else ""

    def content(self, part: str) -> bytes:
        """A part's bytes."""
        return b"".join(self._pieces(part))

    def tree(
        self,
        part: str,
        texts: frozenset[str] | None = _OF_TEXT,
        handled: str = "",
        handler: Callable[[Element], None] = lambda element: None,
    ) -> Element:
        """A part as its outermost element, with the text of elements of these names; None: of all. NOTHING where there
        is no such part. Elements of the name `handled` are given to `handler` as soon as they end, and not kept."""
        if part not in self:
            return NOTHING
        around = [Element("", {})]

        def started(name: str, attributes: dict[str, str]) -> None:
            if len(around) > _DEEPEST:
                raise LoadFailed("damaged", "The file nests its elements too deeply. Save it again.")
            kept = {key: value for name, value in attributes.items() if (key := _attribute(name))}
            around.append(Element(name.rpartition(" ")[2], kept or _NO_ATTRIBUTES))

        def ended(_: str) -> None:
            element = around.pop()
            if element.tag == "AlternateContent":  # what a reader that knows all alternatives shows
                around[-1].children += (element.child("Choice") or element.child("Fallback")).children
            elif element.tag == handled:
                handler(element)
            elif element.tag not in _UNUSED:
                around[-1].children.append(element)

        def said(words: str) -> None:
            if texts is None or around[-1].tag in texts:
                around[-1].children.append(words)

        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = started, ended
        parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = said, _refuse_entities
        for piece in self._pieces(part):
            parser.Parse(piece)
        parser.Parse(b"", True)
        return next(iter(around[0].elements()), NOTHING)

    def _pieces(self, part: str) -> Iterator[bytes]:
        entry = self._archive.getinfo(self._names[part.lower()])
        if entry.flag_bits & 1:
            raise encrypted()
        # Other methods inflate without a bound, and the format does not know them.
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise LoadFailed("damaged", "The file uses a compression that Office does not know. Save it again.")
        with self._archive.open(entry) as stream:
            while piece := stream.read(65536):
                self._left -= len(piece)
                if self._left < 0:
                    raise LoadFailed("too large", f"The file unpacks to more than {self._limit:,} bytes. Split it.")
                yield piece


def encrypted() -> LoadFailed:
    return LoadFailed("encrypted", "The file is encrypted. Save it without a password, then add it again.")


def only_pictures() -> LoadFailed:
    return LoadFailed("only pictures", "The file holds pictures but no text. Run text recognition (OCR) on it.")


@contextmanager
def opened(data: bytes, text_bytes: int) -> Iterator[Package]:
    """The parts of a file; whatever is wrong with its archive or its XML is raised as LoadFailed `damaged`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield Package(archive, text_bytes)
    # zipfile raises NotImplementedError for versions and flags of the format that it does not know, and ValueError for
    # a place before the file's beginning.
    except (zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, NotImplementedError, ValueError) as error:
        raise LoadFailed("damaged", f"The file is damaged ({type(error).__name__}). Save it again.") from error


def properties(package: Package) -> dict[str, str]:
    """What the file says of itself: title, author, subject, created, modified."""
    names = {"title": "title", "creator": "author", "subject": "subject", "created": "created", "modified": "modified"}
    return facts(next(package.used("core-properties"), NOTHING), names)


def facts(element: Element, names: Mapping[str, str]) -> dict[str, str]:
    """What the elements of these names in it say, the first of each, by our names."""
    found = {names[one.tag]: one.text().strip() for one in reversed(element.elements()) if one.tag in names}
    return {name: words for name, words in found.items() if words}


def is_true(value: str) -> bool:
    """Whether a property with this value is set; one without a value is."""
    return value.lower() not in ("0", "false", "off", "none")


def _relation(element: Element, folder: str) -> Relation:
    # A target that begins with a stroke counts from the archive's root; normpath keeps two strokes.
    target = posixpath.join("/", folder, unquote(element.get("Target").replace("\\", "/")))
    part = "" if element.get("TargetMode") == "External" else posixpath.normpath(target).lstrip("/")
    return Relation(element.get("Type").rsplit("/", 1)[-1], part)


@lru_cache(1000)  # there are few names, each written many times
def _attribute(name: str) -> str:
    """Its local name; with "r:" before it where it refers to a relation, for an element may have an `id` besides."""
    space, _, local = name.rpartition(" ")
    return "" if local.startswith(_UNUSED_ATTRIBUTES) else f"r:{local}" if space.endswith("/relationships") else local


def _refuse_entities(*_: object) -> None:
    raise LoadFailed("damaged", "The file declares entities, as no office program does. Save it again.")
