"""The service asks itself: questions made from documents, a question file, thresholds, what is kept and logged."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until_ready
from fastapi.testclient import TestClient
from test_service import problem, upload

from rag_service.__main__ import main
from rag_service.app import create_app
from rag_service.errors import BadGate, BadQuestions
from rag_service.evaluation import Outcome, Trial, first_use, report, run
from rag_service.evaluation.gate import FIGURES, read_gate
from rag_service.evaluation.questions import Question, make_near_misses, make_questions, read_squad
from rag_service.models.embedder import BertEmbedder
from rag_service.service import Service
from rag_service.settings import Settings, read_settings
from rag_service.types import Answer, Block, Extracted

DOCUMENTS = Path(__file__).parents[1] / "documents"
SAMPLE = ["sulphur-dioxide.md", "fermentation.md", "tasting.md", "running-the-stack.md"]
TEXTS = [(name, Extracted((DOCUMENTS / name).read_text())) for name in SAMPLE]
PONDS = "The pond at Hallmark Green is 31 metres wide and was dug in 1788 by the monks."
BEES = "The bees of Corran Hill gave 412 jars of honey, sold at the market in Penwith."


def squad(folder: Path, **changes: Any) -> Path:
    """A question file with two articles."""
    asked = [
        (PONDS, "How wide is the pond at Hallmark Green?", "31 metres"),
        (BEES, "Where was honey sold?", "Penwith"),
    ]
    articles = [
        {
            "title": answer,
            "paragraphs": [
                {
                    "context": text,
                    "qas": [{"question": question, "answers": [{"text": answer, "answer_start": text.index(answer)}]}],
                }
            ],
        }
        for text, question, answer in asked
    ]
    path = folder / "questions.json"
    path.write_text(json.dumps({"data": articles, **changes}))
    return path


def test_a_made_question_has_its_answer_where_it_says() -> None:
    questions = make_questions(TEXTS, 60, 7)

    assert len(questions) == 60
    contents = dict(TEXTS)
    for question in questions:
        [answer] = question.answers
        assert question.document_id is not None
        assert contents[question.document_id].text[question.start : question.end] == answer
        assert question.text.endswith("?")
    assert {question.document_id for question in questions} == set(SAMPLE)


def test_a_near_miss_differs_from_its_question_in_one_thing_that_the_sentence_does_not_hold() -> None:
    text = (
        "The bees of Corran Hill gave 412 jars of honey in the summer of 1902, sold in Penwith. "
        + "Elsewhere it rained upon the grey stones of the old road for days. " * 5
        + "The ponds at Hallmark Green were dug by 31 monks in 1788."
    )
    question = Question("How many jars gave the bees of Corran before the year 1902?", ("412",), "one", 29, 32)

    made = {one.text for seed in range(30) for one in make_near_misses([("one", Extracted(text))], [question], seed)}

    assert "How many jars gave the bees of Corran after the year 1902?" in made
    assert "How many jars gave the bees of Corran before the year 1788?" in made
    assert "How many jars gave the bees of Hallmark before the year 1902?" in made
    assert question.text not in made
    [near_miss] = make_near_misses([("one", Extracted(text))], [question], 7)
    assert (near_miss.answers, near_miss.document_id) == ((), "one")


def test_what_is_named_by_a_number_gives_way_to_another_of_its_kind() -> None:
    checked = "The pump P4 of the station was checked by hand. "
    others = "It rained upon the grey stones of the road. " * 9 + "The pump P7 and the tap K3 were not."
    question = Question("Who checked the pump P4 by hand?", ("hand",), "one", 42, 46)

    [among_others] = make_near_misses([("one", Extracted(checked + others))], [question], 7)
    [alone] = make_near_misses([("one", Extracted(checked))], [question], 7)

    assert among_others.text == "Who checked the pump P7 by hand?"
    assert alone.text == "Who checked the pump P5 by hand?"


def test_near_misses_have_figures_of_their_own() -> None:
    def outcome(answerable: bool, near_miss: bool, sure: float) -> Outcome:
        trial = Trial(Question("What?", ()), "default", answerable, near_miss=near_miss)
        return Outcome(trial, Answer("", sure < 0.5, "none", sure, ()), (), None, False, False)

    figures = report(
        [outcome(True, False, 0.9), outcome(True, False, 0.4)]
        + [outcome(False, True, sure) for sure in (0.6, 0.3, 0.2, 0.95)]
        + [outcome(False, False, 0.1)],
        "made", 4, 7,
    ).figures  # fmt: skip

    values = {name: figure.value for name, figure in figures.items() if figure}
    assert (values["near_miss_auroc"], values["auroc"]) == (0.625, 1.0)
    assert (values["near_miss_withheld"], values["answerable_withheld"]) == (0.5, 0.5)


def test_the_same_seed_makes_the_same_questions() -> None:
    assert make_questions(TEXTS, 20, 7) == make_questions(TEXTS, 20, 7) != make_questions(TEXTS, 20, 8)


def test_nothing_is_made_of_headings_tables_and_questions() -> None:
    heading = "A long heading about the harbour of Ostwick in 1871 and 1902"
    text = f"{heading}\n\nWhen was the lamp of the harbour of Ostwick lit?"
    blocks = (Block("heading", 0, len(heading)), Block("paragraph", len(heading) + 2, len(text)))

    assert make_questions([("one", Extracted(text, blocks))], 10, 7) == []


def test_a_question_file_is_read_with_its_places(tmp_path: Path) -> None:
    first, second = read_squad(squad(tmp_path))

    for article in (first, second):
        [question] = article.questions
        assert article.text[question.start : question.end] == question.answers[0] == article.name


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"data": 7}', '{"data": [{"paragraphs": []}]}'])
def test_a_file_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(content)

    with pytest.raises(BadQuestions, match=r"bad\.json") as caught:
        read_squad(tmp_path / "bad.json")
    assert "SQuAD" in caught.value.hint


def test_a_gate_is_read_from_words_and_files(tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text('{"auroc": 0.9, "recall@4": 0.95}')

    assert read_gate([str(tmp_path / "gate.json"), "auroc=0.8"]) == {"auroc": 0.8, "recall@4": 0.95}
    for wrong in ("auroc=high", "auroc=nan", "arouc=0.9", str(tmp_path / "none.json")):
        with pytest.raises(BadGate):
            read_gate([wrong])


@pytest.fixture(scope="module")
def sample(settings: Settings, embedder: BertEmbedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds the sample; each test has a copy."""
    folder = tmp_path_factory.mktemp("sample")
    with closing(Service(settings.model_copy(update={"data_dir": folder}))) as runtime:
        library = runtime.library_over(runtime.store, embedder)
        for name in SAMPLE:
            library.add(name, (DOCUMENTS / name).read_bytes(), "default")
    return folder


@pytest.fixture
def filled(sample: Path, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(sample, tmp_path / "data")
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RAG_MODELS_DIR", str(models_dir))
    monkeypatch.setenv("RAG_GENERATOR", "none")
    return tmp_path


def test_the_command_measures_calibrates_and_judges(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--count", "8", "--json", "--calibrate", "--gate", "recall@4=0.5", "ece=0.9"]) == 0
    first = json.loads(capsys.readouterr().out)

    assert (first["answerable"], first["passed"]) == (8, True)
    assert 16 < first["questions"] <= 24
    for figure in first["figures"].values():
        assert figure is None or figure["low"] <= figure["value"] <= figure["high"]
    assert first["figures"]["recall@4"]["value"] > 0.5
    assert {name for name in first["figures"] if not name.startswith("recall@")} == FIGURES
    assert sum(one["count"] for one in first["reliability"]) == 16
    with closing(Service(read_settings())) as runtime:
        weights = runtime.store.recall(runtime.store.view("default"))
    assert weights is not None
    assert {name: len(fitted) for name, fitted in json.loads(weights).items()} == {"about": 4, "answers": 5}


def test_the_command_ends_badly_and_says_which_threshold_is_missed(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "--count", "3", "--gate", "auroc=1.1", "exact_match=0.99"]) == 1
    shown = capsys.readouterr()
    assert re.search(r"auroc is \d\.\d+ \(.*\); wanted: at least 1.1", shown.err)
    assert "exact_match is" in shown.err
    assert "recall@4" in shown.out


def test_the_command_asks_a_question_file(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--questions", str(squad(filled)), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)

    assert (report["source"], report["questions"], report["answerable"]) == ("questions.json", 4, 2)
    assert report["figures"]["recall@1"]["value"] == 1.0
    assert report["figures"]["answer_containment"]["value"] == 1.0
    assert main(["eval", "--collection", "nothing"]) == 1
    assert "Collections with documents: default" in capsys.readouterr().err


def test_a_sweep_is_a_table_with_a_row_for_each_value(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(squad(filled))

    for sweep in ("top_k=1,2", "chunk_tokens=64,96", "weights=1:0:0,0:1:0"):
        assert main(["eval", "--questions", file, "--sweep", sweep]) == 0
        head, line, *rows = capsys.readouterr().out.splitlines()
        name, values = sweep.split("=")
        assert head.startswith(f"| {name} | recall@1 |")
        assert line.count("|") == head.count("|") == rows[0].count("|")
        assert [row.split(" | ")[0] for row in rows] == [f"| {value}" for value in values.split(",")]
    for wrong in ("top_k=x", "colour=red", "weights=1"):
        assert main(["eval", "--questions", file, "--sweep", wrong]) == 1
        assert "top_k=1,2,4" in capsys.readouterr().err


def test_articles_of_one_title_are_asked_each_of_its_own_text(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(squad(filled).read_text())["data"]
    (filled / "same.json").write_text(json.dumps({"data": [{**content[place], "title": "T"} for place in (0, 0, 1)]}))

    assert main(["eval", "--questions", str(filled / "same.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"]["recall@1"]["value"] == 1.0


def test_one_document_alone_fits_a_confidence_by_its_near_misses(filled: Path) -> None:
    with closing(Service(read_settings())) as runtime:
        runtime.load().library.add(SAMPLE[0], (DOCUMENTS / SAMPLE[0]).read_bytes(), "alone")

    assert main(["eval", "--collection", "alone", "--count", "12", "--calibrate"]) == 0

    with closing(Service(read_settings())) as runtime:
        assert runtime.store.recall(runtime.store.view("alone")) is not None


def test_questions_are_made_from_no_more_documents_than_are_to_be_read(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_MOST_DOCUMENTS", len(SAMPLE) - 1)

    with closing(Service(read_settings())) as runtime:
        asked = run.trials_of(runtime.store, run.Plan(count=60))

    assert 0 < len({trial.question.document_id for trial in asked}) < len(SAMPLE)


def test_a_collection_of_another_embedder_has_its_confidence_fitted_when_it_is_first_asked(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_use, "_MOST", 24)

    def ask(client: TestClient) -> list[Any]:
        assert client.post("/ask", json={"question": "Which port does MLflow use?"}).status_code == 200
        for thread in [one for one in threading.enumerate() if one.name == "calibrate"]:
            thread.join(100)
        return [one["state"] for one in client.get("/jobs").json()["jobs"]]

    with TestClient(create_app(read_settings())) as client:
        wait_until_ready(client)
        assert ask(client) == []  # the embedder is the one that the service's own weights were fitted with
        monkeypatch.setattr(first_use, "DEFAULT_EMBEDDER", "another")
        assert ask(client) == ["done"]
        assert ask(client) == ["done"]
        store = client.app.state.service.store  # type: ignore[attr-defined]
        assert len(json.loads(store.recall(store.view("default")))["answers"]) == 5
        client.app.state.first_use("deleted a moment ago")  # type: ignore[attr-defined]


class Tracking(BaseHTTPRequestHandler):
    """The three calls of MLflow's REST interface, as its server answers them."""

    told: list[tuple[str, Any]] = []

    def do_GET(self) -> None:
        self._answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = self.path.removeprefix("/api/2.0/mlflow/")
        self.told.append((call, body))
        answers: dict[str, Any] = {
            "experiments/create": {"experiment_id": "5"},
            "runs/create": {"run": {"info": {"run_id": "r1"}}},
        }
        self._answer(200, answers.get(call, {}))

    def _answer(self, status: int, body: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_figures_go_to_mlflow_where_an_address_is_set(
    filled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Tracking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}/")
        assert main(["eval", "--count", "3", "--json"]) == 0
        server.shutdown()
    report = json.loads(capsys.readouterr().out)

    assert report["mlflow_run"] == "r1"
    assert [call for call, _ in Tracking.told] == ["experiments/create", "runs/create", "runs/log-batch", "runs/update"]
    logged = {metric["key"]: metric["value"] for metric in Tracking.told[2][1]["metrics"]}
    assert logged["auroc"] == report["figures"]["auroc"]["value"]
    assert "recall_at_4" in logged
    assert main(["eval", "--count", "2"]) == 1
    assert "MLFLOW_TRACKING_URI" in capsys.readouterr().err


def test_over_http_an_evaluation_is_a_job(client: TestClient) -> None:
    upload(client, *[(name, (DOCUMENTS / name).read_bytes()) for name in SAMPLE], collection="judged")
    asked = {"collection": "judged", "count": 5, "gate": {"exact_match": 0.99}}
    started = client.post("/evaluations", json=asked)

    assert started.status_code == 202, started.text
    deadline = time.monotonic() + 100
    while (job := client.get(f"/jobs/{started.json()['job']}").json())["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert job["state"] == "done"
    assert job["done"] == job["total"] > 10  # each question with and without its document, and near misses
    assert job["result"]["passed"] is False
    assert "exact_match is" in job["result"]["missed"][0]
    problem(client.post("/evaluations", json={"collection": "none"}), 404)
    problem(client.post("/evaluations", json={"collection": "judged", "gate": {"arouc": 1}}), 422)
    for document in client.get("/documents", params={"collection": "judged"}).json()["documents"]:
        client.delete(f"/documents/{document['id']}", params={"collection": "judged"})
