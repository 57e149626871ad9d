"""One forest of the bundled wines, in every form that a server wants it in."""

import hashlib
import json
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read at MLflow's import: stdout is for the table.
os.environ |= {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}

import joblib
import numpy as np
import onnx
import pandas as pd
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestRegressor

import mlflow

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from training.model import signing
from training.model.onnx_export import compact_trees

SAMPLE = Path(__file__).parents[2] / "data" / "wine-sample.csv"
COLUMNS = list(pd.read_csv(SAMPLE, nrows=0).columns[:11])  # the eleven measures; quality and type come after them
NAMES = [name.replace(" ", "_") for name in COLUMNS]
NAME = "benchmark"
TREES, SENT_ROWS = 200, 100


@dataclass(frozen=True)
class Forest:
    """The folder with `forest.joblib`, `forest.onnx`, `names.json` and `mlflow/`, the rows, scikit-learn's predictions.

    `rows` is (SENT_ROWS, 11) float32, `predictions` (SENT_ROWS,).
    """

    folder: Path
    rows: Any
    predictions: Any


def make(folder: Path, trees: int = TREES) -> Forest:
    """Fits a forest of this many trees and writes it in each form."""
    table = pd.read_csv(SAMPLE)
    rows, target = table[COLUMNS].to_numpy(np.float32), table["quality"].to_numpy()
    model = RandomForestRegressor(n_estimators=trees, random_state=7, n_jobs=-1).fit(rows, target)
    model.n_jobs = 1  # one row: threads only cost
    sent = rows[:: len(rows) // SENT_ROWS][:SENT_ROWS]  # of both kinds of wine
    predictions = model.predict(sent)
    joblib.dump(model, folder / "forest.joblib")
    (folder / "names.json").write_text(json.dumps(NAMES))
    mlflow.sklearn.save_model(
        model,
        str(folder / "mlflow"),
        pip_requirements=["scikit-learn"],
        input_example=sent[:1],
        serialization_format="cloudpickle",
    )
    graph = convert_sklearn(model, "forest", [("joined", FloatTensorType([None, len(NAMES)]))], target_opset=17)
    _take_columns(graph)
    compact_trees(graph)
    _attach_contract(graph, sent[0], float(predictions[0]))
    onnx.save(graph, folder / "forest.onnx")
    return Forest(folder, sent, predictions)


def _take_columns(model: onnx.ModelProto) -> None:
    """One input per feature, as the training job makes its graphs."""
    graph = model.graph
    del graph.input[:]
    graph.input.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in NAMES)
    graph.initializer.append(onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [len(NAMES), -1]))
    nodes = [
        onnx.helper.make_node("Concat", NAMES, ["stacked"], axis=0),
        onnx.helper.make_node("Reshape", ["stacked", "shape"], ["lines"]),
        onnx.helper.make_node("Transpose", ["lines"], ["joined"], perm=[1, 0]),
        *graph.node,
    ]
    del graph.node[:]
    graph.node.extend(nodes)


def _attach_contract(model: onnx.ModelProto, row: Any, prediction: float) -> None:
    example = named(row)
    contract = {
        "version": 1,
        "name": NAME,
        "task": "regression",
        "target": "target",
        "features": [{"name": name, "input": name, "type": "number", "example": example[name]} for name in NAMES],
        "golden": {"rows": [example], "predictions": [prediction], "tolerance": 1e-4},
    }
    model.metadata_props.add(key="contract", value=json.dumps(contract))


def named(row: Any) -> dict[str, float]:
    """A row as an object of feature and value."""
    return dict(zip(NAMES, short(row), strict=True))


def short(row: Any) -> list[float]:
    """The values by their shortest decimal form, as a client would write them."""
    return [float(str(value)) for value in row]


def register(forest: Forest, uri: str, name: str = NAME) -> None:
    """Puts the ONNX form into the registry of a tracking server, as the training job does."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(NAME)
    with mlflow.start_run():
        graph = onnx.load(forest.folder / "forest.onnx")
        kept = mlflow.onnx.log_model(graph, name="onnx", pip_requirements=["onnx"], save_as_external_data=False)
        files = Path(mlflow.artifacts.download_artifacts(kept.model_uri, dst_path=str(forest.folder)))
    digest = hashlib.sha256((files / "model.onnx").read_bytes()).hexdigest()
    version = mlflow.register_model(kept.model_uri, name)
    client = mlflow.MlflowClient()
    client.set_model_version_tag(name, version.version, "model_sha256", digest)
    client.set_model_version_tag(name, version.version, "model_signature", signing.sign(name, digest))
    client.set_registered_model_alias(name, "production", version.version)
