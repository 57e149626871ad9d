"""What earlier versions kept is read: the files of tests/fixtures, made by the programs of then."""

import gzip
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prediction_api.main import create_app
from registry_server import FakeRegistry
from service_thread import settings_for

FIXTURES = Path(__file__).parents[1] / "fixtures"
VERSIONS = [path for path in FIXTURES.iterdir() if path.is_dir()]


@pytest.mark.parametrize("kept", VERSIONS, ids=[path.name for path in VERSIONS])
def test_a_copy_of_a_signed_model_is_served_without_the_registry(
    kept: Path, tmp_path: Path, registry: FakeRegistry
) -> None:
    copies = tmp_path / "models" / "beans"
    copies.mkdir(parents=True)
    (copies / "1.onnx").write_bytes(gzip.decompress((kept / "model.onnx.gz").read_bytes()))
    shutil.copy(kept / "copy-1.json", copies / "1.json")
    settings = settings_for(registry, tmp_path).model_copy(update={"signing_public_keys": kept / "public"})
    registry.stop()
    with TestClient(create_app(settings)) as client:
        answer = client.post("/predict", json={"length": 9.5, "colour": "black"}).json()
    assert (answer["prediction"], answer["model"]) == (0.4869998, {"name": "beans", "version": "1"})
