"""What earlier versions kept is read: the files of tests/fixtures, made by the programs of then."""

import gzip
import hashlib
import json
from pathlib import Path

import onnx
import pytest
from pyspark.sql import SparkSession
from training.data import prediction_log
from training.errors import NewerFormat
from training.model import contract, signing
from training.tracking.ledger import Ledger
from training.tracking.registry import DIGEST_TAG, SIGNATURE_TAG, Registry

FIXTURES = Path(__file__).parents[1] / "fixtures"
VERSIONS = [path for path in FIXTURES.iterdir() if path.is_dir()]
# MLflow's own; raised when its tables are first looked at.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture(params=VERSIONS, ids=[path.name for path in VERSIONS])
def kept(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def unpacked(kept: Path, name: str) -> bytes:
    return gzip.decompress((kept / f"{name}.gz").read_bytes())


@pytest.fixture
def registry(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    (tmp_path / "mlflow.db").write_bytes(unpacked(kept, "mlflow.db"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return Registry("beans", "production")


def test_the_ledger(registry: Registry) -> None:
    [entry] = Ledger(registry).entries()
    assert (entry.action, entry.version, entry.previous, entry.alias) == ("promoted", "1", None, "production")
    assert [reason.code for reason in entry.reasons] == ["gain"]
    assert entry.key


def test_the_contract_and_the_signature(
    kept: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIGNING_PUBLIC_KEYS", str(kept / "public"))
    model = unpacked(kept, "model.onnx")
    version = registry.client.get_model_version("beans", "1")
    assert hashlib.sha256(model).hexdigest() == version.tags[DIGEST_TAG]
    signing.check("beans", "1", version.tags[DIGEST_TAG], version.tags[SIGNATURE_TAG])
    read = contract.read(model)
    assert [(one.name, one.type) for one in read.features] == [("length", "number"), ("colour", "category")]
    assert read.interval


def test_the_prediction_log(kept: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDICTION_LOG_DIR", str(kept / "predictions"))
    (predictions, torn), (told, torn_too) = (
        prediction_log.read(spark, "beans", kind) for kind in ("predictions", "feedback")
    )
    assert torn == torn_too == 0
    rows = prediction_log.labelled(predictions, told).select("row", "actual").collect()
    assert sorted((row["row"]["length"], row["actual"]) for row in rows) == [("13.0", "0.6"), ("9.5", "0.6")]


def test_a_newer_ledger_is_refused(registry: Registry) -> None:
    experiment = registry.experiment("beans-ledger")
    tags = {"ledger.format": "2", "ledger.entry": "{}"}
    run_id = registry.client.create_run(experiment, tags=tags).info.run_id
    with pytest.raises(NewerFormat, match=rf"ledger \(run {run_id}\) has format 2, .* this one reads up to 1"):
        Ledger(registry).entries()


def test_a_newer_contract_is_refused(kept: Path) -> None:
    model = onnx.load_from_string(unpacked(kept, "model.onnx"))
    [entry] = [one for one in model.metadata_props if one.key == "contract"]
    entry.value = json.dumps(json.loads(entry.value) | {"version": 3})
    with pytest.raises(NewerFormat, match=r"a model of 'beans' has format 3, .* up to 2"):
        contract.read(model.SerializeToString())


def test_a_newer_prediction_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDICTION_LOG_DIR", str(tmp_path))
    (tmp_path / "beans").mkdir()
    (tmp_path / "beans" / "predictions-2026-12-24-aa.v2.jsonl").touch()
    with pytest.raises(NewerFormat, match=r"predictions-2026-12-24-aa\.v2\.jsonl has format 2, .* up to 1"):
        prediction_log.files("beans", "predictions")
