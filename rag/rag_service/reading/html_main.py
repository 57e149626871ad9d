"""Which elements of a page stand around its main content: menus, adverts, comments, teasers of other pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
_NEVER_CONTENT = re.compile(r"cookie|consent|gdpr")
_NOTES = re.compile(r"note|admonition|callout|aside|tip|hint|warning")  # asides that documentation is made of
_GENERATED_ID = re.compile(r"section|sect\d|level\d")  # elements whose id is their heading's words
# Letters are counted without spaces. How they were chosen: docs/decisions.md.
_SENTENCE = 60  # letters outside of links from which on a block is text
_SMALL_PAGE = 1000  # letters up to which a page is read as a whole but for its menus
_TOO_LITTLE = 250  # letters: were less to stay, the page is read as a whole
_MOST = 0.6  # share of the page's text from which on a name alone leaves nothing out
_NEARLY_ALL = 0.85
_MOST_LETTERS = 0.8
_CARD = 0.2
_MIXED = 0.3  # share of text in a block of links from which on it is no list of them
_LONG_BUTTON = 20  # letters: a question that unfolds its answer


@dataclass(slots=True)
class _Element:
    """An element that is shown; `above` is the place of the one that holds it. `most`: up to which share of the page's
    text it is taken for something around the content, 0: never. The rest is counted with all that is in it: letters,
    those in links, those in blocks of text, headings, those of them that are links, and signs of the main content."""

    node: LexborNode
    tag: str
    above: int
    most: float
    letters: int = 0
    linked: int = 0
    prose: int = 0
    headings: int = 0
    teasers: int = 0
    titles: int = 0
    is_left_out: bool = False


def boilerplate(tree: LexborHTMLParser) -> set[int]:
    """The `mem_id` of the elements to leave out: of a small page its menus alone, none where hardly anything would
    stay."""
    elements = _elements(tree)
    if not elements:
        return set()
    _count(elements)
    if elements[0].letters < _SMALL_PAGE:
        menus = {one.node.mem_id for one in elements if one.tag == "nav"}
        return menus if sum(one.letters for one in elements if one.tag == "nav") < elements[0].letters else set()
    whole = elements[0].prose
    for place, one in enumerate(elements):
        if elements[one.above].is_left_out:
            one.is_left_out = True
        elif one.prose < one.most * whole and not one.titles and not _is_question(one, elements[one.above]):
            _leave_out(elements, place)
    _leave_out_cards(elements)
    _leave_out_beside(elements, _main(elements))
    if elements[0].letters < _TOO_LITTLE:
        return set()
    return {one.node.mem_id for one in elements if one.is_left_out}


def _elements(tree: LexborHTMLParser) -> list[_Element]:
    """The elements that are shown, each after the one that holds it, with the letters directly in them."""
    names = hidden_names(tree)
    elements: list[_Element] = []
    # A node, the place of what holds it, whether it is in a link and whether in code.
    stack: list[tuple[LexborNode, int, bool, bool]] = [(tree.body, 0, False, False)] if tree.body is not None else []
    while stack:
        node, above, is_linked, is_code = stack.pop()
        tag = node.tag or ""
        if tag == "-text":
            letters = len("".join((node.text_content or "").split()))
            elements[above].letters += letters
            elements[above].linked += letters if is_linked else 0
            continue
        attributes = node.attributes
        if is_hidden(tag, attributes, names):
            continue
        place = len(elements)
        is_code = is_code or tag in ("pre", "code")
        elements.append(_Element(node, tag, above, 0 if is_code or not place else _around(tag, attributes)))
        if is_code or tag == "a":  # neither what is code nor what is on the same page is a link to elsewhere
            is_linked = not is_code and not (attributes.get("href") or "").startswith("#")
        inner = reversed(list(node.iter(include_text=True)))
        stack.extend((child, place, is_linked, is_code) for child in inner)
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
    return 0.8 if _NEVER_CONTENT.search(names) else _MOST if _AROUND_NAMES.search(names) else 0


def _is_question(one: _Element, above: _Element) -> bool:
    """Whether a button is a heading that unfolds what it is about."""
    return one.tag == "button" and (one.letters >= _LONG_BUTTON or above.tag in HEADINGS)


def _count(elements: Sequence[_Element]) -> None:
    """Adds up from the innermost. The letters of elements in a line count for the block that they stand in."""
    flow = [(one.letters, one.linked) for one in elements]
    articles = sum(one.tag == "article" for one in elements)
    for place in range(len(elements) - 1, -1, -1):
        one, (letters, linked) = elements[place], flow[place]
        above = elements[one.above]
        if one.tag in HEADINGS:
            one.headings += 1
            one.teasers += one.tag != "h1" and linked > 0.9 * letters > 9
            one.titles += one.tag == "h1" and linked < 0.5 * letters
        elif one.tag in BLOCKS or one.tag in ("td", "th"):
            one.prose += letters - linked if letters - linked >= _SENTENCE else 0
            one.titles += one.tag == "main" or (one.tag == "article" and articles == 1)
        elif place:
            flow[one.above] = (flow[one.above][0] + letters, flow[one.above][1] + linked)
        if place:
            above.letters += one.letters
            above.linked += one.linked
            above.prose += one.prose
            above.headings += one.headings
            above.teasers += one.teasers
            above.titles += one.titles


def _leave_out(elements: Sequence[_Element], place: int) -> None:
    """Leaves an element out and takes it off the counts of those that hold it."""
    one = elements[place]
    one.is_left_out = True
    for above in _holding(elements, place):
        elements[above].letters -= one.letters
        elements[above].linked -= one.linked
        elements[above].prose -= one.prose
        elements[above].teasers -= one.teasers


def _holding(elements: Sequence[_Element], place: int) -> list[int]:
    """The places of the elements that hold this one, from the innermost."""
    holding: list[int] = []
    while place:
        place = elements[place].above
        holding.append(place)
    return holding


def _leave_out_cards(elements: Sequence[_Element]) -> None:
    """Leaves out three neighbours or more that each hold one heading, a link, and little text: they are about other
    pages."""
    whole = elements[0].prose
    cards: dict[int, list[int]] = {}
    for place, one in enumerate(elements):
        if one.teasers == 1 < elements[one.above].teasers and not one.is_left_out and one.prose < _CARD * whole:
            cards.setdefault(one.above, []).append(place)
    for places in cards.values():
        for place in places if len(places) > 2 else ():
            _leave_out(elements, place)


def _main(elements: Sequence[_Element]) -> int:
    """The innermost element that holds nearly all of the text, and most of what is no text, such as code."""
    fullest: dict[int, int] = {}  # place -> that of its part with the most text
    for place, one in enumerate(elements[1:], 1):
        if (
            one.tag in _CONTAINERS
            and not one.is_left_out
            and (one.above not in fullest or one.prose > elements[fullest[one.above]].prose)
        ):
            fullest[one.above] = place
    place = 0
    while place in fullest:
        one, part = elements[place], elements[fullest[place]]
        if part.prose < _NEARLY_ALL * one.prose or part.letters - part.linked < _MOST_LETTERS * (
            one.letters - one.linked
        ):
            break
        place = fullest[place]
    return place


def _leave_out_beside(elements: Sequence[_Element], main: int) -> None:
    """Leaves out what stands outside of `main`, but not the page's title before it and text between the two; and
    what is mostly links, and pictures without words around."""
    title = next((place for place, one in enumerate(elements[:main]) if one.tag == "h1" and not one.is_left_out), main)
    holding_main = set(_holding(elements, main))
    holding_title = {title, *_holding(elements, title)}
    for place, one in enumerate(elements):
        above = elements[one.above]
        if place == main or place in holding_main or one.is_left_out:
            continue
        if above.is_left_out:
            one.is_left_out = True
            continue
        is_beside = one.above in holding_main and place not in holding_title
        is_linked = one.tag in BLOCKS and one.tag != "p" and one.linked > one.letters / 2 and not one.headings
        is_picture = one.tag == "img" and not above.letters
        if (
            is_picture
            or (is_beside and not (title < place < main and one.prose))
            or (is_linked and one.prose < _MIXED * one.letters)
        ):
            _leave_out(elements, place)
