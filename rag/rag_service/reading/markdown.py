"""Markdown as it is shown: by CommonMark with tables, footnotes and the like, then read as the page it makes."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Sequence

import yaml  # type: ignore[import-untyped]
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.admon import admon_plugin
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.tasklists import tasklists_plugin
from selectolax.lexbor import LexborHTMLParser

from rag_service.reading.blocks import Piece, Reading
from rag_service.reading.characters import NO_BLANK, flat
from rag_service.reading.encoding import decode, replaced
from rag_service.reading.html import titled
from rag_service.reading.html_pieces import BLOCKS, HEADINGS, UNSEEN, pieces_of

_BAR = "\ue001"  # for a bar in a code span, which would end the cell of a table
_FREE_BAR = re.compile(r"(?<!\\)\|")
_CODE_SPAN = re.compile(r"(?<![`\\])(`{1,3})(?!`)([^`\n]{1,500})(?<!`)\1(?!`)")
_FRONT = re.compile(r"\s*(---|\+\+\+)[ \t]*\n(.*?\n)?(?:\1|\.\.\.)[ \t]*(?:\n|$)", re.S)
_ENTRY = re.compile(r"^([\w.-]+):[ \t]+(.+?)[ \t]*$", re.M)
_HEADING_ATTRIBUTES = re.compile(r"\s*\{:?\s*[#.][^{}\n]*\}\s*$")
_WIKI_LINK = re.compile(r"(!?)\[\[(?!\s)([^\[\]\n|]{1,200})(?:\|([^\[\]\n]{1,200}))?\]\]")
_PICTURE = re.compile(r"\.(?:png|jpe?g|gif|svg|webp|bmp|pdf|mp[34]|webm)$", re.I)
# Names of a programming language between two underscores each, which are no emphasis.
_DUNDER = re.compile(
    r"__(?:[A-Za-z]\w{0,40}?__(?=\.\w|\()|(?:all|author|call|class|dict|doc|enter|eq|exit|file|future|getattr|getitem|hash|"
    r"init|iter|len|main|name|new|next|package|path|post_init|repr|setattr|slots|str|version|FILE|LINE)__)"
)
_FACTOR_BEFORE = re.compile(r"(?:\d|\)|(?:^|[^\w])[A-Za-z])$")
_FACTOR_AFTER = re.compile(r"\*{1,2}(?=\d|\(|[A-Za-z](?!\w))")
_TAG = re.compile(r"<(/?)([A-Za-z][\w-]*)([^>]*?)/?>", re.S)
_TAGS = BLOCKS | UNSEEN | HEADINGS.keys() | frozenset(
    (
        "a abbr acronym b bdi bdo big br button cite code data dfn em font hr i img input ins kbd label map mark math "
        "meter option p picture progress q ruby samp select small span strong sub sup svg td th time tt u var wbr"
    ).split()
)  # fmt: skip
# What hides all that follows where it is not closed.
_HIDING = (UNSEEN - {"-comment"}) | {"dialog", "math", "select", "svg", "textarea"}
_HIDING_TAG = re.compile(rf"<(/?)({'|'.join(_HIDING)})(?=[\s>])")


def read(data: bytes, text_bytes: int) -> Reading:
    """The pieces of a file, after its title where its front matter has one. Raises LoadFailed: not text, too large."""
    decoded = decode(data)
    facts, source = split_front_matter(re.sub(r"\r\n?", "\n", decoded))
    page = _parser().render(_CODE_SPAN.sub(lambda span: _FREE_BAR.sub(_BAR, span[0]), source))
    pieces = pieces_of(LexborHTMLParser(page.replace(_BAR, "|")), text_bytes)
    described = facts.get("description", "")
    if described and not any(described in flat(piece.text) for piece in pieces):
        pieces.insert(0, Piece("paragraph", described))
    return Reading(titled(pieces, facts.get("title", "")), replaced(decoded), facts)


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for plugin in (footnote_plugin, deflist_plugin, tasklists_plugin, admon_plugin):
        parser.use(plugin)
    parser.add_render_rule("footnote_anchor", lambda *_: "")
    parser.inline.ruler.before("link", "wiki_link", _wiki_link)
    parser.inline.ruler.before("emphasis", "no_emphasis", _no_emphasis)
    parser.core.ruler.before("inline", "as_written", _as_written)
    parser.core.ruler.push("as_shown", _as_shown)
    return parser


def _wiki_link(state: StateInline, silent: bool) -> bool:
    """[[page|words]] is shown as its words, an embedded picture as nothing."""
    found = _WIKI_LINK.match(state.src, state.pos) if state.src[state.pos] in "![" else None
    if found is None:
        return False
    if not silent:
        is_picture = found[1] and _PICTURE.search(found[2])
        state.push("text", "", 0).content = "" if is_picture else found[3] or found[2]
    state.pos = found.end()
    return True


def _no_emphasis(state: StateInline, silent: bool) -> bool:
    """__init__.py and 2**10 are written as they are meant."""
    mark = state.src[state.pos]
    found = None
    if mark == "_":
        found = _DUNDER.match(state.src, state.pos)
    elif mark == "*" and _FACTOR_BEFORE.search(state.src[max(0, state.pos - 2) : state.pos]):
        found = _FACTOR_AFTER.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        state.push("text", "", 0).content = found[0]
    state.pos = found.end()
    return True


def _as_written(state: StateCore) -> None:
    """Headings without their attributes; numbers of list items as they are written, unless all are the same."""
    lists: list[list[Token]] = []
    for place, token in enumerate(state.tokens):
        if token.type == "heading_open":
            inline = state.tokens[place + 1]
            inline.content = _HEADING_ATTRIBUTES.sub("", inline.content)
        elif token.type in ("ordered_list_open", "bullet_list_open"):
            lists.append([])
        elif token.type == "list_item_open":
            lists[-1].append(token)
        elif token.type in ("ordered_list_close", "bullet_list_close"):
            items = lists.pop()
            if token.type == "ordered_list_close" and len({item.info for item in items}) > 1:
                for item in items:
                    item.attrSet("value", item.info)


def _as_shown(state: StateCore) -> None:
    """What looks like a tag but is none stays; so do lines of a table without a header. What a tag hides ends with its
    block. Sentences that are indented like code are read as Markdown again."""
    for token in state.tokens:
        if token.type == "code_block" and _is_prose(token.content):
            token.type, token.content = "html_block", _parser().render(token.content)
        elif token.type == "html_block":
            token.content += "".join(f"</{tag}>" for tag in _unclosed(token.content))
        closed = {child.content[2:].rstrip(" >").lower() for child in token.children or () if child.content[:2] == "</"}
        for place, child in enumerate(token.children or ()):
            if child.type == "html_inline" and not _is_tag(child.content, closed):
                child.type = "text"
            elif child.type == "softbreak" and token.content.startswith("|"):
                child.type = "hardbreak"
            elif child.type == "softbreak" and _joins(token.children or (), place):
                child.type, child.content = "text", ""


def _is_prose(indented: str) -> bool:
    """Whether lines that are indented as code is are sentences, as under lists that are indented too little, or a
    picture."""
    if re.fullmatch(r"\s*!\[[^\]]*\]\([^()]*\)\s*", indented):
        return True
    lines = [line for line in indented.splitlines() if line.strip()]
    ends = any(re.search(r"[^\W\d_]{2}[.,;:]$", line) for line in lines)
    signs = re.search(r"[{}=<>$|]|\w\(\)|\s--?\w", indented)
    return ends and not signs and len(indented.split()) >= 5 * len(lines)


def _unclosed(source: str) -> list[str]:
    """The tags in a block of HTML that hide what follows and are not closed in it."""
    counts: Counter[str] = Counter()
    for stroke, tag in _HIDING_TAG.findall(source.lower()):
        counts[tag] += -1 if stroke else 1
    return [tag for tag, count in counts.items() if count > 0]


def _is_tag(words: str, closed: Collection[str]) -> bool:
    """Whether words between angle brackets are a tag of HTML, not a placeholder or a type. `closed`: the tags that are
    closed in the same line."""
    tag = _TAG.fullmatch(words)
    if tag is None:
        return True  # a comment or a declaration
    name, attributes = tag[2].lower(), tag[3].strip()
    if name not in _TAGS or (" " in attributes and "=" not in attributes):
        return False
    return bool(tag[1]) or name not in _HIDING or name in closed


def _joins(line: Sequence[Token], place: int) -> bool:
    """Whether a line ends and the next begins in a script that is written without spaces."""
    if not 0 < place < len(line) - 1:
        return False
    return bool(NO_BLANK.match(line[place - 1].content[-1:]) and NO_BLANK.match(line[place + 1].content[:1]))


def split_front_matter(source: str) -> tuple[dict[str, str], str]:
    """The entries of a file's head between lines of --- or +++, and the source without it."""
    front = _FRONT.match(source)
    head = front[2] or "" if front else ""
    if front is None or head.startswith("\n"):
        return {}, source
    facts: object
    try:
        facts = tomllib.loads(head) if front[1] == "+++" else yaml.load(head, yaml.BaseLoader)  # noqa: S506 # strings alone
    except tomllib.TOMLDecodeError:
        return {}, source
    except (yaml.YAMLError, RecursionError):  # many heads are not YAML for a colon in a title
        facts = dict(_ENTRY.findall(head))
    if not isinstance(facts, dict) or (head.strip() and not facts):
        return {}, source
    said = {str(key): _shown(value) for key, value in facts.items()}
    return {key: value for key, value in said.items() if value}, source[front.end() :]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(_shown, value)))
    return "" if isinstance(value, dict) else flat(str(value))
