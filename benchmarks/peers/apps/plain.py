"""What most people write: FastAPI, a typed body, and scikit-learn, loaded from the working folder."""

import json
from pathlib import Path

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import create_model

NAMES = json.loads(Path("names.json").read_text())
Row = create_model("Row", **dict.fromkeys(NAMES, (float, ...)))

app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})
forest = joblib.load("forest.joblib")


@app.get("/ready")
def ready() -> str:
    return "yes"


@app.post("/predict")
def predict(row: Row) -> dict[str, float]:
    values = np.array([[getattr(row, name) for name in NAMES]], dtype=np.float32)
    return {"prediction": float(forest.predict(values)[0])}
