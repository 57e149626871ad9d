"""The elements of a page as typed pieces, in the order and with the words that a browser shows."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser, LexborNode

from rag_service.reading.blocks import Piece, TextBudget
from rag_service.reading.characters import flat, superscript
from rag_service.reading.equations import equation
from rag_service.reading.list_numbers import list_number
from rag_service.reading.ooxml import Element
from rag_service.reading.tables import Cell, table_pieces
from rag_service.types import BlockKind

Attributes = dict[str, str | None]

UNSEEN = frozenset(
    (
        "-comment area audio canvas col colgroup datalist del embed frame frameset head iframe link meta noembed "
        "noframes noscript object param rp rt rtc s script source strike style template title track video"
    ).split()
)
BLOCKS = frozenset(
    (
        "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption "
        "figure footer form header hgroup html legend li listing main menu nav ol p pre search section summary table "
        "tbody textarea tfoot thead tr ul xmp"
    ).split()
)
_APART = frozenset("button td th".split())  # in a line, but set apart from their neighbours
_CODE = frozenset("listing pre xmp".split())
_SHOWN_INPUTS = frozenset("button date email month number reset search submit tel text time url week".split())
HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LONGEST_HEADING = 120  # what is longer is text in large type, or a heading that was never closed
_UNSEEN_STYLE = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|opacity:0*\.?0+(?:[;!]|$)|font-size:0(?:[;a-z%!]|$)"
    r"|text-decoration(?:-line)?:[^;]*line-through|(?:left|top|text-indent):-\d{3,}"
)
_NO_RULES = re.compile(
    r"/\*.*?\*/|@[^{};]*+(?:;|\{(?:[^{}]|\{[^{}]*+\})*+\})", re.S
)  # comments, and rules for some media
_DISPLAY = re.compile(r"display\s*:\s*([\w-]+)")
_NOTED = re.compile(r"note|ref|cite")
_FILE_NAME = re.compile(r"(?=.*[\d_.-])[\w.-]*[_.-][\w.()-]*")
_DEEPEST = 30  # formulas in formulas
# Tables that only place things on the page: those that hold a table, headings or code, that say so, and those of one
# column without a header.
_LAYOUT_TABLES = (
    "table:has(table, td h1, td h2, td h3, td h4, td pre, td form, td article), table[role=presentation], "
    "table[role=none], table:not(:has(table, td + td, td + th, th + td, th + th, thead th))"
)
_SPACES = re.compile(r"[ \t\n\r\f]+")


def pieces_of(tree: LexborHTMLParser, text_bytes: int, left_out: Collection[int] = ()) -> list[Piece]:
    """The page's pieces, without the elements whose `mem_id` is in `left_out`. Raises LoadFailed `too large`."""
    walk = _Walk(text_bytes, left_out, hidden_names(tree), {table.mem_id for table in tree.css(_LAYOUT_TABLES)})
    if tree.root is not None:
        walk.over(tree.root)
    return walk.pieces


def is_hidden(tag: str, attributes: Attributes, names: Collection[str]) -> bool:
    """Whether a browser does not show an element. `names`: those that the page's style sheet hides."""
    if tag in UNSEEN or (tag == "dialog" and "open" not in attributes):
        return True
    if not attributes:
        return False
    style = re.sub(r"\s+", "", attributes.get("style") or "").lower()
    if attributes.get("hidden", "until-found") != "until-found" or (style and _UNSEEN_STYLE.search(style)):
        return True
    if "popover" in attributes:
        return True
    if not names or "display:" in style or tag in ("html", "body", "main"):
        return False
    own = [f".{name}" for name in (attributes.get("class") or "").split()]
    return any(name in names for name in [*own, f"#{attributes.get('id')}"])


def hidden_names(tree: LexborHTMLParser) -> frozenset[str]:
    """The classes and ids that a rule of the page's own style sheet hides, as `.class` and `#id`. Rules for some media
    alone and those of more than one name are not looked at: what they hide may be shown."""
    hidden: dict[str, bool] = {}
    for sheet in tree.css("style"):
        if (sheet.attributes.get("media") or "all") in ("all", "screen"):
            for names, said in re.findall(r"([^{}]++)\{([^{}]*+)\}", _NO_RULES.sub("", sheet.text())):
                if shown := re.search(r"(?:^|;)\s*(?:display|visibility)\s*:\s*(\w+)", said):
                    hidden |= {name.strip(): shown[1] in ("none", "hidden") for name in names.split(",")}
    return frozenset(name for name, unseen in hidden.items() if unseen and re.fullmatch(r"[.#][\w-]+", name))


@dataclass
class _List:
    """A list while its items are read. `kind`: how they are numbered, as `type` says; "" for bullets."""

    kind: str
    number: int = 1
    step: int = 1

    def label(self, value: str | None) -> str:
        if not self.kind:
            return "-"
        self.number = _integer(value, self.number)
        label = f"{list_number(self.number, self.kind)}."
        self.number += self.step
        return label


class _Walk:
    """Goes through a page once, with a stack of its own: a page may nest ten thousand deep."""

    def __init__(self, text_bytes: int, left_out: Collection[int], hidden: Collection[str], layout: set[int]) -> None:
        self.pieces: list[Piece] = []
        self._budget = TextBudget(text_bytes)
        self._left_out, self._hidden, self._layout = left_out, hidden, layout
        self._words: list[str] = []
        # How many elements are open: those whose words are collected, such as headings, code, notes, items.
        self._collecting = self._code = self._notes = self._items = 0
        self._lists: list[_List] = []
        self._terms: list[list[str]] = []  # of each definition list those that come next, "" last once they are defined
        self._table: list[list[Cell]] | None = None  # its rows
        self._in_head = False  # of the table
        self._alt = ""  # what stands in the place of the last picture
        self._label = self._prefix = ""  # of the item that begins

    def over(self, root: LexborNode) -> None:
        stack: list[Iterator[LexborNode]] = [iter([root])]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
            elif node.tag == "-text":
                words = node.text_content or ""
                self._words.append(words if self._code else _SPACES.sub(" ", words))
            elif node.tag and node.tag != "-comment" and node.mem_id not in self._left_out:
                tag, attributes = node.tag, node.attributes
                if not is_hidden(tag, attributes, self._hidden) and not self._is_whole(tag, attributes, node):
                    stack.append(self._element(tag, attributes, node))
        self._flush()

    def _add(self, piece: Piece) -> None:
        self._budget.take(piece.text)
        if self._alt and self.pieces and self.pieces[-1].text == self._alt and piece.text.startswith(self._alt):
            self.pieces.pop()  # a picture's caption says again what stands in its place
        self.pieces.append(piece)

    def _flush(self) -> None:
        """Ends a paragraph, item or note; empty lines in it part it."""
        if not self._words:
            return
        words = re.sub(r" *\n *", "\n", "".join(self._words).strip())
        self._words.clear()
        kind: BlockKind = "note" if self._notes else "item" if self._items else "paragraph"
        for part in filter(None, re.split(r"\n\n+", words)):
            self._add(Piece(kind, self._prefix + part, self._items, self._label))
            self._label = self._prefix = ""

    # --- what stands in a line

    def _is_whole(self, tag: str, attributes: Attributes, node: LexborNode) -> bool:
        """Writes an element that is shown as a whole; False: it is not of these."""
        if tag in ("br", "hr"):
            self._words.append("\n" if tag == "br" else "\n\n")
        elif tag == "img":
            alt = flat(attributes.get("alt") or "")
            if not _FILE_NAME.fullmatch(alt):
                self._apart(alt)
                self._alt = alt
        elif tag == "input":
            self._input((attributes.get("type") or "text").lower(), attributes)
        elif tag == "select":
            options = node.css("option")
            chosen = [one for one in options if "selected" in one.attributes]
            for option in options if "multiple" in attributes else (chosen or options)[:1]:
                self._apart(option.text())
        elif tag == "svg":
            for label in node.css("text"):
                self._apart(label.text(separator=" "))
        elif tag == "math":
            self._apart(equation(_as_element(node, 0)))
        elif tag == "sup":
            is_note = bool(_NOTED.search(f"{attributes.get('class')} {attributes.get('id')}".lower()))
            words = flat(node.text())
            is_note = is_note or words[:1] == "[" or node.css_first("a") is not None
            self._words.append(superscript(words, self._before(), is_note))
        elif tag == "sub":
            words = flat(node.text())
            self._words += ["_"] * (words[:1].isdigit() and self._before()[-1:].isdigit())  # 10_2, but H2O
            self._words.append(words)
        else:
            return False
        return True

    def _input(self, kind: str, attributes: Attributes) -> None:
        if kind in ("checkbox", "radio"):
            self._apart("☒" if "checked" in attributes else "☐")
        elif kind in _SHOWN_INPUTS:
            self._apart(attributes.get("value"))
        elif kind == "image":
            self._apart(attributes.get("alt"))

    def _apart(self, words: str | None) -> None:
        if words and words.strip():
            self._words.append(f" {flat(words)} ")

    def _before(self) -> str:
        """The last characters that were written, as far as they matter to what follows."""
        return "".join(self._words[-4:])[-24:]

    # --- elements: each handler passes on what is in it and then ends it

    def _element(self, tag: str, attributes: Attributes, node: LexborNode) -> Iterator[LexborNode]:
        inner = node.iter(include_text=True)
        if self._table is not None and not self._collecting:
            yield from self._part_of_table(self._table, tag, attributes, node)
        elif tag == "q":
            self._words.append("“")
            yield from inner
            self._words.append("”")
        elif (edge := self._edge(tag, attributes)) is not None:
            self._words += filter(None, [edge])
            yield from inner
            self._words += filter(None, [edge])
        else:
            self._flush()
            yield from self._block(tag, attributes, node)

    def _edge(self, tag: str, attributes: Attributes) -> str | None:
        """What sets the words of an element apart from their neighbours; None for a block of its own."""
        if tag in _APART:
            return " "
        if tag not in BLOCKS and tag not in HEADINGS and attributes.get("role") != "heading":
            shown = _DISPLAY.search(attributes.get("style") or "")
            if shown is None or shown[1] in ("inline", "contents"):
                return ""
            return " " if shown[1].startswith("inline") or self._collecting else "\n\n"
        if self._code:
            return "" if self._before().endswith("\n") else "\n"
        return " " if self._collecting else None

    def _block(self, tag: str, attributes: Attributes, node: LexborNode) -> Iterator[LexborNode]:
        inner = node.iter(include_text=True)
        is_heading = tag in HEADINGS or attributes.get("role") == "heading"
        if is_heading and len(flat(node.text())) <= _LONGEST_HEADING:
            words = flat((yield from self._collected(inner)))
            number = f"{self._label} " if self._label not in ("", "-") else ""
            self._label = ""
            if words:
                level = HEADINGS.get(tag) or min(max(_integer(attributes.get("aria-level"), 2), 1), 6)
                self._add(Piece("heading", number + words, level))
        elif tag in _CODE or tag == "textarea":
            self._code += 1
            lines = yield from self._collected(inner)
            self._code -= 1
            self._add(Piece("code" if tag in _CODE else "paragraph", lines.strip("\n").rstrip()))
        elif tag in ("ol", "ul", "menu", "dir"):
            self._lists.append(_list(tag, attributes, node))
            yield from inner
            self._flush()
            self._lists.pop()
        elif tag == "li" or (tag == "dd" and self._terms):
            if tag == "dd":
                self._prefix = self._defined(self._terms[-1])
            else:
                self._label = self._lists[-1].label(attributes.get("value")) if self._lists else "-"
            self._items += 1
            yield from inner
            self._flush()
            self._items -= 1
            self._label = self._prefix = ""
        elif tag == "dl":
            self._terms.append([])
            yield from inner
            self._flush()
            terms = self._terms.pop()
            for term in terms if terms and terms[-1] else ():
                self._add(Piece("item", term, self._items + 1))
        elif tag == "dt" and self._terms:
            term, terms = flat((yield from self._collected(inner))), self._terms[-1]
            terms[:] = [*(terms if terms and terms[-1] else ()), *filter(None, [term])]
        elif tag == "table" and node.mem_id not in self._layout:
            self._table, self._in_head = [], False
            yield from inner
            rows, self._table = self._table, None
            for piece in table_pieces(rows):
                self._add(piece)
        else:
            is_note = attributes.get("role") in ("doc-endnotes", "doc-footnote")
            is_note = is_note or "footnotes" in (attributes.get("class") or "")
            self._notes += is_note
            yield from inner
            self._flush()
            self._notes -= is_note

    def _collected(self, inner: Iterator[LexborNode]) -> Generator[LexborNode, None, str]:
        """The words that the elements in it write."""
        outer, self._words = self._words, []
        self._collecting += 1
        yield from inner
        self._collecting -= 1
        words, self._words = "".join(self._words), outer
        return words

    def _defined(self, terms: list[str]) -> str:
        """What stands before a definition: the terms that it defines."""
        said = ", ".join(filter(None, terms))
        if terms and terms[-1]:
            terms.append("")
        return f"{said} " if said.endswith((":", "?", "!")) else f"{said}: " if said else ""

    def _part_of_table(
        self, table: list[list[Cell]], tag: str, attributes: Attributes, node: LexborNode
    ) -> Iterator[LexborNode]:
        inner = node.iter(include_text=True)
        if tag in ("td", "th"):
            columns, rows = (max(_integer(attributes.get(name), 1), 1) for name in ("colspan", "rowspan"))
            is_bold = _is_bold(node)
            is_header = tag == "th" or self._in_head or (is_bold and len(table) == 1)
            words = flat((yield from self._collected(inner)))
            table[-1].append(Cell(words, is_header, is_bold, columns, rows))
            return
        if tag == "caption":
            if words := flat((yield from self._collected(inner))):
                self._add(Piece("paragraph", words))
            return
        if tag in ("thead", "tbody", "tfoot"):
            self._in_head = tag == "thead"
        elif tag == "tr":
            table.append([])
        yield from inner


def _list(tag: str, attributes: Attributes, node: LexborNode) -> _List:
    if tag != "ol":
        return _List("")
    is_reversed = "reversed" in attributes
    first = sum(1 for item in node.iter() if item.tag == "li") if is_reversed else 1
    kind = attributes.get("type") or "1"
    return _List(kind if kind in "1aAiI" else "1", _integer(attributes.get("start"), first), -1 if is_reversed else 1)


def _integer(value: str | None, default: int) -> int:
    return int(value) if value is not None and re.fullmatch(r"\s*[-+]?\d{1,9}\s*", value) else default


def _is_bold(cell: LexborNode) -> bool:
    """Whether all words of a cell are bold, as in header cells that are not marked up as such."""
    inner = cell.child
    while inner is not None and inner.is_text_node and not inner.text().strip():
        inner = inner.next
    return inner is not None and inner.tag in ("b", "strong") and flat(inner.text()) == flat(cell.text())


def _as_element(node: LexborNode, depth: int) -> Element:
    if node.tag == "-text" or depth > _DEEPEST:
        return Element("", {}, [flat(node.text())])
    return Element(node.tag or "", {}, [_as_element(child, depth + 1) for child in node.iter(include_text=True)])
