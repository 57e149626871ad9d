"""What a training run leaves in MLflow: parameters, metrics, data, pictures, the model, and a registered version."""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import onnx
import pandas as pd
from mlflow.data import sources
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

import mlflow
from training.config import Config
from training.data.files import Source
from training.data.table import HASH, Rows
from training.evaluation.diagnostics import Measurement
from training.fit.search import Found
from training.model import frame_model, signing
from training.report import plots
from training.report.card import Card, page, render
from training.tracking import registry as names
from training.tracking.registry import Registry

# Named because MLflow registers two sources for a local path and warns that it cannot choose.
_DATA_SOURCE: Any = vars(sources)["LocalArtifactDatasetSource"]


@dataclass(frozen=True)
class Result:
    """A fitted model as its checked graph with the contract, how it came about, and what is known of it."""

    found: Found
    content: bytes
    contract: dict[str, Any]
    parity: float
    baseline: list[float]
    measured: Measurement


def record(
    registry: Registry, config: Config, source: Source, report: dict[str, Any], test: Rows, result: Result, key: str
) -> str:
    """Logs into the search's own run, registers the model, returns the version. That comes last: an
    interrupted task leaves none, and its repetition writes the same again."""
    found, measured = result.found, result.measured
    trials, size = len(found.trials), len(result.content)
    card = Card(result.contract, report, measured, found.best, trials, config.data.segment, size)
    synthetic = str(source.synthetic).lower()
    model = onnx.load_from_string(result.content)
    # Of what is about to be written: what is read back later may have been replaced by then.
    digest = hashlib.sha256(model.SerializeToString()).hexdigest()
    with mlflow.start_run(run_id=found.run_id):
        mlflow.log_metrics({**measured.metrics, **measured.details, "onnx_difference": result.parity})
        mlflow.set_tags(
            {
                names.KEY_TAG: key,
                "pipeline.data": source.name,
                names.SOURCE_TAG: config.data.place,
                "pipeline.data_digest": source.digest,
                "pipeline.data_synthetic": synthetic,
                "pipeline.code_version": result.contract["code_version"],
                "pipeline.config": json.dumps(config.model_dump(mode="json"))[:5000],
                names.BASELINE_TAG: json.dumps(result.baseline),
            }
        )
        place = _DATA_SOURCE(source.name)
        data = mlflow.data.pandas_dataset.from_pandas(
            test.frame, source=place, targets=config.data.target, name=config.name, digest=source.digest[:36]
        )
        mlflow.log_input(data, context="training")
        with tempfile.TemporaryDirectory() as folder:
            _write_files(Path(folder), config, report, test, result, card)
            mlflow.log_artifacts(folder)
        logged = Model.log(
            artifact_path=None,
            name="model",
            flavor=_OnnxByContract,
            onnx_model=model,
            signature=_signature(result.contract),
            input_example=_example(result.contract),
            metadata={"contract": result.contract},
            pip_requirements=["onnxruntime", "pandas"],
            save_as_external_data=False,
            onnx_execution_providers=["CPUExecutionProvider"],
        )
        # By these the gate tells whether a champion may have been trained on the test rows.
        split = {f"split_{name}": value for name, value in config.split.model_dump().items()}
        split["split_test"] = report["split_test"]
        # Last, since they can be written once only: a repetition after an accident may have found another winner.
        mlflow.log_params({**found.best, "folds": config.search.folds, "trials": config.search.trials, **split})
    tags = {
        names.KEY_TAG: key,
        names.DIGEST_TAG: digest,
        names.SIGNATURE_TAG: signing.sign(registry.name, digest),
        names.FEEDBACK_TAG: report.get("feedback_digest", ""),
        "data_synthetic": synthetic,
    }
    version = str(registry.register(logged.model_uri, tags, page(card)).version)
    registry.client.set_tag(found.run_id, names.NOTE, _note(config, source, result, version))
    return version


def _note(config: Config, source: Source, result: Result, version: str) -> str:
    """What MLflow's page says of the run."""
    metric = config.gate_metric
    figure = f"{metric} {result.measured.metrics[metric]:.4g} on the test rows"
    return f"Version {version} of **{config.name}**, from {source.name}: {result.found.best['candidate']}, {figure}."


def _write_files(folder: Path, config: Config, report: dict[str, Any], test: Rows, result: Result, card: Card) -> None:
    """What people look at, and the rows that the gate will judge on."""
    (folder / "model-card.md").write_text(render(card), encoding="utf-8")
    (folder / names.REPORT_FILE).write_text(json.dumps(report, indent=2), encoding="utf-8")
    # With the hash, by which the gate knows rows that repeat each other.
    test.frame.assign(**{HASH: test.hash}).to_parquet(folder / names.TEST_ROWS_FILE, index=False)
    (folder / "plots").mkdir()
    plots.save(folder / "plots", card, result.found.trials, config.search_metric)


class _OnnxByContract:
    """MLflow's ONNX flavor, with `frame_model` as what `mlflow.pyfunc` loads."""

    @staticmethod
    def save_model(path: str, mlflow_model: Model, **options: Any) -> None:
        mlflow.onnx.save_model(path=path, mlflow_model=mlflow_model, code_paths=[frame_model.__file__], **options)
        mlflow_model.flavors["python_function"]["loader_module"] = "frame_model"
        mlflow_model.save(str(Path(path) / MLMODEL_FILE_NAME))


def _signature(contract: dict[str, Any]) -> ModelSignature:
    """The columns by name, or by their identifiers: MLflow drops all others. Types are left to the contract, since
    MLflow would refuse int64 for a double."""
    names = [feature[key] for key in ("name", "input") for feature in contract["features"]]
    anything: Any = AnyType
    columns: list[Any] = [ColSpec(anything(), name, required=False) for name in dict.fromkeys(names)]
    outputs: list[Any] = [ColSpec(DataType.double, "variable")]
    if contract["labels"]:
        probabilities = [ColSpec(DataType.double, f"probability_{label}") for label in contract["labels"]]
        outputs = [ColSpec(DataType.string, "label"), *probabilities]
    return ModelSignature(inputs=Schema(columns), outputs=Schema(outputs))


def _example(contract: dict[str, Any]) -> pd.DataFrame:
    """One row, as the table writes it: the contract has dates in ISO 8601."""
    row = {feature["name"]: feature["example"] for feature in contract["features"]}
    for feature in contract["features"]:
        if feature["type"] == "date" and feature["format"] != "iso":
            row[feature["name"]] = datetime.fromisoformat(feature["example"]).strftime(feature["format"])
    return pd.DataFrame([row])
