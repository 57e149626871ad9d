"""A table with every type of feature: what training reads, the service reads by the contract, in its own classes."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from training import train
from training.config import Config
from training.data import table as dataset
from training.data.files import find
from training.data.spark import session
from training.model import onnx_runtime
from training.model.frame_model import FrameModel
from training.tracking.registry import Registry

sys.path.insert(0, str(Path(__file__).parents[2] / "api"))

from prediction_api.models.predictor import Predictor
from prediction_api.predicting.rows import RowReader

ROWS = 400
GAPS = ["", "NA", "n/a", " ? "]
FLAGS = ["yes", "No", "TRUE", "0", ""]


def odd_table() -> pd.DataFrame:
    """Cells and names as people write them, each kind of feature, with gaps."""
    generator = np.random.default_rng(5)
    size = generator.normal(1500, 400, ROWS)
    written = [f"{value:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".") for value in size]
    frame = pd.DataFrame(
        {
            "größe": [GAPS[i % 4] if i % 23 == 0 else f" {text}\u00a0" for i, text in enumerate(written)],
            "emp.var.rate": [f"\u2212{i % 17},5" if i % 2 else f"+{i % 13}" for i in range(ROWS)],
            'is "new"?': [FLAGS[generator.integers(5)] for _ in range(ROWS)],
            "🍷 sold": [f"{i % 28 + 1}.{i % 12 + 1}.2024" for i in range(ROWS)],
            "day": [int(f"2024{i % 12 + 1:02}{i % 28 + 1:02}") for i in range(ROWS)],
            "at (€/h)": [f"2024-03-{i % 28 + 1:02}T{i % 24:02}:30:00+01:00" for i in range(ROWS)],
            "budget_2013$": [f" town {generator.geometric(0.02)}" for _ in range(ROWS)],
            "酒精 %": [["none", "attached", "built in"][i % 3] for i in range(ROWS)],
        }
    )
    frame["price.eur"] = [f"{value / 100:.3f}".replace(".", ",") for value in size]
    return frame


@pytest.mark.usefixtures("spark", "tracking", "small_models")
def test_every_row_of_the_training_file_is_read_alike_by_the_service(
    tmp_path: Path, configured: Callable[..., Config]
) -> None:
    frame = odd_table()
    frame.to_csv(tmp_path / "odd.csv", index=False, sep=";")
    config = configured(
        tmp_path / "odd.csv",
        name="odd",
        target="price.eur",
        data={"decimal": ",", "thousands": "."},
        checks={"max_missing": 0.5},
        search={"trials": 1, "candidates": ["extra_trees"]},
    )
    trained = train.train(config)
    registry = Registry("odd", "production")
    content = registry.verified_content(registry.numbered(trained["version"]))
    predictor = Predictor.from_bytes(content)
    contract = predictor.contract
    assert {one.name: one.type for one in contract.features} == {
        "größe": "number",
        "emp.var.rate": "number",
        'is "new"?': "boolean",
        "🍷 sold": "date",
        "day": "date",
        "at (€/h)": "date",
        "budget_2013$": "category",
        "酒精 %": "category",
    }
    assert {text.strip() for text in frame["budget_2013$"]} == set(contract.features[6].categories)

    rows = RowReader(contract).rows(frame.drop(columns="price.eur").to_dict("records"), ())
    served = [one.value for one in predictor.predict(rows)]

    (tmp_path / "model.onnx").write_bytes(content)
    by_mlflow = FrameModel(str(tmp_path / "model.onnx")).predict(frame.drop(columns="price.eur"))
    assert served == pytest.approx(by_mlflow["variable"].to_numpy(), rel=1e-5)

    loaded = dataset.load(session("again"), find(config.data), config)
    parts = pd.concat([loaded.part(part) for part in dataset.PARTS], ignore_index=True)
    values, _ = onnx_runtime.run(content, parts[list(loaded.features)])
    assert np.sort(served) == pytest.approx(np.sort(values), rel=1e-5)
    actual = frame["price.eur"].str.replace(",", ".").astype(float)
    assert pd.Series(served).groupby(actual).min().to_numpy() == pytest.approx(
        pd.Series(values).groupby(parts["price.eur"]).min().to_numpy(), rel=1e-5
    )
