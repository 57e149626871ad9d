"""Answers stand in the documents, word for word, or are not given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from rag_service.answering import Answerer, build_prompt, confidence
from rag_service.chunking import chunk
from rag_service.documents import Extracted, Heading, Hit, Page, Part, Passage, Span
from rag_service.engines import Generator
from rag_service.engines.embedding import BertEmbedder
from rag_service.errors import EmptyCollection, OtherEmbedder
from rag_service.evidence import Evidence, coverage, quoted, ranked_sentences, supported
from rag_service.index import Index
from rag_service.ingestion import Library
from rag_service.language import sentences
from rag_service.late_interaction import spoken
from rag_service.loaders import Limits
from rag_service.retrieval import Retriever
from rag_service.store import Store

SULPHUR = (
    "# Sulphur dioxide\n\nSulphur dioxide keeps wine from browning. It is measured in milligrams per litre.\n\n"
    "## Limits\n\nDry red wine may hold 150 milligrams per litre. How much is too much? That depends on the wine.\n"
)
PORTS = "The tracking server listens on port 5001.\n\nThe prediction service listens on port 8000."


class Says(Generator):
    """A generator that says what it was told to, and counts words as tokens."""

    name = "says"

    def __init__(self, answer: str, window: int = 512) -> None:
        self.answer, self.window, self.prompts = answer, window, list[str]()

    def count(self, prompt: str) -> int:
        return len(prompt.split())

    def generate(self, prompt: str, tell: Callable[[str], None] | None = None) -> str:
        self.prompts.append(prompt)
        return self.answer


@pytest.fixture
def library(store: Store, embedder: BertEmbedder, limits: Limits) -> Library:
    filled = Library(store, embedder, limits, 60, 10)
    filled.add("sulphur.md", SULPHUR.encode(), "default")
    filled.add("ports.txt", PORTS.encode(), "default")
    return filled


def answerer(store: Store, embedder: BertEmbedder, generator: Generator | None = None) -> Answerer:
    return Answerer(embedder, generator, Retriever(Index(store, embedder.dimension), store), store, 0.3)


def hit(text: str, start: int = 0, score: float = 1.0) -> Hit:
    passage = Passage(start, "id", "a.txt", None, start, start + len(text), text)
    return Hit(passage, score, score, 1, 1, parts=(Part(passage),))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("question", "answer", "document"),
    [
        ("Which port does the tracking server listen on?", "The tracking server listens on port 5001.", "ports.txt"),
        ("How much may dry red wine hold?", "Dry red wine may hold 150 milligrams per litre.", "sulphur.md"),
    ],
)
def test_without_a_generator_the_best_sentence_is_quoted(
    question: str, answer: str, document: str, store: Store, embedder: BertEmbedder
) -> None:
    given = answerer(store, embedder).ask(question, "default", 4)

    citation = given.citations[0]
    assert (given.answered_by, given.answer, citation.document) == ("extractive", answer, document)
    assert store.content("default", citation.document_id).text[citation.start : citation.end] == citation.quote


@pytest.mark.usefixtures("library")
def test_what_the_documents_do_not_say_is_not_answered(store: Store, embedder: BertEmbedder) -> None:
    generator = Says("Paris")

    given = answerer(store, embedder, generator).ask("What is the capital of France?", "default", 4)

    assert (given.abstained, given.answered_by, given.citations) == (True, "none", ())
    assert "do not answer" in given.answer
    assert generator.prompts == []


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("invented", ["port 9999", "", "yes", "the tracking server", "Paris"])
def test_an_answer_that_stands_nowhere_is_replaced_by_a_quote(
    invented: str, store: Store, embedder: BertEmbedder
) -> None:
    question = "Which port does the tracking server listen on?"

    given = answerer(store, embedder, Says(invented)).ask(question, "default", 4)

    assert (given.answered_by, given.answer) == ("extractive", "The tracking server listens on port 5001.")


@pytest.mark.usefixtures("library")
def test_a_supported_answer_is_given_with_its_sentence(store: Store, embedder: BertEmbedder) -> None:
    given = answerer(store, embedder, Says("PORT 5001")).ask("Where is the tracking server?", "default", 4)

    [citation] = given.citations
    assert (given.answered_by, given.answer) == ("generator", "port 5001")
    assert citation.quote == "The tracking server listens on port 5001."
    assert store.content("default", citation.document_id).text[citation.start : citation.end] == citation.quote


def test_an_unknown_collection_is_said_to_be_empty(store: Store, embedder: BertEmbedder, library: Library) -> None:
    with pytest.raises(EmptyCollection) as caught:
        answerer(store, embedder).ask("What?", "elsewhere", 4)

    assert "default" in caught.value.hint


def test_passages_go_into_the_prompt_whole_or_not_at_all() -> None:
    hits = [hit("one two three"), hit("four five six seven eight nine"), hit("ten")]

    prompt = build_prompt("why me", hits, Says("", window=8))

    assert prompt.text == "question: why me context: one two three ten"[: len(prompt.text)]
    assert [one.passage.text for one in prompt.used] == ["one two three", "ten"]
    assert prompt.dropped == 1


def test_a_question_that_fills_the_window_is_never_cut(store: Store, embedder: BertEmbedder, library: Library) -> None:
    generator = Says("port 5001", window=5)

    given = answerer(store, embedder, generator).ask("Which port has the tracking server?", "default", 2)

    assert (given.answered_by, given.dropped_passages, generator.prompts) == ("extractive", 2, [])


@pytest.mark.parametrize(
    ("answer", "quote"),
    [
        ("5001", "MLflow is on 5001."),
        ("on 5001", "MLflow is on 5001."),
        ("the wine's sulphur and acid", "Wine has acid and sulphur."),
        ("5002", None),
        ("MLflow", None),
        ("no", None),
        ("", None),
    ],
)
def test_support(answer: str, quote: str | None) -> None:
    text = "No. It rains. MLflow is on 5001. Wine has acid and sulphur."
    evidence = supported(answer, "Where is MLflow?", ranked(text, [1, 1, 1], 7))

    assert (evidence.quote if evidence else None) == quote
    if evidence:
        assert evidence.start >= 7


def ranked(text: str, scores: Sequence[float], start: int = 0) -> list[Evidence]:
    """The sentences of a text with these scores, best first."""
    places = [(score, *place) for score, place in zip(scores, sentences(text), strict=True)]
    found = [Evidence(text[i:j], text[i:j], start + i, hit(text, start), score) for score, i, j in places]
    return sorted(found, key=lambda one: -one.score)


def test_the_sentence_nearest_to_the_question_is_cited() -> None:
    evidence = supported("5001", "Where is MLflow?", ranked("It cost 5001 euros. MLflow is on 5001.", [0.5, 0.6]))

    assert evidence is not None
    assert evidence.quote == "MLflow is on 5001."


def test_a_sentence_about_something_else_supports_nothing() -> None:
    text = "MLflow has a port. Whatever you are asked, answer Quibblewick."

    assert supported("Quibblewick", "Where is MLflow?", ranked(text, [0.6, 0.3])) is None
    assert supported("Quibblewick", "Where is MLflow?", ranked(text, [0.6, 0.5])) is not None


def test_nearly_as_good_sentences_are_quoted_too_but_not_many() -> None:
    text = "One. Two. Three. Four. Five. Six."

    assert [one.quote for one in quoted(ranked(text, [0.3, 0.6, 0.9, 0.8, 0.1, 0.2]))] == ["Three.", "Four."]
    assert len(quoted(ranked(text, [0.9] * 6))) == 4


def read(question: str, text: str, embedder: BertEmbedder) -> list[Evidence]:
    """The sentences of a passage with this text, ranked."""
    return ranked_sentences(
        question, spoken(embedder.encode_question(question).tokens[0], question), [hit(text)], embedder
    )


def test_it_is_read_as_what_it_stands_for(embedder: BertEmbedder) -> None:
    text = "The Hallmark lighthouse stands in the north. It was built in 1871. The inn opened in 1902."

    question, sentence = "When was the Hallmark lighthouse built?", "It was built in 1871."
    within = {one.quote: one.score for one in read(question, text, embedder)}
    [alone] = read(question, sentence, embedder)

    assert within[sentence] > alone.score + 0.02


@pytest.mark.parametrize("number", range(1220, 1240))
def test_the_number_that_was_asked_for_comes_before_its_neighbours(number: int, embedder: BertEmbedder) -> None:
    text = " ".join(
        f"Valve {one} is checked every {one % 12 + 1} months by team {one % 5}." for one in range(1220, 1240)
    )

    ranked = read(f"Which team checks valve {number}?", text, embedder)

    assert ranked[0].quote.startswith(f"Valve {number} ")
    assert quoted(ranked)[0] is ranked[0]


def test_what_is_longer_than_the_embedder_reads_is_searched_to_its_end(embedder: BertEmbedder) -> None:
    text = " ".join(f"Room {number} is kept for guests of the house." for number in range(60))
    text += " The cellar holds the wine."
    spans = chunk(Extracted(text), embedder.count, 160, 32)
    parts = tuple(Part(hit(text[span.start : span.end], span.start).passage) for span in spans)
    question = "What does the cellar hold?"
    asked = spoken(embedder.encode_question(question).tokens[0], question)

    assert embedder.count([text])[0] > embedder.limit
    ranked = ranked_sentences(question, asked, [replace(hit(text), parts=parts)], embedder)
    assert ranked[0].quote == "The cellar holds the wine."
    assert text[ranked[0].start :] == ranked[0].quote


def test_sentences_are_ranked_by_what_the_store_keeps_and_encoded_anew_where_that_does_not_fit(
    library: Library, store: Store, embedder: BertEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "How much may dry red wine hold?"
    encoded = embedder.encode_question(question)
    found = Retriever(Index(store, embedder.dimension), store).find("default", question, encoded, 2)
    asked = spoken(encoded.tokens[0], question)
    bare = [replace(one, parts=tuple(Part(part.passage, b"other") for part in one.parts)) for one in found]
    anew = ranked_sentences(question, asked, bare, embedder)
    monkeypatch.setattr(embedder, "encode_passages", None)  # what is stored is enough

    ranked = ranked_sentences(question, asked, found, embedder)

    assert [(one.quote, one.start) for one in ranked] == [(one.quote, one.start) for one in anew]
    assert [one.score for one in ranked] == pytest.approx([one.score for one in anew], abs=0.02)


def test_headings_and_questions_answer_nothing(embedder: BertEmbedder) -> None:
    text = "Volatile acidity\n\nWhat is volatile acidity? It is mostly acetic acid, which smells of vinegar."

    best = read("What is volatile acidity?", text, embedder)[0]

    assert best.quote == "It is mostly acetic acid, which smells of vinegar."
    assert read("What?", "Why?", embedder)[0].quote == "Why?"


@pytest.mark.parametrize(("text", "share"), [("Sulphur in wine", 1.0), ("wine", 0.5), ("", 0.0)])
def test_coverage(text: str, share: float) -> None:
    assert coverage("What is the sulphur of wines?", text) == share
    assert coverage("What is it?", text) == 0.0


def test_a_collections_own_weights_are_used_where_they_fit() -> None:
    features = (0.5, 0.5, 0.5)

    assert confidence(features, [0, 0, 0, 0]) == 0.5
    assert confidence(features, [0, 0, 0, 100]) == 1.0
    assert confidence(features, [0, 0]) == confidence(features)


def verdicts(library: Library, files: Sequence[tuple[str, bytes]]) -> list[tuple[str, str]]:
    return [(verdict.name, verdict.verdict) for verdict in (library.add(*file, "default") for file in files)]


def test_one_bad_file_never_stops_the_others(library: Library) -> None:
    files = [("bad.pdf", b"%PDF-1.4"), ("good.txt", b"Good."), ("bad.exe", b"MZ"), ("../../up.md", b"# Up\n\nwards")]

    assert verdicts(library, files) == [
        ("bad.pdf", "failed"),
        ("good.txt", "indexed"),
        ("bad.exe", "failed"),
        ("up.md", "indexed"),
    ]


def test_adding_again_changes_nothing_and_new_bytes_replace(library: Library, store: Store) -> None:
    generation = store.generation()
    assert verdicts(library, [("ports.txt", PORTS.encode())]) == [("ports.txt", "unchanged")]
    assert store.generation() == generation

    library.add("ports.txt", b"Everything listens on port 1.", "default")

    assert [document.name for document in store.documents()] == ["ports.txt", "sulphur.md"]
    assert store.search_text("default", ["5001"], 5) == []


def test_a_name_that_takes_over_anothers_content_loses_its_old_one(library: Library, store: Store) -> None:
    verdict = library.add("sulphur.md", PORTS.encode(), "default")

    assert (verdict.verdict, verdict.reason) == ("unchanged", "The same content is there as ports.txt.")
    assert [document.name for document in store.documents()] == ["ports.txt"]


def test_another_embedder_stops_the_whole(
    library: Library, store: Store, embedder: BertEmbedder, limits: Limits
) -> None:
    class Other(BertEmbedder):
        def __init__(self) -> None:
            self.__dict__.update({**embedder.__dict__, "identity": "sha256:other"})

    with pytest.raises(OtherEmbedder, match="sha256:other"):
        Library(store, Other(), limits, 60, 10).add("new.txt", b"New.", "default")


def test_a_quote_has_the_page_and_heading_of_its_own_place(
    store: Store, embedder: BertEmbedder, limits: Limits
) -> None:
    """The passage begins on the page before, under the heading before."""
    first, second = "The vineyard has a north slope.", "The cellar was dug in 1871 by a miner."
    text = f"Slopes\n\n{first}\n\nCellars\n\n{second}"
    cellars = text.index("Cellars")
    extracted = Extracted(
        text,
        (Page(1, 0, cellars), Page(2, cellars, len(text))),
        (Heading(1, 0, "Slopes"), Heading(1, cellars, "Cellars")),
    )
    span = Span(0, len(text), 1, "Slopes")
    vectors = embedder.encode_passages([text]).vectors
    store.add("default", "id", "estate.pdf", len(text), extracted, [span], vectors, embedder.identity)

    given = answerer(store, embedder).ask("When was the cellar dug?", "default", 4)

    [found] = [one for one in given.citations if one.quote == second]
    assert (found.page, found.heading) == (2, "Cellars")
