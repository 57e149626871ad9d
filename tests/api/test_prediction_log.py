"""What is logged, what is dropped, and what survives a stop, a kill and a full disk."""

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from conftest import live, started, wait_until, whole_lines
from fastapi.testclient import TestClient
from model_files import classification_model, regression_model
from prediction_api.settings import Settings, read_settings
from prediction_api.telemetry import prediction_log
from prediction_api.telemetry.prediction_log import LogFiles, new_id
from registry_server import FakeRegistry
from service_process import wine_service

ROW = {"fixed_acidity": 8.0, "alcohol": None, "type": "white"}
CSV = {"Content-Type": "text/csv"}
LOGGED_ROW = {"fixed acidity": 8.0, "alcohol": None, "type": "white"}


TOLD = {"id": "0123456789abcdef-000001", "actual": 5}


@pytest.fixture
def folder(settings: Settings) -> Path:
    """Where the wine model's log goes."""
    assert settings.prediction_log_dir is not None
    return settings.prediction_log_dir / "wine-quality"


def test_a_prediction_is_logged_by_the_names_of_the_csv(client: TestClient, folder: Path) -> None:
    answer = client.post("/predict", json=ROW).json()
    wait_until(lambda: whole_lines(folder))
    [line] = whole_lines(folder)
    at = datetime.fromisoformat(line.pop("at"))
    assert timedelta() <= datetime.now(UTC) - at < timedelta(minutes=1)
    assert line == {"id": answer["id"], "version": "1", "row": LOGGED_ROW, "prediction": 15.0}
    [path] = folder.iterdir()
    assert path.name.startswith(f"predictions-{at.date()}-")


def test_the_rows_of_a_batch_are_numbered(client: TestClient, folder: Path) -> None:
    rows = [ROW | {"fixed_acidity": float(number)} for number in range(300)]  # more than one write
    identifier = client.post("/predict/batch", json={"rows": rows}).json()["id"]
    wait_until(lambda: len(whole_lines(folder)) == 300)
    logged = whole_lines(folder)
    assert [line["id"] for line in logged] == [f"{identifier}.{number}" for number in range(300)]
    assert [line["row"]["fixed acidity"] for line in logged] == list(range(300))


def test_a_classification_is_logged_with_its_probabilities_and_takes_labels_as_truth(
    registry: FakeRegistry, settings: Settings, folder: Path
) -> None:
    registry.add(classification_model())
    with live(settings) as client:
        answer = client.post("/predict", json={"size": 2}).json()
        assert client.post("/feedback", json={"id": answer["id"], "actual": "benign"}).status_code == 202
        for actual in ("purple", 1.0, None):
            assert client.post("/feedback", json={"id": answer["id"], "actual": actual}).status_code == 422
    [line] = whole_lines(folder)  # the stop wrote it
    assert (line["prediction"], line["probabilities"]) == ("malign", answer["probabilities"])
    [told] = whole_lines(folder, "feedback")
    assert (told["id"], told["actual"]) == (answer["id"], "benign")


def test_the_truth_about_a_row_of_a_batch_is_logged(client: TestClient, folder: Path) -> None:
    identifier = client.post("/predict/batch", json={"rows": [ROW]}).json()["id"]
    answer = client.post("/feedback", json={"id": f"{identifier}.0", "actual": 6})
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    wait_until(lambda: whole_lines(folder, "feedback"))
    [line] = whole_lines(folder, "feedback")
    assert datetime.fromisoformat(line.pop("at")).tzinfo is not None
    assert line == {"id": f"{identifier}.0", "actual": 6.0}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        *((TOLD | {"id": identifier}, "id") for identifier in ("mine", f"{TOLD['id']}.x", f"{TOLD['id']}\n", 7)),
        *((TOLD | {"actual": actual}, "actual") for actual in ("good", None, True, 10**400, math.nan, math.inf)),
        ({"actual": 5}, "id"),
        ({"id": TOLD["id"]}, "actual"),
        (TOLD | {"more": 1}, "more"),
        ([], None),
    ],
)
def test_feedback_that_does_not_fit_is_named(shared: TestClient, body: object, where: str | None) -> None:
    answer = shared.post("/feedback", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (422, "/docs#error-wrong-feedback")
    assert answer.json()["errors"][0]["loc"] == ([where] if where else [])


def test_feedback_is_small(shared: TestClient) -> None:
    assert shared.post("/feedback", json={"id": "x" * 5_000, "actual": 5}).status_code == 413


def test_switched_off_nothing_is_written_and_feedback_is_refused(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(regression_model())
    with live(settings, prediction_log_dir=None) as client:
        assert client.post("/predict", json=ROW).status_code == 200
        refused = client.post("/feedback", json=TOLD)
    assert (refused.status_code, refused.json()["type"]) == (503, "/docs#error-feedback-not-kept")
    assert "switched off" in refused.json()["detail"]
    assert not settings.prediction_log_dir.exists()  # type: ignore[union-attr]


def test_an_empty_variable_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDICTION_LOG_DIR", "")
    assert read_settings().prediction_log_dir is None


def test_what_the_queue_cannot_hold_is_counted(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MOST_WAITING", 1)
    assert client.post("/predict/batch", json={"rows": [ROW, ROW]}).status_code == 200
    assert 'api_log_dropped_total{reason="queue-full"} 2.0' in client.get("/metrics").text
    assert whole_lines(folder) == []


def test_a_folder_that_cannot_be_written_never_stops_serving(client: TestClient, folder: Path) -> None:
    folder.parent.write_text("a file where the folder should be")
    assert client.post("/predict", json=ROW).status_code == 200
    wait_until(lambda: 'api_log_dropped_total{reason="unwritable"} 1.0' in client.get("/metrics").text)
    assert client.post("/feedback", json=TOLD).status_code == 503
    folder.parent.unlink()
    wait_until(lambda: client.post("/feedback", json=TOLD).status_code == 202)
    client.post("/predict", json=ROW)
    wait_until(lambda: len(whole_lines(folder)) == 1)


def test_what_a_fault_loses_is_counted(client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = prediction_log.to_json

    def broken(line: dict[str, Any]) -> bytes:
        if line["id"].endswith(".250"):
            raise ValueError("cannot be written as JSON")
        return write(line)

    monkeypatch.setattr(prediction_log, "to_json", broken)
    assert client.post("/predict/batch", json={"rows": [ROW] * 300}).status_code == 200
    wait_until(lambda: 'api_log_dropped_total{reason="failed"} 100.0' in client.get("/metrics").text)
    assert len(whole_lines(folder)) == 200  # whole writes of a hundred
    client.post("/predict", json=ROW)
    wait_until(lambda: len(whole_lines(folder)) == 201)


def old_files(folder: Path, kind: str, days: Iterable[int]) -> list[str]:
    """Puts a file of each of these days ago into the folder; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    today = datetime.now(UTC).date()
    names = [f"{kind}-{today - timedelta(days=ago)}-0a.jsonl" for ago in days]
    for name in names:
        (folder / name).touch()
    return names


def test_files_older_than_asked_are_dropped(registry: FakeRegistry, settings: Settings, folder: Path) -> None:
    registry.add(regression_model())
    (kept, old), (kept_too, old_too) = (old_files(folder, kind, (2, 9)) for kind in ("predictions", "feedback"))
    others = ["mine.jsonl", "predictions-2020-01-01.csv"]
    for name in others:
        (folder / name).touch()
    with started(settings, prediction_log_days=5):
        wait_until(lambda: not (folder / old).exists() and not (folder / old_too).exists())
    assert sorted(path.name for path in folder.iterdir()) == sorted([kept, kept_too, *others])


@pytest.mark.parametrize("kind", ["predictions", "feedback"])
@pytest.mark.parametrize("ahead_at_the_start", [False, True])
def test_a_clock_that_jumps_ahead_removes_nothing(
    registry: FakeRegistry,
    settings: Settings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    ahead_at_the_start: bool,
) -> None:
    names = set(old_files(folder, kind, range(4)))
    registry.add(regression_model())
    real, ahead = time.time, 100 * 86_400 if ahead_at_the_start else 0
    monkeypatch.setattr(prediction_log.time, "time", lambda: real() + ahead)
    with live(settings, prediction_log_days=5) as client:
        ahead = 100 * 86_400
        for count in (1, 2):  # once written, old files have been looked for since
            client.post("/predict", json=ROW)
            wait_until(lambda count=count: len(whole_lines(folder)) == count)
    assert names <= {path.name for path in folder.iterdir()}


def test_two_large_tables_at_once_are_logged_whole(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MOST_WAITING", 2_000)
    table = "fixed acidity,alcohol,type\n" + "8,,white\n" * 3_000
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: client.post("/predict/batch", content=table, headers=CSV), range(2)))
    asked = {line.rsplit(",", 1)[1] for answer in answers for line in answer.text.splitlines()[1:]}
    assert len(asked) == 6_000
    wait_until(lambda: len(whole_lines(folder)) == 6_000)
    assert {line["id"] for line in whole_lines(folder)} == asked


def test_replicas_share_a_folder_and_take_the_truth_about_each_others_predictions(
    client: TestClient, settings: Settings, folder: Path
) -> None:
    with live(settings) as other:
        asked = [one.post("/predict", json=ROW).json()["id"] for one in (client, other)]
        assert other.post("/feedback", json={"id": asked[0], "actual": 6}).status_code == 202
        wait_until(lambda: len(whole_lines(folder)) == 2)
        assert {line["id"] for line in whole_lines(folder)} == {*asked}
        assert len({*asked}) == len({*folder.glob("predictions-*")}) == 2
        assert [line["id"] for line in whole_lines(folder, "feedback")] == asked[:1]


def test_an_identifier_says_nothing_about_others_however_many_threads_draw() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            drawn = list(chain.from_iterable(pool.map(lambda _: [new_id() for _ in range(2_000)], range(8))))
    finally:
        sys.setswitchinterval(interval)
    assert all(re.fullmatch(prediction_log.ID_PATTERN, one) for one in drawn)
    assert len({one[:16] for one in drawn}) == len({one[17:] for one in drawn}) == 16_000


def test_nobody_else_may_read_the_log(client: TestClient, folder: Path) -> None:
    answer = client.post("/predict", json=ROW).json()
    assert client.post("/feedback", json={"id": answer["id"], "actual": 6}).status_code == 202
    wait_until(lambda: whole_lines(folder))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_kill_leaves_what_was_flushed_and_a_stop_writes_what_is_waiting(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    with wine_service(tmp_path) as service:
        first = service.predict(ROW)["id"]
        wait_until(lambda: whole_lines(folder))
        service.process.kill()
    [path] = folder.rglob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"id": "torn')  # what a kill in the midst of a write leaves
    with wine_service(tmp_path) as service:
        later = [service.predict(ROW)["id"] for _ in range(20)]
        assert service.http.post("/feedback", json={"id": first, "actual": 6}).status_code == 202
        service.stop()
    assert path.read_bytes().endswith(b'{"id": "torn')  # the next process has a file of its own
    assert sorted(line["id"] for line in whole_lines(folder)) == sorted([first, *later])
    assert [line["id"] for line in whole_lines(folder, "feedback")] == [first]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk; test_half_a_write_is_taken_back needs no rights")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_the_log_and_never_the_serving(tmp_path: Path, small_disk: Path) -> None:
    with wine_service(tmp_path, PREDICTION_LOG_DIR=str(small_disk)) as service:
        service.predict(ROW)
        wait_until(lambda: whole_lines(small_disk))
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        assert service.http.post("/predict/batch", json={"rows": [ROW] * 40}).status_code == 200
        wait_until(lambda: service.metric('api_log_dropped_total{reason="disk-full"}') > 0)
        accepted = []
        for number in range(52):  # some may fit into what is left of the last block
            told = TOLD | {"id": f"0123456789abcdef-{number:06d}"}
            if service.http.post("/feedback", json=told).status_code == 202:
                accepted.append(told["id"])
        assert len(accepted) < 52
        assert [line["id"] for line in whole_lines(small_disk, "feedback")] == accepted
        filler.unlink()
        last = service.predict(ROW)["id"]
        wait_until(lambda: last in [line["id"] for line in whole_lines(small_disk)])
        service.stop()
        events = [line["event"] for line in service.events()]
    assert events.count("prediction log stopped") == events.count("prediction log resumed") == 1
    assert {path.read_bytes()[-2:] for path in small_disk.rglob("*.jsonl")} <= {b"}\n", b""}  # no line is torn


@pytest.mark.parametrize(("truncates", "left"), [(True, [b"whole\nlater\n"]), (False, [b"later\n", b"whole\nto"])])
def test_half_a_write_is_taken_back_and_where_it_stays_another_file_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truncates: bool, left: list[bytes]
) -> None:
    files, write = LogFiles(tmp_path), os.write
    files.append("predictions", "2026-11-24", b"whole\n")

    def torn(file: int, content: bytes) -> int:
        if content != b"torn\n":
            raise OSError(28, "No space left on device")
        return write(file, content[:2])

    def no_truncate(_file: int, _size: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", torn)
        if not truncates:
            broken.setattr(os, "ftruncate", no_truncate)
        with pytest.raises(OSError, match="No space"):
            files.append("predictions", "2026-11-24", b"torn\n")
    files.append("predictions", "2026-11-24", b"later\n")
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == left
