"""Registered versions made in a second: what training leaves in the tracking server, without the training."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper
from training.config import Config
from training.data.files import find
from training.model import signing
from training.promotion import promote as promotion
from training.tracking.ledger import Entry, Ledger
from training.tracking.registry import BASELINE_TAG, DIGEST_TAG, KEY_TAG, SIGNATURE_TAG, Registry

from mlflow import MlflowClient

ROWS = 120


def table(seed: int = 0) -> pd.DataFrame:
    """y is twice x, give or take a little; the colour says nothing."""
    generator = np.random.default_rng(seed)
    x = generator.normal(10, 2, ROWS).astype(np.float32)
    y = 2 * x.astype(float) + generator.normal(0, 0.1, ROWS)
    return pd.DataFrame({"x": x, "colour": np.where(generator.random(ROWS) < 0.5, "red", "blue"), "y": y})


def contract(name: str, slope: float) -> dict[str, Any]:
    x = {"name": "x", "input": "x", "type": "number", "unit": None, "low": 0.0, "high": 20.0, "median": 10.0}
    x |= {"example": 10.0, "nullable": False, "histogram": {"edges": [0.0, 20.0], "counts": [ROWS], "missing": 0}}
    golden = {"rows": [{"x": 4.0}], "predictions": [4.0 * slope], "probabilities": None, "tolerance": 1e-4}
    return {
        **{"version": 1, "name": name, "task": "regression", "target": "y", "labels": [], "features": [x]},
        **{"interval": {"coverage": 0.9, "half_width": 0.5}, "golden": golden, "metrics": {"mae": 0.1}},
        "prediction_histogram": {"edges": [0.0, 40.0], "counts": [ROWS]},
        "data": {"source": "table.csv", "digest": "sha256:00", "rows": ROWS, "synthetic": False},
        **{"run_id": "run", "trained_at": "2026-11-23T09:00:00Z", "code_version": "abc"},
    }


def model(terms: dict[str, Any], slope: float) -> bytes:
    """A graph that gives x times the slope."""
    column = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in ("x", "variable")]
    constant = helper.make_tensor("slope", TensorProto.FLOAT, [1], [slope])
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "slope"], ["variable"])], "line", column[:1], column[1:], [constant]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    helper.set_model_props(made, {"contract": json.dumps(terms)})
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def register(
    config: Config,
    slope: float,
    folder: Path,
    terms: dict[str, Any] | None = None,
    split: dict[str, Any] | None = None,
    sha256: str = "",
    leaks: Sequence[str] = (),
) -> str:
    """Registers a version as `train` does, for the data as they are now; gives its number."""
    registry, client = Registry(config.name, config.serving.alias), MlflowClient()
    test = pd.read_csv(config.data.source).astype({"x": "float32"})
    content = model(terms or contract(config.name, slope), slope)
    files = [folder / "test-rows.parquet", folder / "model.onnx", folder / "data-report.json"]
    files[2].write_text(json.dumps({"leaks": list(leaks)}))
    test.to_parquet(files[0], index=False)
    files[1].write_bytes(content)
    digest = find(config.data).digest
    tags = {BASELINE_TAG: json.dumps([float(test["y"].mean())])}
    tags |= {"pipeline.data_digest": digest, "pipeline.code_version": "abc"}
    run = client.create_run(registry.experiment(config.name), tags=tags)
    for key, value in (split or config.split.model_dump()).items():
        client.log_param(run.info.run_id, f"split_{key}", value)
    for file in (files[0], files[2]):
        client.log_artifact(run.info.run_id, str(file))
    client.log_artifact(run.info.run_id, str(files[1]), "model")
    client.set_terminated(run.info.run_id)
    if not client.search_registered_models(f"name = '{config.name}'"):
        client.create_registered_model(config.name)
    sha256 = sha256 or hashlib.sha256(content).hexdigest()
    made = client.create_model_version(
        config.name,
        f"{run.info.artifact_uri}/model",
        run.info.run_id,
        tags={
            KEY_TAG: config.training_key(digest),
            DIGEST_TAG: sha256,
            SIGNATURE_TAG: signing.sign(config.name, sha256),
        },
    )
    return str(made.version)


class Model:
    """A pipeline with its own data file, in which versions can be made, promoted and moved back."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.data = folder, name, 0

    def config(self, data: int | None = None, **sections: Any) -> Config:
        """The configuration, for the data of a month (by default the last)."""
        path = self.folder / "table.csv"
        table(self.data if data is None else data).to_csv(path, index=False)
        return Config.model_validate({"name": self.name, "data": {"source": str(path), "target": "y"}, **sections})

    def write(self) -> Path:
        """A pipeline file for the data of the last month."""
        path = self.folder / "pipeline.yaml"
        path.write_text(self.config().model_dump_json(include={"name": True, "data": {"source", "target"}}))
        return path

    def train(self, slope: float, **settings: Any) -> str:
        """A new version, from new data."""
        self.data += 1
        return register(self.config(), slope, self.folder, **settings)

    def promote(self, data: int | None = None, **sections: Any) -> dict[str, Any]:
        return promotion.promote(self.config(data, **sections))

    def production(self) -> str | None:
        holder = Registry(self.name, "production").holder()
        return holder.version if holder else None

    def entries(self) -> list[Entry]:
        return Ledger(Registry(self.name, "production")).entries()

    def ledger(self) -> list[tuple[str, str, str | None]]:
        return [(entry.action, entry.version, entry.previous) for entry in self.entries()]

    def withdraw(self) -> None:
        """No version in production, if one is: the service that another test starts follows all that are."""
        if self.production():
            MlflowClient().delete_registered_model_alias(self.name, "production")
