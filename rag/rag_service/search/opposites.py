"""Words that make two sentences say different things though all others are the same."""

from __future__ import annotations

from rag_service.language import stem

NEGATIONS = frozenset(
    "no not never none nothing nobody neither nor without cannot hardly unless except isn wasn aren weren don didn "
    "doesn won wouldn couldn shouldn mustn hasn haven hadn "
    "nicht kein keine keinen nie ohne ne pas jamais sans sin nunca ningún non mai senza".split()
)
NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
}
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
    """A number's digits, also of a small one in words; None of another word."""
    return word if word[0].isdigit() else NUMBER_WORDS.get(word)
