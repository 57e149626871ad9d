"""The elements of a page as typed pieces, in the order and with the words that a browser shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from selectolax.lexbor import LexborHTMLParser, LexborNode

from rag_service.reading.blocks import Piece, TextBudget
from rag_service.reading.characters import flat
from rag_service.reading.html_marks import formula, subscript, superscript
from rag_service.reading.html_tables import Cell, Table
from rag_service.reading.list_numbers import list_number
from rag_service.types import BlockKind

Attributes = dict[str, str | None]

_UNSEEN = frozenset(
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
_APART = frozenset("button td th".split())  # in a line, but not grown together with their neighbours
_CODE = frozenset("listing pre xmp".split())
_SHOWN_INPUTS = frozenset("button date email month number reset search submit tel text time url week".split())
HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LONGEST_HEADING = 120  # what is longer is text in large type, or a heading that was never closed
_UNSEEN_STYLE = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|opacity:0*\.?0+(?:[;!]|$)|font-size:0(?:[;a-z%!]|$)"
    r"|text-decoration(?:-line)?:[^;]*line-through|(?:left|top|text-indent):-\d{3,}"
)
_DISPLAY = re.compile(r"display\s*:\s*([\w-]+)")
_NOTED = re.compile(r"note|ref|cite")
_FILE_NAME = re.compile(r"(?=.*[\d_.-])[\w.-]*[_.-][\w.()-]*")
_SPACES = re.compile(r"[ \t\n\r\f]+")


def pieces_of(tree: LexborHTMLParser, text_bytes: int, left_out: Collection[int] = ()) -> list[Piece]:
    """The page's pieces, without the elements whose `mem_id` is in `left_out`. Raises LoadFailed `too large`."""
    walk = _Walk(text_bytes, left_out, hidden_names(tree), _layout_tables(tree))
    if tree.root is not None:
        walk.over(tree.root)
    return walk.pieces


def is_hidden(tag: str, attributes: Attributes, names: Collection[str]) -> bool:
    """Whether a browser does not show an element. `names`: those that the page's style sheet hides."""
    if tag in _UNSEEN or (tag == "dialog" and "open" not in attributes):
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
        if (sheet.attributes.get("media") or "all") not in ("all", "screen"):
            continue
        rules = re.sub(r"/\*.*?\*/", "", sheet.text(), flags=re.S)
        depth, start = 0, 0
        for mark in re.finditer(r"[{};]", rules):
            depth += {"{": 1, "}": -1, ";": 0}[mark[0]]
            if depth == 0:
                names, _, said = rules[start : mark.start()].partition("{")
                start = mark.end()
                shown = re.search(r"(?:^|[;{])\s*(?:display|visibility)\s*:\s*(\w+)", said)
                if shown and "@" not in names:
                    hidden |= {name.strip(): shown[1] in ("none", "hidden") for name in names.split(",")}
    return frozenset(name for name, unseen in hidden.items() if unseen and re.fullmatch(r"[.#][\w-]+", name))


def _layout_tables(tree: LexborHTMLParser) -> set[int]:
    """The tables that only place things on the page: those that hold a table, headings or code, that say so, and those
    of one column without a header."""
    layout: set[int] = set()
    passed: set[int] = set()
    for node in tree.css("table table, td h1, td h2, td h3, td h4, td pre, td form, td article"):
        above = node.parent
        while above is not None and above.mem_id not in passed:
            passed.add(above.mem_id)
            if above.tag == "table":
                layout.add(above.mem_id)
                break
            above = above.parent
    several: set[int] = set()  # tables with a row of several cells, or with a header
    for cell in tree.css("td + td, td + th, th + td, th + th, thead th"):
        row = cell.parent
        if row is not None and row.mem_id not in passed:
            passed.add(row.mem_id)
            group = row.parent
            table = group.parent if group is not None and group.tag != "table" else group
            several.add(table.mem_id if table is not None else 0)
    for table in tree.css("table"):
        if table.mem_id not in several or (table.attributes.get("role") or "") in ("presentation", "none"):
            layout.add(table.mem_id)
    return layout


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


@dataclass
class _Definitions:
    """A definition list while it is read: the terms that the next definitions explain."""

    terms: list[str] = field(default_factory=list)
    is_explained: bool = False

    def add(self, term: str) -> None:
        if self.is_explained:
            self.terms.clear()
            self.is_explained = False
        if term:
            self.terms.append(term)

    def prefix(self) -> str:
        self.is_explained = True
        said = ", ".join(self.terms)
        return f"{said} " if said.endswith((":", "?", "!")) else f"{said}: " if said else ""

    def unexplained(self) -> list[str]:
        return [] if self.is_explained else self.terms


class _Walk:
    """Goes through a page once, with a stack of its own: a page may nest ten thousand deep."""

    def __init__(self, text_bytes: int, left_out: Collection[int], hidden: Collection[str], layout: set[int]) -> None:
        self.pieces: list[Piece] = []
        self._budget = TextBudget(text_bytes)
        self._left_out, self._hidden, self._layout = left_out, hidden, layout
        self._words: list[str] = []
        self._outer: list[list[str]] = []  # what was written outside of the heading, cell, term or code that is open
        self._code = self._notes = self._items = 0  # how many elements of these kinds are open
        self._lists: list[_List] = []
        self._definitions: list[_Definitions] = []
        self._table: Table | None = None
        self._alt = ""  # what stands in the place of the last picture
        self._label = self._prefix = ""  # of the item that begins

    def over(self, root: LexborNode) -> None:
        stack: list[LexborNode | Callable[[], None]] = [root]
        while stack:
            node = stack.pop()
            if not isinstance(node, LexborNode):
                node()
            elif node.tag == "-text":
                words = node.text_content or ""
                self._words.append(words if self._code else _SPACES.sub(" ", words))
            elif node.tag and node.tag != "-comment" and node.mem_id not in self._left_out:
                tag, attributes = node.tag, node.attributes
                if is_hidden(tag, attributes, self._hidden) or self._is_whole(tag, attributes, node):
                    continue
                if leave := self._enter(tag, attributes, node):
                    stack.append(leave)
                stack.extend(reversed(list(node.iter(include_text=True))))
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
            self._picture(flat(attributes.get("alt") or ""))
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
            self._apart(formula(node))
        elif tag == "sup":
            is_note = bool(_NOTED.search(f"{attributes.get('class')} {attributes.get('id')}".lower()))
            words = flat(node.text())
            is_note = is_note or words[:1] == "[" or node.css_first("a") is not None
            self._words.append(superscript(words, self._before(), is_note))
        elif tag == "sub":
            self._words.append(subscript(flat(node.text()), self._before()))
        else:
            return False
        return True

    def _picture(self, alt: str) -> None:
        if not _FILE_NAME.fullmatch(alt):
            self._apart(alt)
            self._alt = alt

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

    def _between(self, opening: str, closing: str) -> Callable[[], None]:
        self._words.append(opening)
        return lambda: self._words.append(closing)

    # --- blocks

    def _enter(self, tag: str, attributes: Attributes, node: LexborNode) -> Callable[[], None] | None:
        """Begins an element and returns what ends it."""
        if self._table is not None and not self._outer:
            return self._part_of_table(self._table, tag, attributes, node)
        if tag == "q":
            return self._between("“", "”")
        if tag in _APART:
            return self._between(" ", " ")
        is_heading = tag in HEADINGS or attributes.get("role") == "heading"
        if tag not in BLOCKS and not is_heading:
            shown = _DISPLAY.search(attributes.get("style") or "")
            if shown is None or shown[1] in ("inline", "contents"):
                return None
            edge = " " if shown[1].startswith("inline") or self._outer else "\n\n"
            return self._between(edge, edge)
        if self._outer:  # a block in a heading, a cell, a term or code only sets its words apart
            edge = " " if not self._code else "" if self._before().endswith("\n") else "\n"
            return self._between(edge, edge)
        self._flush()
        if is_heading and len(flat(node.text())) <= _LONGEST_HEADING:
            level = HEADINGS.get(tag) or min(max(_integer(attributes.get("aria-level"), 2), 1), 6)
            return self._collect(lambda words: self._heading(words, level))
        return self._block(tag, attributes, node)

    def _block(self, tag: str, attributes: Attributes, node: LexborNode) -> Callable[[], None]:
        if tag in _CODE or tag == "textarea":
            return self._collect_lines("code" if tag in _CODE else "paragraph")
        if tag in ("ol", "ul", "menu", "dir"):
            self._lists.append(_list(tag, attributes, node))
            return self._ending(self._lists.pop)
        if tag == "li":
            self._label = self._lists[-1].label(attributes.get("value")) if self._lists else "-"
            self._items += 1
            return self._ending(self._end_item)
        if tag == "table" and node.mem_id not in self._layout:
            self._table = Table()
            return self._end_table
        if tag == "dl":
            self._definitions.append(_Definitions())
            return self._ending(self._end_definitions)
        if tag == "dt" and self._definitions:
            return self._collect(self._definitions[-1].add)
        if tag == "dd" and self._definitions:
            self._prefix = self._definitions[-1].prefix()
            self._items += 1
            return self._ending(self._end_item)
        if attributes.get("role") in ("doc-endnotes", "doc-footnote") or "footnotes" in (attributes.get("class") or ""):
            self._notes += 1
            return self._ending(self._end_notes)
        return self._flush

    def _ending(self, then: Callable[[], object]) -> Callable[[], None]:
        def leave() -> None:
            self._flush()
            then()

        return leave

    def _end_item(self) -> None:
        self._items -= 1
        self._label = self._prefix = ""

    def _end_notes(self) -> None:
        self._notes -= 1

    def _end_definitions(self) -> None:
        for term in self._definitions.pop().unexplained():
            self._add(Piece("item", term, self._items + 1))

    def _collect(self, use: Callable[[str], object]) -> Callable[[], None]:
        """Collects the words up to the element's end, in one line, for `use`."""
        self._outer.append(self._words)
        self._words = []

        def leave() -> None:
            words, self._words = flat("".join(self._words)), self._outer.pop()
            use(words)

        return leave

    def _collect_lines(self, kind: BlockKind) -> Callable[[], None]:
        self._outer.append(self._words)
        self._words = []
        self._code += 1

        def leave() -> None:
            lines, self._words = "".join(self._words), self._outer.pop()
            self._code -= 1
            self._add(Piece(kind, lines.strip("\n").rstrip()))

        return leave

    def _heading(self, words: str, level: int) -> None:
        number = f"{self._label} " if self._label not in ("", "-") else ""
        self._label = ""
        if words:
            self._add(Piece("heading", number + words, level))

    def _part_of_table(
        self, table: Table, tag: str, attributes: Attributes, node: LexborNode
    ) -> Callable[[], None] | None:
        if tag in ("thead", "tbody", "tfoot"):
            table.in_head = tag == "thead"
        elif tag == "tr":
            table.begin_row()
        elif tag in ("td", "th"):
            columns, rows = (max(_integer(attributes.get(name), 1), 1) for name in ("colspan", "rowspan"))
            cell = Cell("", tag == "th", _is_bold(node), columns, rows)
            return self._collect(lambda words: table.add(replace(cell, words=words)))
        elif tag == "caption":
            return self._collect(lambda words: self._add(Piece("paragraph", words)) if words else None)
        return None

    def _end_table(self) -> None:
        if self._table is not None:
            for piece in self._table.pieces():
                self._add(piece)
        self._table = None


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
    """Whether all words of a cell are bold: a header cell of those who do not know `th`."""
    inner = cell.child
    while inner is not None and inner.is_text_node and not inner.text().strip():
        inner = inner.next
    return inner is not None and inner.tag in ("b", "strong") and flat(inner.text()) == flat(cell.text())
