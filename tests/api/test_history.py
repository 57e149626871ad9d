"""What was decided about the model, read from the registry's ledger."""

import pytest
from fastapi.testclient import TestClient
from registry_server import FakeRegistry

REFUSED = {
    "action": "refused", "version": "2", "previous": "1", "by": "airflow", "at": "2026-11-24T10:00:00+00:00",
    "reasons": [{"code": "gain", "passed": False, "text": "the gain is not certain"}],
    "evidence": {"gain": 0.1}, "key": "k2",
}  # fmt: skip
PROMOTED = REFUSED | {"action": "promoted", "version": "1", "previous": None, "at": "2026-11-23T10:00:00+00:00"}


def test_the_last_decisions_come_newest_first(registry: FakeRegistry, client: TestClient) -> None:
    registry.ledger = [REFUSED, PROMOTED]
    body = client.get("/history").json()
    assert [(entry["action"], entry["version"], entry["previous"]) for entry in body["entries"]] == [
        ("refused", "2", "1"),
        ("promoted", "1", None),
    ]
    assert body["entries"][0]["reasons"] == [{"text": "the gain is not certain", "passed": False}]
    assert (body["entries"][0]["by"], body["away"]) == ("airflow", None)
    assert client.get("/history").json() == body
    assert registry.ledger_looks == 1  # it is not asked for each look


def test_decisions_on_another_alias_are_left_out(registry: FakeRegistry, client: TestClient) -> None:
    registry.ledger = [REFUSED | {"alias": "staging"}, PROMOTED | {"alias": "production"}]
    assert [entry["action"] for entry in client.get("/history").json()["entries"]] == ["promoted"]


def test_while_the_registry_is_away_the_last_history_is_given_and_it_is_said(
    registry: FakeRegistry, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.ledger = [PROMOTED]
    before = client.get("/history").json()
    registry.stop()
    monkeypatch.setattr("prediction_api.models.registry.KEPT_SECONDS", 0.0)
    now = client.get("/history").json()
    assert (now["entries"], now["as_of"]) == (before["entries"], before["as_of"])
    assert "ConnectError" in now["away"]
    registry.start()
    assert client.get("/history").json()["away"] is None


def test_a_history_that_was_never_read_is_a_problem_with_what_to_do(registry: FakeRegistry, client: TestClient) -> None:
    registry.stop()
    answer = client.get("/history")
    assert (answer.status_code, answer.json()["type"]) == (503, "/docs#error-history-unavailable")
    assert "Predictions continue" in answer.json()["hint"]


def test_a_ledger_that_the_registry_does_not_search_is_away(registry: FakeRegistry, client: TestClient) -> None:
    registry.ledger = [PROMOTED]
    registry.unsearchable = True
    answer = client.get("/history")
    assert (answer.status_code, answer.json()["type"]) == (503, "/docs#error-history-unavailable")
    assert "runs/search was refused: No Experiment with id=5" in answer.json()["detail"]


@pytest.mark.parametrize("entry", [{}, {"action": 5, "version": "1"}, {"action": "promoted"}])
def test_an_unknown_entry_is_shown_as_one(registry: FakeRegistry, client: TestClient, entry: dict[str, object]) -> None:
    registry.ledger = [entry, PROMOTED]
    unreadable, promoted = client.get("/history").json()["entries"]
    assert (unreadable["action"], unreadable["version"], promoted["action"]) == ("unreadable", "?", "promoted")
    assert ": " in unreadable["reasons"][0]["text"]
