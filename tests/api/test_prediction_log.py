"""What is logged, what is dropped, and what survives a stop, a kill and a full disk."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import wait_until, whole_lines
from fastapi.testclient import TestClient
from model_files import classification_model, regression_model
from prediction_api.main import create_app
from prediction_api.settings import Settings, read_settings
from prediction_api.telemetry import prediction_log
from prediction_api.telemetry.prediction_log import LogFiles, id_maker
from registry_server import FakeRegistry
from service_process import Service

ROW = {"fixed_acidity": 8.0, "alcohol": None, "type": "white"}
CSV = {"Content-Type": "text/csv"}
LOGGED_ROW = {"fixed acidity": 8.0, "alcohol": None, "type": "white"}


def lines(settings: Settings, kind: str) -> list[dict[str, Any]]:
    return whole_lines(settings.prediction_log_dir / "wine-quality", kind)  # type: ignore[operator]


def test_a_prediction_is_logged_by_the_names_of_the_csv(client: TestClient, settings: Settings) -> None:
    answer = client.post("/predict", json=ROW).json()
    wait_until(lambda: lines(settings, "predictions"))
    [line] = lines(settings, "predictions")
    at = datetime.fromisoformat(line.pop("at"))
    assert timedelta() <= datetime.now(UTC) - at < timedelta(minutes=1)
    assert line == {"id": answer["id"], "version": "1", "row": LOGGED_ROW, "prediction": 15.0}
    [path] = (settings.prediction_log_dir / "wine-quality").iterdir()  # type: ignore[operator]
    assert path.name.startswith(f"predictions-{at.date()}-")


def test_the_rows_of_a_batch_are_numbered(client: TestClient, settings: Settings) -> None:
    rows = [ROW | {"fixed_acidity": float(number)} for number in range(300)]  # more than one write
    identifier = client.post("/predict/batch", json={"rows": rows}).json()["id"]
    wait_until(lambda: len(lines(settings, "predictions")) == 300)
    logged = lines(settings, "predictions")
    assert [line["id"] for line in logged] == [f"{identifier}.{number}" for number in range(300)]
    assert [line["row"]["fixed acidity"] for line in logged] == list(range(300))


def test_a_classification_is_logged_with_its_probabilities_and_takes_labels_as_truth(
    registry: FakeRegistry, settings: Settings
) -> None:
    registry.add(classification_model())
    with TestClient(create_app(settings)) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        answer = client.post("/predict", json={"size": 2}).json()
        assert client.post("/feedback", json={"id": answer["id"], "actual": "benign"}).status_code == 202
        for actual in ("purple", 1.0, None):
            assert client.post("/feedback", json={"id": answer["id"], "actual": actual}).status_code == 422
    [line] = lines(settings, "predictions")  # the stop wrote it
    assert (line["prediction"], line["probabilities"]) == ("malign", answer["probabilities"])
    [told] = lines(settings, "feedback")
    assert (told["id"], told["actual"]) == (answer["id"], "benign")


def test_the_truth_about_a_row_of_a_batch_is_logged(client: TestClient, settings: Settings) -> None:
    identifier = client.post("/predict/batch", json={"rows": [ROW]}).json()["id"]
    answer = client.post("/feedback", json={"id": f"{identifier}.0", "actual": 6})
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    wait_until(lambda: lines(settings, "feedback"))
    [line] = lines(settings, "feedback")
    assert datetime.fromisoformat(line.pop("at")).tzinfo is not None
    assert line == {"id": f"{identifier}.0", "actual": 6.0}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"id": "mine", "actual": 5}, "id"),
        ({"id": "0123456789abcdef-000001.x", "actual": 5}, "id"),
        ({"id": "0123456789abcdef-000001\n", "actual": 5}, "id"),
        ({"id": 7, "actual": 5}, "id"),
        ({"actual": 5}, "id"),
        ({"id": "0123456789abcdef-000001"}, "actual"),
        ({"id": "0123456789abcdef-000001", "actual": "good"}, "actual"),
        ({"id": "0123456789abcdef-000001", "actual": None}, "actual"),
        ({"id": "0123456789abcdef-000001", "actual": True}, "actual"),
        ({"id": "0123456789abcdef-000001", "actual": 10**400}, "actual"),
        ({"id": "0123456789abcdef-000001", "actual": 5, "more": 1}, "more"),
        ([], None),
    ],
)
def test_feedback_that_does_not_fit_is_named(client: TestClient, body: object, where: str | None) -> None:
    answer = client.post("/feedback", json=body)
    assert (answer.status_code, answer.json()["type"]) == (422, "/docs#error-wrong-feedback")
    assert answer.json()["errors"][0]["loc"] == ([where] if where else [])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
def test_a_truth_that_is_not_finite_is_refused(client: TestClient, number: str) -> None:
    body = f'{{"id": "0123456789abcdef-000001", "actual": {number}}}'
    answer = client.post("/feedback", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


def test_feedback_is_small(client: TestClient) -> None:
    assert client.post("/feedback", json={"id": "x" * 5_000, "actual": 5}).status_code == 413


def test_switched_off_nothing_is_written_and_feedback_is_refused(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(regression_model())
    with TestClient(create_app(settings.model_copy(update={"prediction_log_dir": None}))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/predict", json=ROW).status_code == 200
        refused = client.post("/feedback", json={"id": "0123456789abcdef-000001", "actual": 5})
    assert refused.status_code == 503
    assert "switched off" in refused.json()["detail"]
    assert not settings.prediction_log_dir.exists()  # type: ignore[union-attr]


def test_an_empty_variable_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDICTION_LOG_DIR", "")
    assert read_settings().prediction_log_dir is None


def test_what_the_queue_cannot_hold_is_dropped_and_counted(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MOST_WAITING", 1)
    assert client.post("/predict/batch", json={"rows": [ROW, ROW]}).status_code == 200
    assert 'api_log_dropped_total{reason="queue-full"} 2.0' in client.get("/metrics").text
    monkeypatch.setattr(prediction_log, "MOST_FEEDBACK", 0)
    refused = client.post("/feedback", json={"id": "0123456789abcdef-000001", "actual": 5})
    assert (refused.status_code, refused.json()["type"]) == (503, "/docs#error-feedback-not-kept")
    assert lines(settings, "predictions") == []


def test_a_folder_that_cannot_be_written_never_stops_serving(client: TestClient, settings: Settings) -> None:
    folder = settings.prediction_log_dir
    assert folder is not None
    folder.write_text("a file where the folder should be")
    assert client.post("/predict", json=ROW).status_code == 200
    wait_until(lambda: 'api_log_dropped_total{reason="unwritable"} 1.0' in client.get("/metrics").text)
    told = {"id": "0123456789abcdef-000001", "actual": 5}
    assert client.post("/feedback", json=told).status_code == 503
    folder.unlink()
    wait_until(lambda: client.post("/feedback", json=told).status_code == 202)
    client.post("/predict", json=ROW)
    wait_until(lambda: len(lines(settings, "predictions")) == 1)


def test_what_a_fault_of_the_logs_own_loses_is_counted(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = prediction_log.to_json

    def broken(line: dict[str, Any]) -> bytes:
        if line["id"].endswith(".250"):
            raise ValueError("cannot be written as JSON")
        return write(line)

    monkeypatch.setattr(prediction_log, "to_json", broken)
    assert client.post("/predict/batch", json={"rows": [ROW] * 300}).status_code == 200
    wait_until(lambda: 'api_log_dropped_total{reason="failed"} 100.0' in client.get("/metrics").text)
    assert len(lines(settings, "predictions")) == 200  # whole writes of a hundred
    client.post("/predict", json=ROW)
    wait_until(lambda: len(lines(settings, "predictions")) == 201)


def test_files_older_than_asked_are_dropped(registry: FakeRegistry, settings: Settings) -> None:
    assert settings.prediction_log_dir is not None
    folder = settings.prediction_log_dir / "wine-quality"
    folder.mkdir(parents=True)
    today = datetime.now(UTC).date()
    names = [
        f"{kind}-{today - timedelta(days=days)}-0a.jsonl" for kind in ("predictions", "feedback") for days in (2, 9)
    ]
    for name in [*names, "predictions-2020-01-01.csv", "mine.jsonl"]:
        (folder / name).touch()
    registry.add(regression_model())
    with TestClient(create_app(settings.model_copy(update={"prediction_log_days": 5}))):
        wait_until(lambda: not (folder / names[1]).exists())
    left = sorted(path.name for path in folder.iterdir())
    assert left == sorted([names[0], names[2], "predictions-2020-01-01.csv", "mine.jsonl"])


@pytest.mark.parametrize("kind", ["predictions", "feedback"])
def test_a_clock_that_jumps_ahead_removes_nothing(
    registry: FakeRegistry, settings: Settings, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    assert settings.prediction_log_dir is not None
    folder = settings.prediction_log_dir / "wine-quality"
    folder.mkdir(parents=True)
    today = datetime.now(UTC).date()
    names = {f"{kind}-{today - timedelta(days=days)}-0a.jsonl" for days in range(4)}
    for name in names:
        (folder / name).touch()
    registry.add(regression_model())
    real = time.time
    with TestClient(create_app(settings.model_copy(update={"prediction_log_days": 5}))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        monkeypatch.setattr(prediction_log.time, "time", lambda: real() + 100 * 86_400)
        client.post("/predict", json=ROW)
        wait_until(lambda: whole_lines(folder))  # written, and looked for old files since
        client.post("/predict", json=ROW)
        wait_until(lambda: len(whole_lines(folder)) == 2)
        monkeypatch.undo()
    assert names <= {path.name for path in folder.iterdir()}


def test_a_start_while_the_clock_is_ahead_removes_nothing(
    settings: Settings, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.prediction_log_dir is not None
    folder = settings.prediction_log_dir / "wine-quality"
    folder.mkdir(parents=True)
    name = f"predictions-{datetime.now(UTC).date()}-0a.jsonl"
    (folder / name).touch()
    registry.add(regression_model())
    real = time.time
    monkeypatch.setattr(prediction_log.time, "time", lambda: real() + 100 * 86_400)
    with TestClient(create_app(settings.model_copy(update={"prediction_log_days": 5}))) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        for count in (1, 2):
            client.post("/predict", json=ROW)
            wait_until(lambda count=count: len(whole_lines(folder)) == count)
    assert (folder / name).exists()


def test_two_large_tables_at_once_are_logged_to_the_last_row(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MOST_WAITING", 2_000)
    table = "fixed acidity,alcohol,type\n" + "8,,white\n" * 10_000
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: client.post("/predict/batch", content=table, headers=CSV), range(2)))
    asked = {line.rsplit(",", 1)[1] for answer in answers for line in answer.text.splitlines()[1:]}
    assert len(asked) == 20_000
    wait_until(lambda: len(lines(settings, "predictions")) == 20_000)
    assert {line["id"] for line in lines(settings, "predictions")} == asked


def test_an_identifier_says_nothing_about_others() -> None:
    new_id, another = id_maker(), id_maker()
    drawn = [new_id() for _ in range(1_000)] + [another() for _ in range(1_000)]
    assert all(re.fullmatch(prediction_log.ID_PATTERN, one) for one in drawn)
    assert len({one[:8] for one in drawn}) == len({one[-8:] for one in drawn}) == 2_000


def test_identifiers_are_drawn_by_many_threads_at_once() -> None:
    interval, new_id = sys.getswitchinterval(), id_maker()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            drawn = [one for some in pool.map(lambda _: [new_id() for _ in range(5_000)], range(8)) for one in some]
    finally:
        sys.setswitchinterval(interval)
    assert len(set(drawn)) == 40_000


def test_nobody_else_may_read_the_log(client: TestClient, settings: Settings) -> None:
    answer = client.post("/predict", json=ROW).json()
    assert client.post("/feedback", json={"id": answer["id"], "actual": 6}).status_code == 202
    wait_until(lambda: lines(settings, "predictions"))
    folder = settings.prediction_log_dir / "wine-quality"  # type: ignore[operator]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.fixture
def service(registry: FakeRegistry, tmp_path: Path) -> Iterator[Service]:
    """The real process with the wine model live."""
    registry.add(regression_model())
    with Service(tmp_path, MLFLOW_TRACKING_URI=registry.uri, PREDICTION_LOG_DIR=str(tmp_path / "log")) as service:
        service.wait_ready()
        yield service


def test_a_stop_writes_what_is_waiting(service: Service, tmp_path: Path) -> None:
    asked = [service.predict(ROW)["id"] for _ in range(20)]
    told = httpx.post(f"{service.address}/feedback", json={"id": asked[0], "actual": 6}, timeout=60)
    assert told.status_code == 202
    service.stop()
    assert [line["id"] for line in whole_lines(tmp_path / "log")] == asked
    assert [line["id"] for line in whole_lines(tmp_path / "log", "feedback")] == asked[:1]


def test_a_kill_leaves_what_was_flushed_and_the_next_process_another_file(
    service: Service, registry: FakeRegistry, tmp_path: Path
) -> None:
    first = service.predict(ROW)["id"]
    wait_until(lambda: whole_lines(tmp_path / "log"))
    service.process.send_signal(signal.SIGKILL)
    service.process.wait(60)
    [path] = (tmp_path / "log").rglob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"id": "torn')  # what a kill in the midst of a write leaves
    with Service(tmp_path, MLFLOW_TRACKING_URI=registry.uri, PREDICTION_LOG_DIR=str(tmp_path / "log")) as second:
        second.wait_ready()
        later = second.predict(ROW)["id"]
        second.stop()
    assert {line["id"] for line in whole_lines(tmp_path / "log")} == {first, later}
    assert path.read_bytes().endswith(b'{"id": "torn')


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mount.returncode:
        pytest.skip("only root may mount a small disk; test_half_a_write_is_taken_back needs no rights")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_the_log_and_never_the_serving(
    registry: FakeRegistry, tmp_path: Path, small_disk: Path
) -> None:
    registry.add(regression_model())
    with Service(tmp_path, MLFLOW_TRACKING_URI=registry.uri, PREDICTION_LOG_DIR=str(small_disk)) as service:
        service.wait_ready()
        service.predict(ROW)
        wait_until(lambda: whole_lines(small_disk))
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file:
            fill(file.write)

        batch = httpx.post(f"{service.address}/predict/batch", json={"rows": [ROW] * 40}, timeout=60)
        assert batch.status_code == 200
        dropped = 'api_log_dropped_total{reason="disk-full"}'
        wait_until(lambda: service.metric(dropped) > 0)
        accepted = []
        for number in range(52):  # some may fit into what is left of the last block
            told = {"id": f"0123456789abcdef-{number:06d}", "actual": 5}
            if httpx.post(f"{service.address}/feedback", json=told, timeout=60).status_code == 202:
                accepted.append(told["id"])
        assert len(accepted) < 52
        assert [line["id"] for line in whole_lines(small_disk, "feedback")] == accepted
        filler.unlink()
        last = service.predict(ROW)["id"]
        wait_until(lambda: last in [line["id"] for line in whole_lines(small_disk)])
        service.stop()
        events = [json.loads(line)["event"] for line in service.events()]
    assert events.count("prediction log stopped") == events.count("prediction log resumed") == 1
    assert {path.read_bytes()[-2:] for path in small_disk.rglob("*.jsonl")} <= {b"}\n", b""}  # no line is torn


def fill(write: Callable[[bytes], int]) -> None:
    while True:
        try:
            write(b"x" * 4096)
        except OSError:
            return


def test_half_a_write_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, write = LogFiles(tmp_path), os.write
    files.append("predictions", "2026-11-24", b"whole\n")

    def half(file: int, content: bytes) -> int:
        if len(content) < 4:
            raise OSError(28, "No space left on device")
        return write(file, content[: len(content) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        files.append("predictions", "2026-11-24", b"never whole\n")
    monkeypatch.setattr(os, "write", write)
    files.append("predictions", "2026-11-24", b"later\n")
    [path] = tmp_path.iterdir()
    assert path.read_bytes() == b"whole\nlater\n"


def test_where_half_a_line_stays_another_file_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, write = LogFiles(tmp_path), os.write

    def torn(file: int, content: bytes) -> int:
        if content != b"torn\n":
            raise OSError(5, "Input/output error")
        return write(file, content[:2])

    def no_truncate(_file: int, _size: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", torn)
        broken.setattr(os, "ftruncate", no_truncate)
        with pytest.raises(OSError, match="Input/output"):
            files.append("predictions", "2026-11-24", b"torn\n")
    files.append("predictions", "2026-11-24", b"later\n")
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"later\n", b"to"]
