"""A BentoML service as its documentation writes one, with the forest in scikit-learn or in ONNX Runtime."""

import json
import os
from pathlib import Path

import bentoml
import joblib
import numpy as np
import onnxruntime

FOLDER = Path(os.environ["FOREST_FOLDER"])
NAMES = json.loads((FOLDER / "names.json").read_text())


class OnnxForest:
    """The graph under scikit-learn's name for predicting, on one thread: one row takes microseconds."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.session.run(None, dict(zip(NAMES, rows.T, strict=True)))[0].ravel()


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Forest:
    def __init__(self) -> None:
        onnx = os.environ["FOREST"] == "onnx"
        self.model = OnnxForest(FOLDER / "forest.onnx") if onnx else joblib.load(FOLDER / "forest.joblib")

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.model.predict(np.asarray(rows, dtype=np.float32))
