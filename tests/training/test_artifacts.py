"""MLflow's artifacts in a bucket: it alone has the credentials, and all others go through it."""

import sys
from pathlib import Path
from typing import Any

import pytest
from servers import held_port, server_running
from sources import WRITER
from training.config import Config, Data
from training.tracking.registry import Registry
from versions import GOOD, register, table


def test_a_model_goes_to_a_bucket_and_comes_back(
    bucket: Any, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    table().to_csv(tmp_path / "table.csv", index=False)
    config = Config(name="kept-in-a-bucket", data=Data(source=str(tmp_path / "table.csv"), target="y"))
    variables = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", **WRITER}
    variables |= {"MLFLOW_ARTIFACTS_DESTINATION": "s3://others/artifacts", "AWS_ENDPOINT_URL": s3_server}
    with held_port() as port:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", "--serve-artifacts"]
        command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        with server_running(command, tmp_path, f"http://127.0.0.1:{port}/health", variables):
            registry = Registry(config.name, "production")
            version = registry.numbered(register(config, GOOD, tmp_path))
            assert version is not None
            content = registry.verified_content(version)
    stored = [one["Key"] for one in bucket.list_objects_v2(Bucket="others", Prefix="artifacts/")["Contents"]]
    (key,) = [key for key in stored if key.endswith("/model/model.onnx")]
    assert bucket.get_object(Bucket="others", Key=key)["Body"].read() == content
