"""What the drivers make of the services' answers: a real HTTP server gives them, as the services would."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from stack import chapters
from stack.errors import StepFailed
from stack.http_client import client
from stack.report import Report

MODEL = {
    "name": "wine-quality",
    "version": "3",
    "features": [{"name": "fixed acidity", "example": 7.4}, {"name": "type", "example": "red"}],
    "metrics": {"mae": 0.5298, "rows": 3},
    "data": {"synthetic": True, "rows": 6497},
}
PREDICTION = {"prediction": 5.42, "interval": {"low": 4.7, "high": 6.1, "coverage": 0.9}, "model": {"version": "3"}}
ANSWER = {
    "answer": "of vinegar",
    "abstained": False,
    "answered_by": "extractive",
    "citations": [{"document": "volatile-acidity.md", "page": None, "quote": "It tastes of vinegar."}],
}


def test_predicts_with_the_models_own_example(json_server) -> None:
    asked: list[tuple[str, str]] = []
    url = json_server({"POST /predict": (200, PREDICTION)}, asked)
    with client(url) as api:
        answer = chapters.predict(api, MODEL)
    assert asked == [("POST /predict", '{"fixed acidity":7.4,"type":"red"}')]
    assert chapters.describe_prediction(answer) == "5.42 (4.70 to 6.10 with 90% coverage)"


def test_a_label_is_shown_as_it_is() -> None:
    assert chapters.describe_prediction({"prediction": "benign", "probabilities": {"benign": 0.9}}) == "benign"


def test_another_version_than_the_one_described_is_a_failure(json_server) -> None:
    url = json_server({"POST /predict": (200, PREDICTION | {"model": {"version": "2"}})})
    with client(url) as api, pytest.raises(StepFailed, match="version 2, /model says 3"):
        chapters.predict(api, MODEL)


def test_the_last_decision_about_what_is_served_is_told(json_server) -> None:
    entries = [
        {"action": "refused", "version": "4", "by": "airflow", "reasons": []},
        {"action": "promoted", "version": "3", "by": "airflow", "reasons": [{"text": "better"}, {"text": "in limits"}]},
    ]
    url = json_server({"GET /history": (200, {"entries": entries})})
    with client(url) as api:
        assert chapters.last_decision(api, MODEL) == "version 3 promoted by airflow: better; in limits"
        with pytest.raises(StepFailed, match="version 5 is served, but the ledger has no entry for it"):
            chapters.last_decision(api, MODEL | {"version": "5"})


def test_a_refusal_is_told_where_nothing_is_served(json_server) -> None:
    reasons = [{"text": "mae within the limit", "passed": True}, {"text": "gain not above 0", "passed": False}]
    refused = {"action": "refused", "version": "1", "by": "airflow", "reasons": reasons}
    url = json_server({"GET /history": [(200, {"entries": [refused]}), (503, {"title": "No model yet"})]})
    with client(url) as api:
        assert str(chapters.nothing_served(api)) == "nothing is served: the gate refused version 1, gain not above 0"
        unknown = chapters.nothing_served(api)
        assert str(unknown).startswith("no model is served although the run succeeded")
        assert "make history" in unknown.hint


def test_no_model_yet_is_no_failure(json_server) -> None:
    url = json_server({"GET /model": [(503, {"title": "No model yet"}), (200, MODEL)]})
    with client(url) as api:
        assert chapters.served_model(api) is None
        assert chapters.describe_model(chapters.served_model(api)) == (
            "wine-quality version 3 (synthetic sample, 6497 rows): mae 0.530"
        )


def test_a_services_own_words_and_hint_are_passed_on(json_server) -> None:
    url = json_server({"GET /model": (500, {"title": "Broken", "detail": "the disk is full", "hint": "make room"})})
    with (
        client(url) as api,
        pytest.raises(StepFailed, match="GET /model answered 500, Broken: the disk is full") as e,
    ):
        chapters.served_model(api)
    assert e.value.hint == "make room"


@pytest.mark.parametrize("body", ["<html>bad gateway</html>", "[1]", ""])
def test_an_error_that_is_no_problem_document_is_shown_too(json_server, body: str) -> None:
    url = json_server({"GET /model": (502, body)})
    with client(url) as api, pytest.raises(StepFailed, match="answered 502"):
        chapters.served_model(api)


def test_counts_the_verdicts_on_documents(json_server, tmp_path: Path) -> None:
    verdicts = [{"name": "a", "verdict": "unchanged"}, {"name": "b", "verdict": "indexed"}]
    url = json_server({"POST /documents": (200, {"documents": [*verdicts, verdicts[1]]})})
    (tmp_path / "a.md").write_text("text")
    with client(url) as rag:
        assert chapters.give_documents(rag, [tmp_path / "a.md"]) == "2 indexed, 1 unchanged"


@pytest.mark.parametrize("verdicts", [[{"verdict": "failed", "reason": "encrypted"}], []])
def test_documents_that_fail_or_none_at_all_are_a_failure(json_server, verdicts: list[dict[str, str]]) -> None:
    url = json_server({"POST /documents": (200, {"documents": verdicts})})
    with client(url) as rag, pytest.raises(StepFailed, match=r"encrypted|none were given"):
        chapters.give_documents(rag, [])


def test_describes_an_answer_with_its_source(json_server) -> None:
    url = json_server({"POST /ask": (200, ANSWER)})
    with client(url) as rag:
        assert chapters.describe_answer(chapters.ask(rag)) == (
            "of vinegar [volatile-acidity.md] (quoted; no generator here)"
        )


@pytest.mark.parametrize("change", [{"abstained": True}, {"citations": []}])
def test_an_answer_without_a_source_is_a_failure(json_server, change: dict[str, object]) -> None:
    url = json_server({"POST /ask": (200, ANSWER | change)})
    with client(url) as rag, pytest.raises(StepFailed, match="the service abstained"):
        chapters.ask(rag)


def test_the_table_holds_every_step_and_marks_the_one_that_failed() -> None:
    said = io.StringIO()
    report = Report(Console(file=said, width=100))
    with report.step("start") as step:
        step.result = "mlflow :5001"
    report.add("  check", 6.25, "success")
    with pytest.raises(StepFailed), report.step("predict"):
        raise StepFailed("no", "try again")
    report.print_table("Steps")
    table = said.getvalue()
    assert [step.result for step in report.steps] == ["mlflow :5001", "success", "failed"]
    assert all(part in table for part in ("mlflow :5001", "6.2", "failed", "predict"))
