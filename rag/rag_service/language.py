"""Words and sentences, as far as finding and quoting needs them. Pure functions on text.

A language is named by its two letters (ISO 639-1). An unknown one is treated as a language without stop words and
endings.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

# Scripts that write no blank between words: kana, Han, Thai, Lao, Burmese, Khmer.
_UNSPACED = "\u3041-\u3096\u30a1-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
_UNSPACED += "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u109f\u1780-\u17d3"
# Marks that belong to the letter before them, which `\w` leaves out: accents, points, vowel signs, joiners.
_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0970-\u0dff\u200c\u200d"
_WORD = re.compile(rf"([{_UNSPACED}]+)|[^\W{_UNSPACED}]+(?:[{_MARKS}]+[^\W{_UNSPACED}]*)*")
_PARAGRAPH_GAP = re.compile(r"\n\s*\n")

# A sentence may end at a mark with closing quotes and brackets, before white space or after a mark that needs none.
_SENTENCE_GAP = re.compile(r"[.!?…؟۔।॥։](?:\s?[\"'”’“»)\]])*\s+|[。！？｡][\"'”’」』）)\]]*\s*|\n\s*(?=[-*•|]\s)")
_OPENING = re.compile(r"(?:[\"'“‘„«‹(\[¿¡]\s?|[-–—]\s)*")
_ROW = re.compile(r"^(?![-*•] )[^\n|]*\S \| [^\n]*$", re.MULTILINE)
# What stands before a full stop that ends no sentence: whatever follows, and where a number follows.
_LAST_WORD = re.compile(r"[^\s(\[\"'“„«]+$")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_ABBREVIATIONS = frozenset(
    (
        "cf vs approx ca al Jr Sr Inc Ltd Co Dr Mr Mrs Ms Prof St Ste Rev Gen Col Capt Lt Sen Rep Gov Hon Mt resp "
        "bzw vgl Hl ggf evtl inkl sog Mio Mrd Tsd Hr Fr Str Mme Mlle env av Sra Srta Dra Ud Uds sig dott avv Ing Mgr "
        "dhr mevr bijv np tj tzw ok wg im św ul např tzv sv bl dvs см ул им тыс млн млрд руб напр"
    ).split()
)
_BEFORE_NUMBER = frozenset(
    "No Nos Nr nr Fig Figs fig p pp Vol vol Art art Sec sec Ch Eq Tab Abb Abs S núm pág č str рис стр табл гл".split()
)
_ORDINAL = re.compile(r"\d{1,2}")
_WITH_ORDINALS = frozenset(("de", "da", "no", "fi", "hu", "tr", "cs", "sk", "et", "pl"))

# The words that carry no subject; a question's other words are what a passage must speak of. The lists are our own.
_FUNCTION_WORDS = {
    "en": "s d m ll re ve t n't a about after all also am an and any are as at be been before being between but by can "
    "could did do does doing down during each for from had has have having he her here hers him his how i if in into "
    "is it its itself just me more most my now of off on once only or other our out over own same she should so some "
    "such than that the their theirs them then there these they this those through to too under until up us very was "
    "we were what when where which while who whom whose why will with would you your yours",
    "de": "aber als also am an auch auf aus bei beim bis da damit dann das dass daß dein dem den denn der des dessen "
    "die dies diese diesem diesen dieser dieses doch dort du durch ein eine einem einen einer eines er es etwa euch "
    "für gegen hab habe haben hat hatte hatten hier ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in ins ist ja jede "
    "jedem jeden jeder jedes jetzt kann können konnte man mehr mein mich mir mit muss müssen nach noch nun nur ob oder "
    "sehr sein seine seinem seinen seiner sich sie sind so soll sollte über um und uns unser unter vom von vor war "
    "waren warum was weil welche welchem welchen welcher welches wenn wer werden wie wieder will wir wird wo wurde "
    "wurden zu zum zur zwischen",
    "fr": "à afin ai ainsi alors après au aucuns aussi autre aux avait avant avec avoir ça car ce ceci cela ces cet "
    "cette ceux chaque chez comme comment d dans de des donc dont du elle elles en encore entre est et étaient était "
    "étant été être eux fait il ils j je l la le les leur leurs lors lui m ma mais me même mes moi mon nos notre nous "
    "on ont ou où par parce peut plus pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa se selon ses "
    "si son sont sous sur t ta te tes toi ton tous tout toute toutes très tu un une vers vos votre vous y",
    "es": "a al algo ante antes aquel aquella así aún aunque cada como cómo con cual cuál cuales cuando cuándo cuanto "
    "de del desde donde dónde durante e el él ella ellas ellos en entre era eran es esa esas ese eso esos esta está "
    "estaba están estas este esto estos fue fueron ha había habían haber han hasta hay la las le les lo los más me mi "
    "mis mucho muy nos nosotros o os otra otro para pero por porque pues que qué quien quién se sea según ser si sí "
    "sido sobre son su sus también tan te tiene todo todos tu un una unas uno unos y ya yo",
    "it": "a ad agli ai al alla alle allo anche ancora c che chi ci come con cosa cui d da dagli dai dal dalla dalle "
    "degli dei del dell della delle dello di dove e è ed era erano essere fra gli ha hai hanno ho i il in io l la le "
    "lei li lo loro lui ma mi mia mio nei nel nell nella nelle o ogni per perché più poi può qual quale quali quando "
    "quanto quella quelle quelli quello questa queste questi questo s se sei si sia sono sta stata stati stato su sua "
    "sue sugli sui sul sull sulla suo suoi ti tra tu tutti tutto un una uno vi voi",
    "pt": "a ao aos aquela aquele as às até com como da das de dela dele depois do dos e é ela elas ele eles em entre "
    "era eram essa essas esse esses esta está estas estava este estes eu foi foram há isso isto já lhe lhes mais mas "
    "me mesmo meu minha muito na nas no nos nós num numa o onde os ou para pela pelas pelo pelos por porque "
    "qual quais quando quanto que quem são se seja ser seu seus só sobre sua suas também te tem têm tinha todo todos "
    "tu um uma umas uns você vocês",
    "nl": "aan al als ben bij bent daar dan dat de deze die dit doen door dus een en er had hadden heb hebben heeft "
    "hem het hier hij hoe hun ik in is je jij kan kon kunnen maar me meer men met mij mijn moet naar nog nu of om "
    "omdat onder ons ook op over te tegen toch toen tot tussen u uit uw van veel voor waar waarom wanneer want waren "
    "was wat we wel welke werd werden wie wij wil worden wordt zal ze zei zich zij zijn zo zou zouden",
    "sv": "alla allt att av blev bli blir då de dem den denna deras dess dessa det detta du efter eller en er ett för "
    "från genom ha hade han hans har här hennes hon honom hur i jag ju kan kunde man med mellan men mer mig min mitt "
    "mot mycket när nu och också om oss på sådan samma sedan sig sin sina sitt ska skulle så till under upp ut vad "
    "var vara varför varit vem vi vid vilka vilken vilket är än åt över",
    "da": "af alle at blev blive bliver da de dem den denne der deres det dette dig din disse du efter eller en end er "
    "et for fra ham han hans har havde hende hendes her hos hun hvad hvem hvilke hvilken hvilket hvor hvordan hvorfor "
    "hvornår i jeg jo kan kunne man med mellem men mere mig min mod når nu og også om op os over på sig sin sine sit "
    "skal skulle så som til ud under var ved vi vil ville være været",
    "no": "alle at av ble bli blir da de dem den denne deres det dette disse du eller en enn er et etter for fra før "
    "ha hadde han hans har hans henne hennes her hun hva hvem hvilke hvilken hvilket hvor hvordan hvorfor i jeg kan "
    "kunne man med mellom men mer mot nå når og også om opp oss over på seg sin sine sitt skal skulle slik så som til "
    "under ut var ved vi vil ville være vært å",
    "fi": "ennen että hän he hänen heidän hyvin ja jo joka jonka jos jossa jota jotka kanssa kuin kuinka kuka kun "
    "kuten me mikä miksi milloin minä missä miten mitä mutta myös ne niiden niin niitä nyt oli olivat olla ollut "
    "on ovat sekä se sen siinä sitä tai tämä tämän te tuo vain vielä voi",
    "pl": "a aby albo ale bardzo bardziej bo był była było były być by ci co czy dla do go i ich im inne innych ja jak "
    "jaka jaki jakie jako jednak jego jej jest jeszcze już każdy która które którego której który których którzy kto "
    "lub ma mi między może mu my na nad o od on ona one oni oraz po pod podczas poza przed przez przy są się swoje ta "
    "tak także tam te tego tej ten to tu tych tylko tym tę ty u w we więc wszystkie z za ze że żeby gdzie kiedy gdy",
    "cs": "a aby ale až bude by byl byla byli bylo být co či do ho i jak jaké jaký jako je jeho její jejich jen "
    "ještě již jsem jsme jsou k kam každý kde kdo kdy když ke která které který kteří má mají mezi mi mu na nad nebo o "
    "od on ona oni ono po pod podle pokud pouze pro proč proto protože před přes při s se si svůj ta tak také takže "
    "tam tato te tedy ten této tím to toho tom tomu toto tu tuto ty u už v ve však z za ze že",
    "hu": "a abban ahogy aki akik amely ami amit az azok azt azonban be csak de e egy egyes el és ez ezek ezen ezt fel "
    "ha hanem hogy hogyan hol is itt ki kell kik le lehet lesz lett majd meg melyik mely mert mi miért mikor mint "
    "mit még már nagyon ők ő olyan ott pedig s szerint után vagy van vannak való volt voltak által át így úgy",
    "ro": "a acea aceasta această aceste acest acesta acestea acestei acestui ai al ale am ar are as au avea ca că cât "
    "când care ce cea cei cel cele celor cine cu cum da dar de deci despre din după ea ei el ele era erau este eu fi "
    "fie fiind fost i iar în îl îi între la le lor lui mai mult o ori pe pentru prin sa să sale sau se și spre "
    "sub sunt tot un unde unei unor unui va",
    "tr": "ama ancak ara aynı bana bazı ben beri bir bu bunu bunun çok çünkü da daha de diye en gibi göre hangi hem "
    "her için ile ise kadar ki kim mi mu mı mü nasıl ne neden nerede olan olarak oldu olduğu olduğunu olup ona "
    "onlar onu onun önce o sen siz sonra şu tarafından tüm üzere var ve veya ya yani zaman",
    "ru": "а бы был была были было быть в вам вас весь во вот все всё всех вы где да для до его ее её ей ему если "
    "есть еще ещё же за и из или им их к как какая какие какой когда который которая которого которое которой которые "
    "которых кто ли меня мне мой мы на над нам нас него нее неё них но о об однако он она они оно от очень по под при "
    "про с сам свои свой себя со так также там те тем то того тоже той только том тот ты у уже чего чем что чтобы эта "
    "эти это этого этой этом этот я",
    "uk": "а але або б би був була були було бути в вам вас ви від він вона вони воно все всіх де для до ж за з "
    "зі і її із інших їх й його йому коли кого кожен лише має ми може на над нас ним них о об од окрім під після по "
    "при про свої свій себе се тим то того той тому та так також там те ти тільки у хто це цей ця ці цього цієї "
    "чи що щоб є я як яка який яких які",
    "bg": "а аз ако беше би бил била били било в вас ви все всички във вие го да до е за защо и из или им има "
    "как каква какво какъв като когато кога кой която които което ли между ми мен му на над най нас него нея ни ние но "
    "о от още по под при през с са само се след си съм със т тази така такъв там те тези ти то това този той тук тя "
    "тях ще",
    "el": "αλλά αν από αυτά αυτές αυτή αυτό αυτοί αυτός για είναι είχε είχαν εκεί ένα έναν ένας ενός εγώ εδώ επίσης "
    "έχει έχουν η ή ήταν θα και κατά κάθε με μετά μέχρι μια μία μιας μας μπορεί να ο οι όμως όπου όπως όταν ότι ό όσο "
    "πιο ποια ποιο ποιος πολύ πότε που πού προς πως πώς σαν σας σε στα στη στην στις στο στον στους τα τη την της τι "
    "τις το τον του τους των ως",
}
_STOPWORDS = {language: frozenset(listed.split()) for language, listed in _FUNCTION_WORDS.items()}
_LANGUAGES_OF = {
    word: [one for one in _STOPWORDS if word in _STOPWORDS[one]] for word in set().union(*_STOPWORDS.values())
}

# Words that turn a statement round. They are no subject to search for, but a sentence supports another only if both
# have them or neither.
_NEGATIONS = {
    "en": "not no never none nor neither nobody nothing nowhere without cannot n't hardly unless except",
    "de": "nicht kein keine keinem keinen keiner keines nie niemals niemand nichts nirgends ohne weder",
    "fr": "ne pas non jamais aucun aucune rien sans ni",
    "es": "no nunca jamás ningún ninguna ninguno nadie nada sin tampoco ni",
    "it": "non no nessun nessuna nessuno niente nulla senza né",
    "pt": "não nunca jamais nenhum nenhuma ninguém nada sem nem",
    "nl": "niet geen nooit niemand niets zonder",
    "sv": "inte ej aldrig ingen inget inga utan varken",
    "da": "ikke aldrig ingen ingenting intet uden hverken",
    "no": "ikke aldri ingen ingenting intet uten verken",
    "fi": "ei eivät älä koskaan ilman",
    "pl": "nie nigdy nikt żaden żadna żadne bez ani",
    "cs": "ne nic není nejsou nikdy nikdo žádný žádná žádné bez ani",
    "hu": "nem nincs soha senki semmi nélkül",
    "ro": "nu niciodată nimeni nimic fără nici",
    "tr": "değil yok asla hiç hiçbir",
    "ru": "не нет ни без никогда никто ничего нельзя",
    "uk": "не ні ані без немає ніколи ніхто нічого",
    "bg": "не няма без никога никой нищо",
    "el": "δεν δε μην μη όχι ποτέ κανείς κανένας τίποτα χωρίς ούτε",
    "ar": "لا لم لن ليس بدون",
    "he": "לא אין בלי",
    "hi": "नहीं",
}
_NEGATIONS_OF = {language: frozenset(listed.split()) for language, listed in _NEGATIONS.items()}
NEGATIONS = frozenset().union(*_NEGATIONS_OF.values())

# Names of the Snowball stemmers.
_STEMMERS = {
    "ar": "arabic", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "fi": "finnish", "fr": "french", "hi": "hindi", "hu": "hungarian", "it": "italian", "nl": "dutch",
    "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish",
    "tr": "turkish",
}  # fmt: skip

# Scripts that tell the language; the first that makes up a tenth of the letters.
_SCRIPTS = {
    "ja": re.compile("[\u3041-\u30ff]"), "ko": re.compile("[\uac00-\ud7a3]"), "zh": re.compile("[\u4e00-\u9fff]"),
    "th": re.compile("[\u0e01-\u0e3a]"), "ar": re.compile("[\u0620-\u064a]"), "he": re.compile("[\u05d0-\u05ea]"),
    "hi": re.compile("[\u0900-\u0963]"),
}  # fmt: skip
_ALPHABETS = {"ru": re.compile("[\u0400-\u04ff]"), "el": re.compile("[\u0370-\u03ff]")}
_OF_ALPHABETS = {"ru": "ru", "uk": "ru", "bg": "ru", "el": "el"}
_SAMPLE = 20_000


def language_of(text: str, default: str = "en") -> str:
    """The language of most of a text's opening, by its script or its function words; `default` where they do not
    tell."""
    sample = text[:_SAMPLE]
    letters = max(sum(map(str.isalpha, sample)), 1)
    for language, script in _SCRIPTS.items():
        if 10 * len(script.findall(sample)) >= letters:
            return language
    alphabet = next((one for one, script in _ALPHABETS.items() if 2 * len(script.findall(sample)) >= letters), "")
    shares = {one: share for one, share in function_words(sample).items() if _OF_ALPHABETS.get(one, "") == alphabet}
    best = max(shares, key=lambda one: (shares[one], one == default))
    return best if shares[best] > 0.06 else alphabet or default


def function_words(text: str) -> dict[str, float]:
    """For each language of an alphabet the share of its function words among a text's words. Longer ones tell more
    than single letters do, which count a fifth."""
    counts = Counter(words(text))
    shares = dict.fromkeys(_STOPWORDS, 0.0)
    for word, count in counts.items():
        for language in _LANGUAGES_OF.get(word, ()):
            shares[language] += count * (1 if len(word) > 1 else 0.2) / counts.total()
    return shares


def words(text: str, language: str = "en") -> list[str]:
    """The words of a text in lower case, without punctuation. Where a script has no blanks between words, each two
    neighbouring characters are one."""
    return [word for word, _, _ in word_spans(text, language)]


def word_spans(text: str, language: str = "en") -> list[tuple[str, int, int]]:
    """Each word as in `words`, with its start and end in the text."""
    found: list[tuple[str, int, int]] = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        word = match[0]
        if match[1] and end - start > 2:
            found += [(word[at : at + 2], start + at, start + at + 2) for at in range(end - start - 1)]
        elif word == "t" and found and text[start - 2 : start] in ("n'", "n’") and found[-1][2] == start - 1:
            found[-1:] = [*_without_n(found[-1]), ("n't", start - 2, end)]  # the "not" of "isn't"
        else:
            found.append((word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).lower(), start, end))
    return found


def _without_n(span: tuple[str, int, int]) -> list[tuple[str, int, int]]:
    word, start, end = span
    return [(word[:-1], start, end - 1)] if len(word) > 1 else []


@lru_cache(maxsize=65_536)
def stem(word: str, language: str = "en") -> str:
    """A word without its endings: the same for all forms of most words."""
    stemmer = _stemmer(language)
    return stemmer.stemWord(word) if stemmer and len(word) > 2 else word


@lru_cache
def _stemmer(language: str) -> Any:
    import snowballstemmer  # not needed by the child process that reads a file

    return snowballstemmer.stemmer(_STEMMERS[language]) if language in _STEMMERS else None


def content_words(text: str, language: str = "en") -> list[str]:
    """The words that carry the subject, each once; all words where none does."""
    spoken = dict.fromkeys(words(text, language))
    return [word for word in spoken if is_content(word, language)] or list(spoken)


def content_stems(text: str, language: str = "en") -> set[str]:
    """The stems of the words that carry the subject."""
    return {stem(word, language) for word in words(text, language) if is_content(word, language)}


def is_content(word: str, language: str = "en") -> bool:
    """Whether a word, in lower case, carries the subject."""
    return word not in _NEGATIONS_OF.get(language, ()) and word not in _STOPWORDS.get(language, ())


def paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each paragraph (parted by an empty line), without white space around it."""
    start = 0
    for gap in _PARAGRAPH_GAP.finditer(text):
        yield from _trimmed(text, start, gap.start())
        start = gap.end()
    yield from _trimmed(text, start, len(text))


def sentences(text: str, start: int = 0, end: int | None = None, language: str = "en") -> Iterator[tuple[int, int]]:
    """Start and end of each sentence of `text[start:end]`; a list item or a table row counts as one."""
    for first, last in paragraphs(text[start:end]):
        yield from _sentences_of(text, start + first, start + last, language)


def _sentences_of(text: str, start: int, end: int, language: str) -> Iterator[tuple[int, int]]:
    """Those of one paragraph. Lines with bars are rows of a table and stay whole."""
    opened = start
    for row in _ROW.finditer(text, start, end):
        yield from _prose_sentences(text, opened, row.start(), language)
        yield from _trimmed(text, row.start(), row.end())
        opened = row.end()
    yield from _prose_sentences(text, opened, end, language)


def _prose_sentences(text: str, start: int, end: int, language: str) -> Iterator[tuple[int, int]]:
    opened = start
    for gap in _SENTENCE_GAP.finditer(text, start, end):
        if gap.end() < end and _ends_sentence(text, opened, gap, language):
            yield from _trimmed(text, opened, gap.end())
            opened = gap.end()
    yield from _trimmed(text, opened, end)


def _ends_sentence(text: str, opened: int, gap: re.Match[str], language: str) -> bool:
    """Whether a new sentence opens after the mark: not with a small letter, and not after an abbreviation."""
    mark, following = gap[0][0], _OPENING.match(text, gap.end())
    first = text[following.end() : following.end() + 1] if following else ""
    if mark in "\n。！？｡" or not first:
        return True
    if first.islower():
        return False
    last = _LAST_WORD.search(text, max(opened, gap.start() - 12), gap.start())
    if mark != "." or last is None:
        return True
    word = last[0]
    if word in _ABBREVIATIONS or _INITIALS.fullmatch(word):
        return word in ("a.m", "p.m")
    if first.isdigit() and word in _BEFORE_NUMBER:
        return False
    return not (language in _WITH_ORDINALS and _ORDINAL.fullmatch(word))


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end
