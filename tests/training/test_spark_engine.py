"""The engine for data beyond one machine gives what the local one gives, and keeps the training part there."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from training import train
from training.config import Config
from training.data.table import Dataset
from training.errors import DataError
from training.fit import local as local_engine
from training.fit import search
from training.fit.cluster import SparkEngine
from training.fit.local import LocalEngine
from training.fit.profile import Categories, Numbers
from training.model import onnx_export, onnx_runtime
from training.promotion import promote
from training.tracking.registry import Registry

Configured = Callable[..., Config]
Load = Callable[..., Dataset]
SMALL = {"candidate": "xgboost", "n_estimators": 30, "learning_rate": 0.2, "max_depth": 4}
ON_SPARK = {"engine": "spark", "candidates": ["xgboost"], "trials": 1}


@pytest.fixture
def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers and a category, each with gaps, under names that Spark would take for paths or not print."""
    frame = table.copy()
    frame.loc[::9, "height"] = None
    frame.loc[::8, "colour"] = None
    return frame.rename(columns={"body mass": "body.mass (kg)", "colour": "\U0001f3a8 colour"})


@pytest.fixture
def stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails whoever collects the training part."""
    part = Dataset.part

    def held_back(self: Dataset, name: str, most: int | None = None) -> pd.DataFrame:
        assert name != "train"
        return part(self, name, most)

    monkeypatch.setattr(Dataset, "part", held_back)


def start(
    spark: SparkSession, config: Config, loaded: Dataset, labels: list[str], engine: type[Any] = SparkEngine
) -> Any:
    return engine(spark, config.search, config.search_metric, config.split.seed, loaded, labels)


def test_profiles_and_scores_are_those_of_the_local_engine(
    spark: SparkSession, gaps: pd.DataFrame, configured: Configured, load: Load
) -> None:
    loaded = load(gaps)
    here = start(spark, configured(gaps), loaded, [], LocalEngine)
    there = start(spark, configured(gaps, search=ON_SPARK), loaded, [])
    assert there.columns == here.columns
    assert there.profile.baseline == pytest.approx(here.profile.baseline)
    assert there.profile.spread == pytest.approx(here.profile.spread)
    for name, local in here.profile.features.items():
        remote = there.profile.features[name]
        assert remote.missing == local.missing
        if isinstance(local, Categories):
            assert remote == local
        elif isinstance(remote, Numbers):
            assert (remote.low, remote.high) == (local.low, local.high)
            assert remote.median == pytest.approx(local.median, abs=0.1)
            assert np.array(remote.edges) == pytest.approx(np.array(local.edges), abs=0.5)
            assert sum(remote.counts) == sum(local.counts)

    ours = local_engine.cross_validate(SMALL, here.rows, "mae", 7)
    assert there.cross_validate(SMALL) == pytest.approx(ours, rel=0.05)
    model = there.fit(SMALL)
    held = loaded.rows("test", [])
    content = onnx_export.graph(model, there.columns, []).SerializeToString()
    assert onnx_export.check_parity(content, held.features, search.predict(model, held.features, 0), 1.0) < 1e-4
    local_error = np.abs(search.predict(here.fit(SMALL), held.features, 0) - held.target).mean()
    remote_error = np.abs(search.predict(model, held.features, 0) - held.target).mean()
    assert remote_error == pytest.approx(local_error, rel=0.1)
    assert (
        search.predict(there.fit(SMALL), held.features, 0).tolist() == search.predict(model, held.features, 0).tolist()
    )


@pytest.mark.usefixtures("tracking", "small_models", "stays_there")
def test_a_table_becomes_a_promoted_model_and_no_training_row_reaches_the_driver(
    spark: SparkSession, tmp_path: Path, gaps: pd.DataFrame, configured: Configured
) -> None:
    config = configured(
        gaps, name="on-spark", data={"segment": "\U0001f3a8 colour"}, search=ON_SPARK, split={"most_rows": 30}
    )
    first = train.train(config)
    assert first["metrics"]["mae"] < 0.6 * first["metrics"]["baseline_mae"]
    assert train.train(config)["status"] == "unchanged"
    assert promote.promote(config)["action"] == "promoted"
    registry = Registry("on-spark", "production")
    holder = registry.holder()
    assert holder is not None
    contract = onnx_runtime.read_contract(registry.model_content(holder))
    assert [feature["name"] for feature in contract["features"]] == ["body.mass (kg)", "height", "\U0001f3a8 colour"]
    assert len(pd.read_parquet(BytesIO(registry.run_file(holder, "test-rows.parquet")))) == 30


def test_a_label_that_one_fold_lacks(
    spark: SparkSession, table: pd.DataFrame, configured: Configured, load: Load
) -> None:
    frame = table.assign(y=np.where(table["y"] > table["y"].median(), "tall", "low"))
    frame.loc[5, "y"] = "middle"
    frame.loc[6] = frame.loc[5]  # equal rows fall into one fold, and the model of the other fold never sees the label
    sections = {"data": {"task": "classification"}, "search": ON_SPARK, "split": {"test": 0.01, "seed": 3}}
    config, loaded = configured(frame, **sections), load(frame, **sections)
    assert loaded.labels() == ["low", "middle", "tall"]
    there = start(spark, config, loaded, loaded.labels())
    assert 0 < there.cross_validate(SMALL) < 1
    model = there.fit(SMALL)
    held = loaded.rows("test", loaded.labels())
    content = onnx_export.graph(model, there.columns, loaded.labels()).SerializeToString()
    assert onnx_export.check_parity(content, held.features, search.predict(model, held.features, 3), 1.0) < 1e-4


def test_held_back_rows_are_those_with_the_smallest_hashes(table: pd.DataFrame, load: Load) -> None:
    loaded = load(table)
    every, some = loaded.rows("test", []), loaded.rows("test", [], 20)
    pd.testing.assert_frame_equal(some.frame, every.frame.head(20))


def test_the_local_engine_names_the_other_one_for_more_rows(
    table: pd.DataFrame, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.checks.MOST_LOCAL_ROWS", 300)
    with pytest.raises(DataError, match=r"at most 300 usable rows for search.engine: local, found 400") as caught:
        load(table)
    assert "engine: spark" in caught.value.hint
    assert load(table, search=ON_SPARK).report["rows_used"] == 400
