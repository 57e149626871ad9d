"""ALERT_WEBHOOK, with DAGs that are run for real and a stand-in for the address."""

import json
import logging
from collections.abc import Iterator

import pytest
from conftest import run
from servers import held_port, json_servers

REFUSED = {"detail": "wine.csv, row 7: alcohol is 'abc'", "hint": "Give a number, or leave the cell empty."}
FOUND = {"text": "Drift of alcohol, but training was not requested: 1 of 3.", "version": "4", "window": "w"}
FOUND |= {"since": "2026-11-28T10:00:00+00:00", "drifted": ["alcohol"], "error_worse": False, "dry_run": False}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What the address gets."""
    requests: list[tuple[str, str]] = []
    with json_servers() as start:
        monkeypatch.setenv("ALERT_WEBHOOK", f"{start({'POST /hook/secret': (200, 'ok')}, requests)}/hook/secret")
        yield requests


def messages(told: list[tuple[str, str]]) -> list[dict[str, str]]:
    assert {key for key, _ in told} <= {"POST /hook/secret"}
    return [json.loads(body) for _, body in told]


def test_a_failed_task_says_why_and_what_to_do_once(dags, programs, told) -> None:
    programs(train=3, say=json.dumps(REFUSED))
    assert run(dags["train_model"])["run"] == "failed"
    [message] = messages(told)  # of the last try, and of the task that failed
    assert message["what"] == f"train_model, train failed: {REFUSED['detail']}"
    assert message["action"] == REFUSED["hint"]
    assert "/dags/train_model/runs/" in message["where"]
    assert message["since"].startswith("20")
    for field in ("what", "where", "since", "action"):
        assert message[field] in message["text"]


def test_a_task_without_a_last_word_is_told_too(dags, programs, told) -> None:
    programs(score=1)
    run(dags["score_table"])
    [message] = messages(told)
    assert message["what"].startswith("score_table, score failed: ")
    assert "log" in message["action"]


@pytest.mark.parametrize("found", [{}, {"drifted": [], "error_worse": True}], ids=["drift", "a worse error"])
def test_an_alarming_window_is_told(dags, programs, told, found: dict[str, object]) -> None:
    programs(retraining=99, say=json.dumps(FOUND | found))
    run(dags["monitor_model"])
    [message] = messages(told)
    assert message["what"] == FOUND["text"]
    assert message["where"] == "pipeline.yaml, version 4"
    assert message["since"] == FOUND["since"]
    assert "MLflow" in message["action"]


@pytest.mark.parametrize("said", [FOUND | {"drifted": []}, FOUND | {"dry_run": True}, {"action": "wait"}, ["other"]])
def test_nothing_is_told_of_a_quiet_window(dags, programs, told, said: object) -> None:
    programs(retraining=99, say=json.dumps(said))
    assert run(dags["monitor_model"])["run"] == "success"
    assert told == []


@pytest.mark.parametrize("path", ["refused", "away", "no address"])
def test_a_failed_delivery_changes_nothing_and_keeps_the_secret(
    dags, programs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    programs(retraining=99, say=json.dumps(FOUND))
    with json_servers() as start, held_port() as closed:
        places = {"refused": f"{start({})}/hook/secret", "away": f"http://127.0.0.1:{closed}/hook/secret"}
        monkeypatch.setenv("ALERT_WEBHOOK", places.get(path, "hook/secret"))
        with caplog.at_level(logging.INFO):
            assert run(dags["monitor_model"])["run"] == "success"
    lines = [record.getMessage() for record in caplog.records]
    [line] = [one for one in lines if "ALERT_WEBHOOK got no message" in one]
    assert {"refused": "404", "away": "refused", "no address": "https://host/path"}[path] in line
    assert "hook/secret" not in caplog.text


def test_every_task_tells_of_its_failure(dags) -> None:
    assert len(dags) > 3
    silent = [task.task_id for dag in dags.values() for task in dag.tasks if not task.on_failure_callback]
    assert silent == []
