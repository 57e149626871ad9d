"""Registered versions made in a second: what training leaves in the tracking server, without the training."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from onnx import TensorProto, helper
from training.config import Config
from training.data.files import find
from training.model import signing
from training.promotion import promote as promotion
from training.tracking.ledger import Entry, Ledger
from training.tracking.registry import BASELINE_TAG, DIGEST_TAG, KEY_TAG, SIGNATURE_TAG, SOURCE_TAG, Registry

from mlflow import MlflowClient

ROWS = 120
POOR, FAIR, GOOD, BEST = 1.8, 1.9, 1.97, 1.995  # slopes; the truth is 2


def clean_table() -> pd.DataFrame:
    """Four hundred clean rows: y depends on both numbers and on the colour."""
    generator = np.random.default_rng(1)
    rows = 400
    frame = pd.DataFrame(
        {
            "body mass": generator.normal(70, 10, rows).round(2),
            "height": generator.normal(170, 8, rows).round(1),
            "colour": generator.choice(["red", "green", "blue"], rows),
        }
    )
    shift = frame["colour"].map({"red": 0.0, "green": 5.0, "blue": 10.0})
    frame["y"] = (frame["body mass"] * 0.5 + frame["height"] * 0.2 + shift + generator.normal(0, 1, rows)).round(3)
    return frame


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
    leaks: Sequence[str] = (),
) -> str:
    """Registers a version as `train` does, for the data as they are now; gives its number. `terms` are the parts of the
    contract that are other than usual."""
    client, source = MlflowClient(), find(config.data)
    digest, test = source.digest, pd.read_csv(source.files[0]).astype({"x": "float32"})
    content = model(contract(config.name, slope) | (terms or {}), slope)
    files = folder / "files"
    (files / "model").mkdir(parents=True, exist_ok=True)
    test.to_parquet(files / "test-rows.parquet", index=False)
    (files / "data-report.json").write_text(json.dumps({"leaks": list(leaks)}))
    (files / "model" / "model.onnx").write_bytes(content)
    tags = {BASELINE_TAG: json.dumps([float(test["y"].mean())])}
    tags |= {"pipeline.data_digest": digest, "pipeline.code_version": "abc", SOURCE_TAG: config.data.place}
    run = client.create_run(Registry(config.name, config.serving.alias).experiment(config.name), tags=tags)
    settings = (split or config.split.model_dump()).items()
    client.log_batch(run.info.run_id, params=[Param(f"split_{key}", str(value)) for key, value in settings])
    client.log_artifacts(run.info.run_id, str(files))
    with suppress(MlflowException):  # it is there already
        client.create_registered_model(config.name)
    tags = {KEY_TAG: config.training_key(digest), **signed(config.name, content)}
    uri = f"{run.info.artifact_uri}/model"
    made = client.create_model_version(config.name, uri, run.info.run_id, tags=tags, await_creation_for=0)
    return str(made.version)


def signed(name: str, content: bytes) -> dict[str, str]:
    """The tags by which a version's file is known as the one that was trained."""
    digest = hashlib.sha256(content).hexdigest()
    return {DIGEST_TAG: digest, SIGNATURE_TAG: signing.sign(name, digest)}


def take_over(config: Config, source: str, content: bytes) -> None:
    """Registers a model that was trained under another name, and puts it into production."""
    registry = Registry(config.name, config.serving.alias)
    tags = {KEY_TAG: config.training_key(find(config.data).digest), **signed(config.name, content)}
    registry.point_alias(registry.register(source, tags, "").version)


def failed(answer: dict[str, Any]) -> set[str]:
    """The codes of the reasons that speak against a version."""
    return {reason["code"] for reason in answer["reasons"] if not reason["passed"]}


class Model:
    """A pipeline with its own data file, in which versions can be made, promoted and moved back."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.data = folder, name, 0
        self.registry = Registry(name, "production")
        self.ledger, self.client = Ledger(self.registry), self.registry.client

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

    def serve(self, *slopes: float, **settings: Any) -> None:
        """New versions, each of which takes over from the one before, without a look of the gate."""
        for slope in slopes:
            version = self.train(slope, **settings)
            promotion.move(self.ledger, Entry("promoted", version, self.production()))

    def promote(self, data: int | None = None, **sections: Any) -> dict[str, Any]:
        return promotion.promote(self.config(data, **sections))

    def rollback(self, to: str | None = None) -> dict[str, Any]:
        return promotion.rollback(self.config(), to)

    def production(self) -> str | None:
        holder = self.registry.holder()
        return holder.version if holder else None

    def moves(self) -> list[tuple[str, str, str | None]]:
        """What the ledger says: action, version, the version before."""
        return [(entry.action, entry.version, entry.previous) for entry in self.ledger.entries()]

    def withdraw(self) -> None:
        """No version in production, if one is: the service that another test starts follows all that are."""
        if self.production():
            self.registry.point_alias("")
