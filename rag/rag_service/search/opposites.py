"""Words that make two sentences say different things though all others are the same."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rag_service.language import is_content, stem

NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
}
# "One" is seldom a number.
_NUMBER = re.compile(rf"\d+(?:[-.,:/]\d+)*|\b(?:{'|'.join([*NUMBER_WORDS][2:])})\b", re.IGNORECASE)
_BEFORE = re.compile(r"([^\W\d_]+)([\W_]{0,2})$")
_AFTER = re.compile(r"[\W_]{0,2}([^\W\d_]+)")
_LONGEST = 40
_MARK = re.compile(r"[-.,:/]")
# Groups of words on either side of a bar: each is the contrary of each on the other side.
_CONTRARIES = """
first | last; before prior | after; north northern | south southern; east eastern | west western; more greater | less
fewer; most | least fewest; many | few; high tall | low; higher | lower; highest | lowest; large big great | small
little; larger bigger | smaller; largest biggest | smallest; long | short; longer | shorter; longest | shortest; old
ancient | new young modern; older | newer younger; oldest | newest youngest; early earlier | late later; earliest |
latest; begin start open | end stop finish close; began started opened | ended stopped finished closed; increase rise
grow expand | decrease fall shrink; increased rose grew expanded | decreased fell shrank; win | lose; won gained |
lost; victory | defeat; accept | reject refuse; accepted | rejected refused; allow permit | forbid prevent prohibit;
allowed permitted | forbidden prohibited; must required mandatory | optional voluntary; agree | disagree; support |
oppose; supported | opposed; build create | destroy; built created | destroyed; arrive enter join | leave; arrived
entered joined | left; birth | death; born lived | died; live | die; alive | dead; buy | sell; bought | sold; import |
export; man male boy | woman female girl; men | women; father | mother; son | daughter; brother | sister; king |
queen; husband | wife; friend ally | enemy; allies friends | enemies; success | failure; succeed | fail; succeeded |
failed; strong | weak; stronger | weaker; rich | poor; hot warm | cold cool; up | down; above | below; over | under;
inside within | outside; internal | external; upper top | lower bottom; front | back rear; left | right; forward |
backward; advance | retreat; major | minor; majority | minority; maximum | minimum; positive | negative; good | bad;
better | worse; best | worst; easy simple | difficult hard complex; fast rapid quick | slow; faster | slower; near |
far; same similar | different; public | private; primary | secondary; ancestor | descendant; predecessor | successor;
give | take; gave | took; add | remove; added | removed; attack | defend; attacked | defended; offensive | defensive;
war | peace; single | multiple double; common frequent | rare; always | never sometimes; all every | none; include |
exclude; included | excluded; united together | divided separate; temporary | permanent; domestic | foreign; urban |
rural; dry | wet; light | dark heavy; thick | thin; wide | narrow; deep | shallow; full | empty; true | false; even |
odd; finite | infinite; winter | summer; spring | autumn; morning | evening; day | night; past | future; input |
output; cause | prevent; improve | worsen; strengthen | weaken; encourage | discourage; teacher | student; parent |
child; lend | borrow; appear | disappear; original initial | final; on | off
"""


def _paired(table: str) -> dict[str, frozenset[str]]:
    pairs: dict[str, frozenset[str]] = {}
    for line in table.replace("\n", " ").split(";"):
        one, other = (frozenset(side.split()) for side in line.split("|"))
        for words, contraries in ((one, other), (other, one)):
            pairs.update({word: pairs.get(word, frozenset()) | contraries for word in words})
    return pairs


CONTRARIES = _paired(_CONTRARIES)
_DENYING_PREFIXES = ("un", "in", "im", "ir", "il", "dis", "non", "anti")


def contrary(one: str, other: str) -> bool:
    """Whether two words, in lower case, are each other's contrary, such as "before" and "after", "legal" and
    "illegal"."""
    return other in CONTRARIES.get(one, ()) or stem(other) in denials(one)


def denials(word: str) -> set[str]:
    """The stems of a word with a denying prefix, or without the one it has."""
    bare = [word.removeprefix(prefix) for prefix in _DENYING_PREFIXES if word.startswith(prefix)]
    longer = [prefix + word for prefix in _DENYING_PREFIXES] if len(word) > 3 else []
    return {stem(one) for one in (*bare, *longer) if len(one) > 3}


def number(word: str) -> str | None:
    """A word with a digit, such as "12" or "p4", the digits of a small number in words; None of another word."""
    return word if any(map(str.isdigit, word)) else NUMBER_WORDS.get(word)


@dataclass(frozen=True)
class Numbered:
    """A number in a text, `text[start:end]`, in digits as `value`, and of which kinds it is: what may stand before or
    after it ("valve #", "p#", "# bar"), and how it is put together ("#-#-#")."""

    value: str
    start: int
    end: int
    kinds: frozenset[str]


def numbered(text: str, language: str = "en") -> list[Numbered]:
    """The numbers of a text that count or name something, as in "valve 17", "17 bar", "P4", "EN 1090", "1.0.3"."""
    return [one for found in _NUMBER.finditer(text) if (one := _numbered(text, found, language)).kinds]


def _numbered(text: str, found: re.Match[str], language: str) -> Numbered:
    kinds = set()
    before = _BEFORE.search(text, max(0, found.start() - _LONGEST), found.start())
    if before and (not before[2] or "-" in before[2] or before[1].isupper() or is_content(before[1].lower(), language)):
        kinds.add(f"{stem(before[1].lower(), language)} #")
    after = _AFTER.match(text, found.end(), found.end() + _LONGEST)
    if after and is_content(after[1].lower(), language):
        kinds.add(f"# {stem(after[1].lower(), language)}")
    value = number(found[0].lower()) or ""
    if len(_MARK.findall(value)) > 1:
        kinds.add(re.sub(r"\d+", "#", value))
    value = re.sub(r",(?=\d{3}\b)", "", value).lstrip("0") or "0"
    return Numbered(value, *found.span(), frozenset(kinds))
