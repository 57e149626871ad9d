"""What people say of answers is kept, and asked again by `eval --questions`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until_ready
from fastapi.testclient import TestClient
from test_access import ONE, READER, Front, bearer, front, keys_in  # noqa: F401
from test_service import WINE, problem, upload

from rag_service.__main__ import main
from rag_service.app import create_app
from rag_service.errors import BadQuestions
from rag_service.evaluation import ratings
from rag_service.evaluation.ratings import Rating, read_ratings
from rag_service.settings import Settings

LIMIT, CORKS = "How much sulphur dioxide may dry red wine hold?", "What keeps wine from browning?"
CUP = "Who won the football cup?"


@pytest.fixture
def rated(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A service of its own, with one document; the command line opens the same store."""
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RAG_MODELS_DIR", str(settings.models_dir))
    monkeypatch.setenv("RAG_GENERATOR", "none")
    with TestClient(create_app(settings.model_copy(update={"data_dir": tmp_path}))) as client:
        wait_until_ready(client)
        upload(client, ("wine.md", WINE))
        yield client


def rate(client: TestClient, question: str, good: bool) -> dict[str, Any]:
    """Asks, and rates the answer as the page does."""
    answer = client.post("/ask", json={"question": question}).json()
    places = [{key: one[key] for key in ("document_id", "start", "end")} for one in answer["citations"]]
    body = {"question": question, "good": good, "abstained": answer["abstained"], "citations": places}
    assert client.post("/ratings", json=body).status_code == 204
    return answer  # type: ignore[no-any-return]


def evaluated(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["eval", "--questions", str(folder / "questions.jsonl"), "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def figure(report: dict[str, Any], name: str) -> float | None:
    found = report["figures"][name]
    return found and float(found["value"])


def test_rated_answers_are_asked_again_of_the_documents_as_they_are_now(
    rated: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quote = rate(rated, LIMIT, good=True)["citations"][0]["quote"]
    rate(rated, CORKS, good=False)
    rate(rated, CUP, good=True)

    kept = [json.loads(line) for line in (tmp_path / "questions.jsonl").read_text().splitlines()]
    assert [(one["question"], one["good"], one["abstained"]) for one in kept] == [
        (LIMIT, True, False), (CORKS, False, False), (CUP, True, True)
    ]  # fmt: skip
    assert (kept[0]["citations"][0]["document"], kept[0]["citations"][0]["quote"]) == ("wine.md", quote)
    report = evaluated(tmp_path, capsys)
    assert (report["questions"], report["answerable"]) == (3, 1)
    assert (figure(report, "recall@1"), figure(report, "near_miss_withheld"), figure(report, "bad_repeated")) == (
        1,
        1,
        1,
    )

    upload(rated, ("wine.md", b"# News\n\nCorks keep wine from browning.\n\n" + WINE.partition(b"\n\n")[2][42:]))
    report = evaluated(tmp_path, capsys)
    assert (figure(report, "recall@1"), figure(report, "bad_repeated")) == (1, 0)


def test_the_last_rating_of_a_question_counts_and_lost_evidence_is_left_out(
    rated: TestClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rate(rated, LIMIT, good=False)
    rate(rated, LIMIT, good=True)
    assert [one.good for one in read_ratings(tmp_path / "questions.jsonl")] == [True]

    upload(rated, ("wine.md", b"Nothing of it is said any more."))

    assert main(["eval", "--questions", str(tmp_path / "questions.jsonl")]) == 1
    assert "no question whose collection and cited place still exist" in capsys.readouterr().err


def test_a_kill_while_a_rating_was_written_loses_no_other_one(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    ratings.append(path, Rating(CORKS, "default", True, True, ()))
    with path.open("ab") as file:
        file.write(b'{"question": "Wha')

    ratings.append(path, Rating(CUP, "default", False, False, ()))

    assert [one.question for one in read_ratings(path)] == [CORKS, CUP]


def test_replicas_that_share_a_folder_lose_no_rating_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    rating = 'append(Path(sys.argv[1]), Rating(f"{sys.argv[2]} {number}?", "c", True, True, ()))'
    program = "import sys\nfrom pathlib import Path\nfrom rag_service.evaluation.ratings import Rating, append\n"
    program += f"for number in range(100): {rating}"
    replicas = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in ("one", "other")]

    assert [replica.wait() for replica in replicas] == [0, 0]
    assert len(read_ratings(path)) == 200


def test_the_file_has_a_limit(rated: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    rate(rated, LIMIT, good=True)
    monkeypatch.setattr(ratings, "_MOST_BYTES", 500)

    assert "questions.jsonl" in problem(rated.post("/ratings", json={"question": LIMIT, "good": True}), 507)["detail"]


def test_only_places_in_documents_that_are_there_are_kept(rated: TestClient, tmp_path: Path) -> None:
    nowhere = {"document_id": "none", "start": 0, "end": 5}

    problem(rated.post("/ratings", json={"question": LIMIT, "good": True, "citations": [nowhere]}), 404)
    problem(rated.post("/ratings", json={"question": LIMIT}), 422)
    assert not (tmp_path / "questions.jsonl").exists()


def test_who_may_ask_may_rate(front: Front, tmp_path: Path) -> None:  # noqa: F811
    closed, body = front(api_key_file=keys_in(tmp_path)), {"question": LIMIT, "good": True, "collection": "secrets"}

    assert closed.post("/ratings", json=body, headers=bearer(READER)).status_code == 204
    problem(closed.post("/ratings", json=body, headers=bearer(ONE)), 403)
    problem(closed.post("/ratings", json=body), 401)


@pytest.mark.parametrize(("line", "named"), [("{", "line 2: "), ('{"question": "x"}', "line 2: collection: ")])
def test_a_line_that_is_no_rating_is_named(line: str, named: str, tmp_path: Path) -> None:
    good = {"question": "x", "collection": "c", "good": True, "abstained": True, "citations": []}
    (tmp_path / "questions.jsonl").write_text(f"{json.dumps(good)}\n{line}\n")

    with pytest.raises(BadQuestions, match=named):
        read_ratings(tmp_path / "questions.jsonl")
