"""Following the registry: what goes live, what is refused, what survives."""

import asyncio
import hashlib
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import live, started, wait_until
from fastapi.testclient import TestClient
from model_files import regression_contract, regression_model
from prediction_api.models import store
from prediction_api.models.copies import ModelCopies, VersionRecord, now
from prediction_api.settings import Settings
from registry_server import FakeRegistry, sign

ROW = {"fixed acidity": 8.0, "alcohol": 9.0, "type": "red"}
SOUND = hashlib.sha256(regression_model()).hexdigest()


def served(client: TestClient) -> str | None:
    answer = client.get("/readyz")
    return str(answer.json()["model"]["version"]) if answer.status_code == 200 else None


def refused(client: TestClient) -> str | None:
    answer = client.get("/readyz").json()
    return answer["refused"] and str(answer["refused"]["reason"])


def folder_of(settings: Settings) -> Path:
    return settings.models_dir / "wine-quality"


def test_a_rollback_needs_no_second_download(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(regression_model(0.5))
    with live(settings) as client:
        registry.add(regression_model(1.0))
        wait_until(lambda: served(client) == "2")
        registry.aliases["production"] = "1"
        wait_until(lambda: served(client) == "1")
    assert registry.downloads == ["1", "2"]
    registry.stop()
    with started(settings) as client:
        assert served(client) == "1"  # a restart without the registry keeps the rollback


def test_a_rollback_does_not_wait_for_the_trial_of_another_version(
    registry: FakeRegistry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, stopped = regression_model(1.0), threading.Event()

    async def endless(content: bytes, _most_bytes: int) -> int:
        try:
            await asyncio.sleep(60 if content == large else 0)
        except asyncio.CancelledError:
            stopped.set()
            raise
        return len(content)

    monkeypatch.setattr(store, "try_out", endless)
    registry.add(regression_model(0.5))
    with live(settings) as client:
        registry.add(large)
        wait_until(lambda: registry.downloads == ["1", "2"])
        looks = registry.looks
        wait_until(lambda: registry.looks > looks + 3)  # it is tried, and wanted still
        assert not stopped.is_set()
        registry.add(regression_model(0.25))
        wait_until(lambda: served(client) == "3")
        assert stopped.is_set()
        wait_until((folder_of(settings) / "3.json").exists)
    assert sorted(path.name for path in folder_of(settings).iterdir()) == ["1.json", "1.onnx", "3.json", "3.onnx"]


@pytest.mark.parametrize(
    ("content", "sha256", "reason"),
    [
        (regression_model(1.0), None, "digest-missing"),
        (regression_model(1.0), "0" * 64, "digest-mismatch"),
        (b"no model at all", "right", "unsafe-graph"),
        (regression_model(1.0, contract=regression_contract() | {"features": []}), "right", "wrong-contract"),
        (regression_model(1.0, regression_contract(0.5)), "right", "golden-mismatch"),
        (b"", "right", "artifact-unavailable"),
    ],
)
def test_a_bad_version_is_refused_and_the_old_one_goes_on(
    registry: FakeRegistry, settings: Settings, content: bytes, sha256: str | None, reason: str
) -> None:
    registry.add(regression_model(0.5))
    with live(settings) as client:
        registry.add(content, sha256)
        wait_until(lambda: refused(client))
        assert refused(client) == reason
        assert client.get("/readyz").json()["refused"]["version"] == "2"
        assert client.post("/predict", json=ROW).json()["prediction"] == 13.0
        assert f'api_model_refusals_total{{model="wine-quality",reason="{reason}"}} 1.0' in client.get("/metrics").text
        registry.aliases["production"] = "1"
        wait_until(lambda: refused(client) is None)
    assert not list(folder_of(settings).glob("*.part"))


def test_a_refused_version_is_not_fetched_again_without_a_change(registry: FakeRegistry, settings: Settings) -> None:
    version = registry.add(regression_model(), sha256="0" * 64)
    with started(settings) as client:
        wait_until(lambda: "was refused" in client.get("/readyz").json()["detail"])
        looks = registry.looks
        wait_until(lambda: registry.looks > looks + 5)
        assert registry.downloads == [version]
        registry.versions[version].tags |= {"model_sha256": SOUND, "model_signature": sign(registry.name, SOUND)}
        wait_until(lambda: served(client) == version)
        assert refused(client) is None


def test_a_refused_version_is_tried_again_after_a_while(
    registry: FakeRegistry, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RETRY_REFUSED_SECONDS", 0.01)
    registry.add(regression_model(1.0), sha256=SOUND)
    with started(settings) as client:
        wait_until(lambda: len(registry.downloads) > 1)
        registry.versions["1"].content = regression_model()
        wait_until(lambda: served(client) == "1")


def test_with_the_registry_away_the_model_goes_on_and_it_is_said(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(regression_model())
    with live(settings) as client:
        registry.stop()
        wait_until(lambda: client.get("/readyz").json()["registry"]["reachable"] is False)
        assert client.post("/predict", json=ROW).status_code == 200
        registry.start()
        wait_until(lambda: client.get("/readyz").json()["registry"]["reachable"])
        registry.broken = 500
        wait_until(lambda: "answered 500" in client.get("/readyz").json()["registry"]["detail"])
        registry.broken = 403  # another server, or one that does not allow this host's name
        wait_until(lambda: "not in MLflow's protocol" in client.get("/readyz").json()["registry"]["detail"])
        registry.broken = None
        wait_until(lambda: client.get("/readyz").json()["registry"]["reachable"])
        assert client.post("/predict", json=ROW).status_code == 200


def test_a_download_that_breaks_off_is_tried_again(registry: FakeRegistry, settings: Settings) -> None:
    registry.truncate = True
    registry.add(regression_model())
    with started(settings) as client:
        wait_until(lambda: len(registry.downloads) > 1)
        assert served(client) is None
        registry.truncate = False
        wait_until((folder_of(settings) / "1.json").exists)
    assert sorted(path.name for path in folder_of(settings).iterdir()) == ["1.json", "1.onnx"]


def test_a_restart_without_the_registry_serves_the_copy(kept: Path, registry: FakeRegistry, settings: Settings) -> None:
    registry.stop()
    with started(settings) as client:
        assert client.post("/predict", json=ROW).json()["prediction"] == 13.0
        assert client.get("/model").json()["version"] == "1"


def test_a_damaged_copy_is_not_loaded_and_fetched_again(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(regression_model(0.5))
    with live(settings) as client:
        registry.add(regression_model(1.0))
        wait_until(lambda: served(client) == "2")
        wait_until((folder_of(settings) / "2.json").exists)
    copy = folder_of(settings) / "2.onnx"
    copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    registry.stop()
    with started(settings) as client:
        assert served(client) == "1"  # the newest one that is whole
        assert refused(client) == "digest-mismatch"
        registry.start()
        wait_until(lambda: served(client) == "2")
    assert registry.downloads == ["1", "2", "2"]


def test_what_a_killed_process_left_half_written_is_removed(settings: Settings) -> None:
    folder_of(settings).mkdir(parents=True)
    old = [folder_of(settings) / name for name in ("x.part", "7.onnx")]
    for path in old:
        path.write_bytes(b"killed before its record was written")
        os.utime(path, (time.time() - 7_200,) * 2)
    another_replica = folder_of(settings) / "y.part"
    another_replica.write_bytes(b"it is downloading now")
    with started(settings):
        assert list(folder_of(settings).iterdir()) == [another_replica]


def test_a_clock_that_was_put_back_costs_no_copy(tmp_path: Path) -> None:
    copies = ModelCopies(tmp_path)
    for number in range(1, 6):
        downloaded = copies.new_file()
        downloaded.write_bytes(b"model")
        moment = now() - timedelta(hours=number)
        record = VersionRecord(
            name="w", version=str(number), alias="production", sha256="0", run_id=None, adopted_at=moment
        )
        copies.keep(downloaded, record)
    assert [record.version for record in copies.newest_first()] == ["5", "4", "3"]
    assert (tmp_path / "5.onnx").exists()


def test_a_leftover_that_cannot_be_removed_does_no_harm(registry: FakeRegistry, settings: Settings) -> None:
    (folder_of(settings) / "x.part").mkdir(parents=True)  # as good as a folder that is read only, also for root
    registry.add(regression_model())
    with live(settings):
        pass


@pytest.fixture
def kept(registry: FakeRegistry, settings: Settings) -> Path:
    """The folder of the copies after a run: version 1 and its record."""
    registry.add(regression_model())
    with live(settings):
        wait_until((folder_of(settings) / "1.json").exists)
    return folder_of(settings)


@pytest.mark.parametrize("record", ["{", "{}", '{"version": "../../1"}', None])
def test_a_copy_without_its_record_and_a_record_without_its_copy_are_no_model(
    kept: Path, registry: FakeRegistry, settings: Settings, record: str | None
) -> None:
    if record is None:
        (kept / "1.onnx").unlink()
    else:
        (kept / "1.json").write_text(record)
    registry.stop()
    with started(settings) as client:
        assert served(client) is None


def test_only_the_last_three_copies_are_kept(registry: FakeRegistry, settings: Settings) -> None:
    with started(settings) as client:
        for number in range(1, 6):
            registry.add(regression_model(number / 10))
            wait_until((folder_of(settings) / f"{len(registry.versions)}.json").exists)
        wait_until(lambda: served(client) == "5")
    names = sorted(path.name for path in folder_of(settings).iterdir())
    assert names == ["3.json", "3.onnx", "4.json", "4.onnx", "5.json", "5.onnx"]


@pytest.mark.parametrize(("cause", "says"), [("no folder", "cannot write to"), ("not behind the server", "s3:")])
def test_why_a_model_cannot_be_fetched_is_said(
    registry: FakeRegistry, settings: Settings, cause: str, says: str
) -> None:
    version = registry.add(regression_model())
    if cause == "no folder":
        settings.models_dir.write_text("a file where the folder should be")
    else:
        registry.versions[version].artifact_uri = "s3://bucket/model"
    with started(settings) as client:
        wait_until(lambda: says in client.get("/readyz").json()["detail"])


def test_a_disk_that_is_full_while_downloading_is_named(
    registry: FakeRegistry, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: ModelCopies) -> Path:
        path = tmp_path / "full.part"
        path.symlink_to("/dev/full")
        return path

    monkeypatch.setattr(ModelCopies, "new_file", full)
    registry.add(regression_model())
    with started(settings) as client:
        wait_until(lambda: "No space left on device" in client.get("/readyz").json()["detail"])
        assert refused(client) == "artifact-unavailable"
    assert registry.downloads == ["1"]  # not again at every look


def test_a_copy_that_cannot_be_read_is_fetched_again(kept: Path, settings: Settings) -> None:
    (kept / "1.onnx").unlink()
    (kept / "1.onnx").mkdir()  # as good as a file without the right to read it, also for root
    with live(settings):
        pass


def test_nobody_else_reads_the_copies(kept: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o600}
    assert kept.stat().st_mode & 0o777 == 0o700
