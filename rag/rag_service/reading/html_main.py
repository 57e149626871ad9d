"""Which elements of a page stand around its main content: menus, adverts, comments, teasers of other pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser, LexborNode

from rag_service.reading.html_pieces import BLOCKS, HEADINGS, Attributes, hidden_names, is_hidden

_AROUND_TAGS = frozenset("aside button dialog footer form input menu nav select textarea".split())
_AROUND_ROLES = frozenset(
    "alert alertdialog banner complementary contentinfo dialog menu menubar navigation search toolbar".split()
)
_AROUND_NAMES = re.compile(
    r"(?:^|[\W_])(?:ad|ads|advert\w*|also|author-?(?:bio|box|info)|banner|breadcrumbs?|byline|captions?|carousel|"
    r"comments?|commentlist|consent|cookies?|copyright|credits?|disqus\w*|footer|gallery|gdpr|headline-list|"
    r"jp-relatedposts|latest|lightbox|login|menu|meta|modal|more-?(?:from|stories|news)|nav|navbar|navigation|"
    r"newsletter|next|outbrain|overlay|pager|pagination|popular|popup|prev|previous|promo\w*|recent|recirc\w*|"
    r"recommend\w*|related\w*|respond|shar(?:e|es|ing|edaddy)|sidebar|signup|skip|slideshow|social\w*|sponsor\w*|"
    r"subscri\w*|taboola\w*|tags|teaser\w*|timestamp|toolbar|trending|(?<!elementor-)widget)(?:$|[\W_])"
)
# What may hold the whole main content; tables do that on old pages.
_CONTAINERS = frozenset("article center div form main section table tbody td tr".split())
_NOTES = re.compile(r"note|admonition|callout|aside|tip|hint|warning")  # asides that documentation is made of
_GENERATED_ID = re.compile(r"section|sect\d|level\d")  # elements whose id is their heading's words
# Letters are counted without spaces. How they were chosen: docs/decisions/reading.md.
_SENTENCE = 60  # letters outside of links from which on a block is text
_SMALL_PAGE = 1000  # letters up to which a page is read as a whole but for its menus
_TOO_LITTLE = 250  # letters: were less to stay, the page is read as a whole
_MOST = 0.6  # share of the page's text from which on a name alone leaves nothing out
_NEARLY_ALL = 0.85
_MOST_LETTERS = 0.8
_CARD = 0.2
_MIXED = 0.3  # share of text in a block of links from which on it is no list of them
_LONG_BUTTON = 20  # letters: a question that unfolds its answer


@dataclass(slots=True, eq=False)
class _Element:
    """An element that is shown. `most`: up to which share of the page's text it is taken for something around the
    content, 0: never. `letters` and those in links, `linked`, are first those directly in it; `_count` makes them those
    of all that is in it and not left out, and adds letters in blocks of text, headings, those of them that are links,
    and signs of the main content."""

    node: LexborNode
    tag: str
    above: _Element | None
    most: float
    own: int = 0
    own_linked: int = 0
    letters: int = 0
    linked: int = 0
    prose: int = 0
    headings: int = 0
    teasers: int = 0
    titles: int = 0
    is_left_out: bool = False

    def holding(self) -> Iterator[_Element]:
        """The elements that hold this one, from the innermost."""
        above = self.above
        while above is not None:
            yield above
            above = above.above


def boilerplate(tree: LexborHTMLParser) -> set[int]:
    """The `mem_id` of the elements to leave out: of a small page its menus alone, none where hardly anything would
    stay."""
    elements = _elements(tree)
    if not elements:
        return set()
    page = elements[0]
    _count(elements)
    whole = page.prose
    is_small = page.letters < _SMALL_PAGE
    for one in elements:
        is_around = one.prose < one.most * whole and not one.titles and not _is_question(one)
        one.is_left_out = one.tag == "nav" if is_small else is_around
    _count(elements)
    if not is_small:
        _leave_out_cards(elements, _CARD * whole)
        _count(elements)
        _leave_out_beside(elements, _main(elements))
        _count(elements)
    if page.letters < (1 if is_small else _TOO_LITTLE):
        return set()
    return {one.node.mem_id for one in elements if one.is_left_out}


def _elements(tree: LexborHTMLParser) -> list[_Element]:
    """The elements that are shown, each after its parent, with the letters directly in them."""
    names = hidden_names(tree)
    elements: list[_Element] = []
    # A node, what holds it, whether it is in a link and whether in code.
    stack: list[tuple[LexborNode, _Element | None, bool, bool]] = []
    if tree.body is not None:
        stack.append((tree.body, None, False, False))
    while stack:
        node, above, is_linked, is_code = stack.pop()
        tag = node.tag or ""
        if tag == "-text" and above is not None:
            letters = len("".join((node.text_content or "").split()))
            above.own += letters
            above.own_linked += letters if is_linked else 0
            continue
        attributes = node.attributes
        if is_hidden(tag, attributes, names):
            continue
        is_code = is_code or tag in ("pre", "code")
        one = _Element(node, tag, above, 0 if is_code or above is None else _around(tag, attributes))
        elements.append(one)
        if is_code or tag == "a":  # neither what is code nor what is on the same page is a link to elsewhere
            is_linked = not is_code and not (attributes.get("href") or "").startswith("#")
        stack.extend((child, one, is_linked, is_code) for child in reversed(list(node.iter(include_text=True))))
    return elements


def _around(tag: str, attributes: Attributes) -> float:
    """Up to which share of the page's text an element of this kind and these names is no content; 0: it may be."""
    said, role = (attributes.get("class") or "").lower(), attributes.get("role") or ""
    if tag == "aside" and (_NOTES.search(said) or role.startswith(("note", "doc-"))):
        return 0
    if tag in _AROUND_TAGS or role in _AROUND_ROLES or attributes.get("aria-hidden") == "true":
        return 0.8
    names = attributes.get("class") or ""
    if tag not in ("section", *HEADINGS) and not _GENERATED_ID.search(said):
        names += f" {attributes.get('id') or ''}"
    if len(names) < 2 or tag in ("article", "main"):
        return 0
    names = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", names).lower()
    return _MOST if _AROUND_NAMES.search(names) else 0


def _is_question(one: _Element) -> bool:
    """Whether a button is a heading that unfolds what it is about."""
    in_heading = one.above is not None and one.above.tag in HEADINGS
    return one.tag == "button" and (one.letters >= _LONG_BUTTON or in_heading)


def _count(elements: Sequence[_Element]) -> None:
    """Adds up from the innermost. The letters of elements in a line count for the block that they stand in."""
    flow: dict[_Element, tuple[int, int]] = {}
    for one in elements:
        one.is_left_out |= one.above is not None and one.above.is_left_out
        one.letters, one.linked = flow[one] = one.own, one.own_linked
        one.prose = one.headings = one.teasers = one.titles = 0
    articles = sum(one.tag == "article" for one in elements)
    for one in reversed(elements):
        (letters, linked), above = flow[one], one.above
        if one.tag in HEADINGS:
            one.headings += 1
            one.teasers += one.tag != "h1" and linked > 0.9 * letters > 9
            one.titles += one.tag == "h1" and linked < 0.5 * letters
        elif one.tag in BLOCKS or one.tag in ("td", "th"):
            one.prose += letters - linked if letters - linked >= _SENTENCE else 0
            one.titles += one.tag == "main" or (one.tag == "article" and articles == 1)
        elif above:
            flow[above] = (flow[above][0] + letters, flow[above][1] + linked)
        if above and not one.is_left_out:
            above.letters += one.letters
            above.linked += one.linked
            above.prose += one.prose
            above.headings += one.headings
            above.teasers += one.teasers
            above.titles += one.titles


def _leave_out_cards(elements: Sequence[_Element], most: float) -> None:
    """Leaves out three neighbours or more that each hold one heading, a link, and little text: they are about other
    pages."""
    cards: dict[_Element, list[_Element]] = {}
    for one in elements:
        if one.above and one.teasers == 1 < one.above.teasers and not one.is_left_out and one.prose < most:
            cards.setdefault(one.above, []).append(one)
    for neighbours in cards.values():
        for one in neighbours if len(neighbours) > 2 else ():
            one.is_left_out = True


def _main(elements: Sequence[_Element]) -> _Element:
    """The innermost element with nearly all of the text, and most of the other content, such as code."""
    fullest: dict[_Element, _Element] = {}  # the part of an element with the most text
    for one in elements[1:]:
        if one.above and one.tag in _CONTAINERS and not one.is_left_out:
            fullest[one.above] = max(fullest.get(one.above, one), one, key=lambda part: part.prose)
    main = elements[0]
    while part := fullest.get(main):
        others = main.letters - main.linked
        if part.prose < _NEARLY_ALL * main.prose or part.letters - part.linked < _MOST_LETTERS * others:
            break
        main = part
    return main


def _leave_out_beside(elements: Sequence[_Element], main: _Element) -> None:
    """Leaves out what stands outside of `main`, but not the page's title before it and text between the two; and
    what is mostly links, and pictures without words around."""
    before = elements[: elements.index(main)]
    title = next((one for one in before if one.tag == "h1" and not one.is_left_out), main)
    between = set(before[before.index(title) + 1 :] if title in before else ())
    holding_main, kept = set(main.holding()), {main, title, *main.holding(), *title.holding()}
    for one in elements:
        if one in (main, *holding_main) or one.above is None or one.is_left_out:
            continue
        is_beside = one.above in holding_main and one not in kept and not (one in between and one.prose)
        is_linked = one.tag in BLOCKS and one.tag != "p" and one.linked > one.letters / 2 and not one.headings
        is_picture = one.tag == "img" and not one.above.letters
        one.is_left_out = is_picture or is_beside or (is_linked and one.prose < _MIXED * one.letters)
