"""Labelled predictions as training rows: which join, which are set aside, and that new ones are new data."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from training import train
from training.config import Config
from training.data import prediction_log
from training.data import table as dataset
from training.data.files import find
from training.promotion import promote

Configured = Callable[..., Config]
Tell = Callable[..., None]
ROW = {"body mass": 71.5, "height": 180.25, "colour": "red"}


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Writes predictions with their truths, as the prediction service does."""
    monkeypatch.setenv("PREDICTION_LOG_DIR", str(tmp_path / "log"))
    told = 0

    def write(rows: Sequence[tuple[dict[str, Any], Any]], name: str = "test-model") -> None:
        nonlocal told
        folder = tmp_path / "log" / name
        folder.mkdir(parents=True, exist_ok=True)
        for index, (row, actual) in enumerate(rows, told):
            predicted = {"id": f"r{index}", "at": "2026-03-01T12:00:00.000Z", "version": "1", "row": row}
            truth = {"id": f"r{index}", "at": "2026-03-01T12:30:00.000Z", "actual": actual}
            for kind, line in (("predictions", predicted | {"prediction": 1}), ("feedback", truth)):
                with (folder / f"{kind}-2026-03-01-a.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
        told += len(rows)

    return write


def loaded(spark: SparkSession, config: Config) -> dataset.Dataset:
    return dataset.load(spark, find(config.data), config, prediction_log.labelled_rows(spark, config.name))


def test_labelled_predictions_become_rows(
    spark: SparkSession, table: pd.DataFrame, configured: Configured, tell: Tell
) -> None:
    config = configured(table, data={"feedback": True})
    known = table.iloc[0]
    tell([(ROW, 99.5), (known.drop("y").to_dict(), known["y"]), ({**ROW, "colour": "violet"}, 98)])
    found = loaded(spark, config)
    rows = pd.concat([found.part(name) for name in dataset.PARTS])
    added = rows[rows["y"].isin([99.5, 98.0])].sort_values("y")
    assert added["colour"].tolist() == ["violet", "red"]
    assert added["body mass"].tolist() == [71.5, 71.5]
    report = found.report
    assert (report["feedback_rows"], report["feedback_set_aside"]) == (3, 0)
    assert (report["rows"], report["rows_used"], report["rows_repeated"]) == (400, 403, 1)


def test_what_does_not_pass_is_set_aside_and_counted(
    spark: SparkSession, table: pd.DataFrame, configured: Configured, tell: Tell
) -> None:
    table.loc[::9, "height"] = None
    config = configured(table, data={"feedback": True}, checks={"ranges": {"body mass": [20, 200]}})
    good = [(ROW, 1000), ({**ROW, "height": None}, 1001)]
    bad = [
        ({**ROW, "body mass": 300}, 1),  # out of checks.ranges
        ({**ROW, "body mass": None}, 2),  # a gap where the file has none
        ({**ROW, "body mass": "heavy"}, 3),
        ({"body mass": 70, "height": 170}, 4),  # a model of other columns
        (ROW, "tall"),
        (ROW, None),
        (ROW, 1e300),
    ]
    tell(good + bad)
    found = loaded(spark, config)
    assert (found.report["feedback_rows"], found.report["rows_used"]) == (2, 402)
    assert found.report["feedback_set_aside"] == 6  # a truth that is null is no truth: its line counts as unreadable
    rows = pd.concat([found.part(name) for name in dataset.PARTS])
    assert rows["y"].max() == 1001


def test_off_by_default(table: pd.DataFrame, configured: Configured, tell: Tell) -> None:
    tell([(ROW, 99.5)])
    report = dataset.check(configured(table))
    assert report["rows_used"] == 400
    assert "feedback_rows" not in report
    assert dataset.check(configured(table, data={"feedback": True}))["feedback_rows"] == 1


def test_the_digest_names_the_content_whatever_the_order(
    spark: SparkSession, table: pd.DataFrame, configured: Configured, tell: Tell
) -> None:
    config = configured(table, data={"feedback": True})
    empty = prediction_log.labelled_rows(spark, config.name).digest
    rows = [({**ROW, "height": 150.0 + index}, index) for index in range(4)]
    tell(rows)
    tell(rows[::-1], name="other-order")
    tell([(ROW, 7)], name="other")
    first = prediction_log.labelled_rows(spark, config.name).digest
    again = prediction_log.labelled_rows(spark, "other-order").digest
    other = prediction_log.labelled_rows(spark, "other").digest
    assert first == again
    assert len({empty, first, other}) == 3


def test_a_truth_told_anew_a_moment_ago_leaves_the_one_before(
    spark: SparkSession, table: pd.DataFrame, configured: Configured, tell: Tell, tmp_path: Path
) -> None:
    config = configured(table, data={"feedback": True})
    tell([(ROW, 7)])
    first = prediction_log.labelled_rows(spark, config.name).digest
    with (tmp_path / "log" / "test-model" / "feedback-2026-03-01-a.jsonl").open("a") as log:
        log.write(json.dumps({"id": "r0", "at": "2099-01-01T00:00:00.000Z", "actual": 8}) + "\n")
    again = prediction_log.labelled_rows(spark, config.name)
    assert again.digest == first
    assert [row["actual"] for row in again.rows.collect()] == ["7"]


@pytest.mark.usefixtures("spark", "tracking", "small_models")
def test_new_feedback_is_new_data_and_the_same_is_not(table: pd.DataFrame, configured: Configured, tell: Tell) -> None:
    search = {"trials": 1, "candidates": ["extra_trees"]}
    config = configured(table, name="told", data={"feedback": True}, search=search)
    assert [train.train(config)["status"] for _ in range(2)] == ["trained", "unchanged"]
    tell([({**ROW, "height": 150.0 + index}, 70 + index) for index in range(30)], name="told")
    second = train.train(config)
    assert (second["status"], second["version"]) == ("trained", "2")
    assert train.train(config)["status"] == "unchanged"
    assert promote.promote(config)["version"] == "2"
