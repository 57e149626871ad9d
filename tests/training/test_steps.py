"""The whole job on a real tracking server: train, promote, repeat, refuse, roll back; several kinds of tables."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server
from pyspark.sql import SparkSession
from sklearn.datasets import load_breast_cancer, load_diabetes
from training import config as configuration
from training import train
from training.config import Config
from training.data import table as dataset
from training.errors import DataError, GateRefused, NothingToPromote, TrackingError
from training.model import onnx_runtime
from training.promotion import promote, status
from training.tracking import recording
from training.tracking.registry import Registry

import mlflow
from mlflow import MlflowClient

Configured = Callable[..., Config]
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("spark", "tracking")


def served_content(name: str, folder: Path) -> bytes:
    registry = Registry(name, "production")
    holder = registry.holder()
    assert holder is not None
    return registry.model_content(holder, folder)


def rows_of_part(run_id: str, part: str) -> int:
    return int(mlflow.artifacts.load_dict(f"runs:/{run_id}/data-report.json")["parts"][part])


def test_a_table_becomes_a_promoted_model_once(tmp_path: Path, table: pd.DataFrame, configured: Configured) -> None:
    config = configured(table, name="once", data={"segment": "colour", "units": {"height": "cm"}})
    first = train.train(config)
    assert first["status"] == "trained"
    assert promote.promote(config)["action"] == "promoted"

    again = train.train(config)
    assert (again["status"], again["version"]) == ("unchanged", first["version"])
    assert promote.promote(config)["action"] == "unchanged"
    assert len(MlflowClient().search_model_versions("name = 'once'")) == 1
    assert [entry["action"] for entry in status.status(config)["decisions"]] == ["promoted"]

    version = MlflowClient().get_model_version("once", first["version"])
    content = served_content("once", tmp_path)
    assert version.tags["model_sha256"] == hashlib.sha256(content).hexdigest()
    contract = onnx_runtime.read_contract(content)
    features = {feature["name"]: feature for feature in contract["features"]}
    assert features["height"]["unit"] == "cm"
    assert features["colour"]["categories"] == ["blue", "green", "red"]
    assert contract["interval"]["half_width"] > 0
    assert contract["calibration"] == {
        "method": "split conformal",
        "rows": rows_of_part(version.run_id, "calibration"),
        "coverage_on_test": contract["metrics"]["interval_coverage"],
    }
    assert "plots/segments.png" in {file.path for file in MlflowClient().list_artifacts(version.run_id, "plots")}
    golden = pd.DataFrame(contract["golden"]["rows"]).astype({"body_mass": "float32", "height": "float32"})
    assert onnx_runtime.run(content, golden)[0] == pytest.approx(contract["golden"]["predictions"], abs=1e-5)


def test_a_run_leaves_what_a_person_looks_for(tmp_path: Path, table: pd.DataFrame, configured: Configured) -> None:
    config = configured(table, name="evidence")
    result = train.train(config)
    client = MlflowClient()
    run = client.get_run(result["run_id"])
    assert run.data.metrics["mae"] < run.data.metrics["baseline_mae"]
    assert run.data.params["candidate"] in config.search.candidates
    assert run.data.tags["pipeline.data_synthetic"] == "false"
    assert run.inputs.dataset_inputs[0].dataset.digest == run.data.tags["pipeline.data_digest"][:36]
    plots = {file.path for file in client.list_artifacts(result["run_id"], "plots")}
    assert plots == {f"plots/{name}.png" for name in ("residuals", "importance", "calibration", "trials")}
    assert run.data.metrics["mae_low"] < run.data.metrics["mae"] < run.data.metrics["mae_high"]
    version = client.get_model_version("evidence", result["version"])
    assert (version.run_id, version.tags["pipeline.run_key"]) == (result["run_id"], result["run_key"])
    assert version.description.endswith("## Gate verdict\nnot judged yet\n")
    written = client.download_artifacts(result["run_id"], "model-card.md", str(tmp_path))
    assert Path(written).read_text().startswith("Predicts **y** from 3 features (regression)")
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert len(children) == config.search.trials
    model = mlflow.models.get_model_info(f"models:/evidence/{result['version']}")
    assert model.signature is not None
    assert model.saved_input_example_info is not None
    assert model.metadata["contract"]["run_id"] == result["run_id"]


def test_mlflow_itself_can_score_the_model(table: pd.DataFrame, configured: Configured) -> None:
    """With pandas' own types, under the names of the table or the graph's, and by MLflow's scoring payloads."""
    result = train.train(configured(table, name="scored-by-mlflow"))
    model = mlflow.pyfunc.load_model(f"models:/scored-by-mlflow/{result['version']}")
    row = {"body mass": [70, 80], "height": [170.5, 171.0], "colour": ["red", " blue "]}
    frames = [
        pd.DataFrame(row),
        pd.DataFrame(row)
        .rename(columns={"body mass": "body_mass"})
        .astype({"height": "float32", "body_mass": "int32"}),
        pd.DataFrame(row).astype({"body mass": "string", "height": object}),
    ]
    answers = [model.predict(frame)["variable"].tolist() for frame in frames]
    assert answers[0] == answers[1] == answers[2]
    assert 50 < answers[0][0] < 90
    split = frames[0].to_dict(orient="split", index=False)
    for body in ({"dataframe_split": split}, {"dataframe_records": frames[0].to_dict("records")}, {"inputs": row}):
        answer = scoring_server.invocations(
            json.dumps(body), "application/json", model, model.metadata.get_input_schema()
        )
        assert [one["variable"] for one in json.loads(answer.response)["predictions"]] == answers[0]
    with pytest.raises(ValueError, match="row 2, column 'height': expected a number, found 'tall'"):
        model.predict(pd.DataFrame(row | {"height": ["170", "tall"]}))


def test_a_model_that_is_not_clearly_better_is_refused(
    tmp_path: Path, table: pd.DataFrame, configured: Configured
) -> None:
    config = configured(table, name="refused")
    digest = hashlib.sha256(Path(config.data.source).read_bytes()).hexdigest()
    train.train(config)
    promote.promote(config)
    worse = configured(table.iloc[:250], name="refused")  # fewer rows to learn from
    train.train(worse)
    verdict = promote.promote(worse)
    assert verdict["action"] == "refused"
    assert {reason["code"] for reason in verdict["reasons"] if not reason["passed"]} == {"gain"}
    assert promote.promote(worse) == verdict
    assert [entry["action"] for entry in status.status(worse)["decisions"]] == ["refused", "promoted"]
    with pytest.raises(GateRefused, match="gain"):
        promote.promote(worse, strict=True)
    assert onnx_runtime.read_contract(served_content("refused", tmp_path))["data"]["digest"] == f"sha256:{digest}"


def test_a_champion_with_other_columns_blocks(table: pd.DataFrame, configured: Configured) -> None:
    config = configured(table, name="other-columns")
    train.train(config)
    promote.promote(config)
    fewer = configured(table.drop(columns="colour"), name="other-columns")
    train.train(fewer)
    failed = {reason["code"] for reason in promote.promote(fewer)["reasons"] if not reason["passed"]}
    assert failed == {"champion_cannot_score", "champion_saw_rows"}


def test_classes_breast_cancer(tmp_path: Path, configured: Configured) -> None:
    frame = load_breast_cancer(as_frame=True).frame
    # By log loss, one row of a hundred to which a forest gives a probability of 0 would leave the gain in doubt.
    sections = {"data": {"task": "classification"}, "gate": {"metric": "accuracy"}}
    config = configured(frame, target="target", name="breast-cancer", **sections)
    result = train.train(config)
    assert result["metrics"]["accuracy"] > 0.9
    assert promote.promote(config)["action"] == "promoted"
    contract = onnx_runtime.read_contract(served_content("breast-cancer", tmp_path))
    assert contract["labels"] == ["0", "1"]
    assert contract["interval"] is None


def test_numbers_diabetes(configured: Configured) -> None:
    frame = load_diabetes(as_frame=True).frame
    config = configured(frame, target="target", name="diabetes")
    result = train.train(config)
    assert result["metrics"]["mae"] < 0.85 * result["metrics"]["baseline_mae"]
    assert promote.promote(config)["action"] == "promoted"


def test_text_labels_with_gaps_in_the_features(tmp_path: Path, table: pd.DataFrame, configured: Configured) -> None:
    frame = table.assign(size=pd.cut(table["y"], 3, labels=["small", "middle", "large"]).astype(str)).drop(columns="y")
    frame.loc[::9, "height"] = None
    frame.loc[::8, "colour"] = None
    frame.loc[:5, "size"] = "rare"
    config = configured(frame, target="size", name="text", data={"task": "classification", "segment": "colour"})
    result = train.train(config)
    assert result["metrics"]["log_loss"] < result["metrics"]["baseline_log_loss"]
    promote.promote(config)
    contract = onnx_runtime.read_contract(served_content("text", tmp_path))
    assert contract["labels"] == ["large", "middle", "rare", "small"]
    answer = mlflow.pyfunc.load_model(f"models:/text/{result['version']}").predict(frame.drop(columns="size").head())
    assert list(answer) == ["label", *(f"probability_{label}" for label in contract["labels"])]
    assert answer.drop(columns="label").sum(axis=1).tolist() == pytest.approx([1.0] * 5, abs=1e-5)
    assert contract["calibration"]["method"] in ("temperature", "none")
    assert contract["calibration"]["error_on_test"] == result["metrics"]["calibration_error"]
    plots = {file.path.removeprefix("plots/") for file in MlflowClient().list_artifacts(result["run_id"], "plots")}
    assert plots == {"confusion-matrix.png", "calibration.png", "importance.png", "segments.png", "trials.png"}
    assert {feature["name"]: feature["nullable"] for feature in contract["features"]} == {
        "body mass": False,
        "height": True,
        "colour": True,
    }


def test_repeated_rows_keep_their_weight(tmp_path: Path, configured: Configured) -> None:
    """A survey of 4,000 answers, of which few are different: one in ten is yes, in group d six in ten."""
    generator = np.random.default_rng(1)
    frame = pd.DataFrame({"group": generator.choice(list("abcd"), 4000, p=[0.4, 0.3, 0.2, 0.1])})
    frame["age"], frame["sex"] = generator.integers(20, 60, 4000) // 2 * 2, generator.choice(["f", "m"], 4000)
    yes = frame["group"].map({"a": 0.02, "b": 0.05, "c": 0.05, "d": 0.6})
    frame["answer"] = np.where(generator.random(4000) < yes, "yes", "no")
    assert frame.duplicated().mean() > 0.8
    data = {"task": "classification", "duplicates": "keep"}
    threshold = {"label": "yes", "cost": {"false_negative": 5, "false_positive": 1}}
    search = {"metric": "average_precision", "candidates": ["extra_trees"], "trials": 1}
    config = configured(frame, "answer", name="survey", data=data, search=search, serving={"threshold": threshold})
    result = train.train(config)
    verdict = promote.promote(config)
    assert verdict["action"] == "promoted", verdict
    content = served_content("survey", tmp_path)
    terms = onnx_runtime.read_contract(content)
    labels, probabilities = onnx_runtime.run(content, frame[["age", "group", "sex"]].astype({"age": "float32"}))
    assert probabilities is not None
    assert probabilities[:, 1].mean() == pytest.approx((frame["answer"] == "yes").mean(), abs=0.02)
    assert probabilities[frame["group"] == "d", 1].mean() == pytest.approx(0.6, abs=0.1)
    assert terms["threshold"]["label"] == "yes"
    assert terms["threshold"]["value"] == pytest.approx(1 / 6, abs=0.1)
    assert labels.tolist() == np.where(probabilities[:, 1] >= terms["threshold"]["value"], "yes", "no").tolist()
    rows = pd.read_parquet(MlflowClient().download_artifacts(result["run_id"], "test-rows.parquet", str(tmp_path)))
    assert rows["__hash"].nunique() == len(rows[["age", "group", "sex"]].drop_duplicates())


def test_ten_rows_of_a_label_are_enough_for_every_candidate(configured: Configured) -> None:
    generator = np.random.default_rng(2)
    frame = pd.DataFrame({"a": generator.random(400).round(3), "b": generator.random(400).round(3), "y": "ok"})
    frame.loc[::40, "y"] = "fraud"
    config = configured(frame, name="rare", data={"task": "classification"}, search={"trials": 3, "folds": 3})
    assert train.train(config)["status"] == "trained"


def test_a_repetition_after_an_accident_may_find_another_winner(
    table: pd.DataFrame, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(table, name="accident")
    with monkeypatch.context() as accident:
        accident.setattr(recording, "_split", lambda *_: {"max_depth": 3})
        accident.setattr(mlflow.onnx, "save_model", _disk_full)
        with pytest.raises(OSError, match="disk full"):
            train.train(config)
    monkeypatch.setattr(recording, "_split", lambda *_: {"max_depth": 4})
    assert train.train(config)["status"] == "trained"


def _disk_full(*_: object, **__: object) -> None:
    raise OSError("disk full")


def test_too_few_rows_for_the_interval_are_told_before_the_search(table: pd.DataFrame, configured: Configured) -> None:
    config = configured(table, name="narrow", split={"calibration": 0.02}, serving={"coverage": 0.99})
    with pytest.raises(
        DataError, match=r"holds 99\.0% of the values needs 99 different rows of calibration, found \d+$"
    ):
        train.train(config)
    assert MlflowClient().search_runs([MlflowClient().get_experiment_by_name("narrow").experiment_id]) == []


def test_promote_before_train_is_told(table: pd.DataFrame, configured: Configured) -> None:
    with pytest.raises(NothingToPromote, match="no version of 'never'"):
        promote.promote(configured(table, name="never"))


def test_a_tracking_server_that_is_away(
    table: pd.DataFrame, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9: no answer"):
        train.train(configured(table))


def test_the_projects_sample_passes_its_own_checks() -> None:
    report = dataset.check(configuration.load(ROOT / "pipeline.yaml", {"data.source": "absent.csv"}))
    assert (report["status"], report["synthetic"], report["rows"]) == ("ok", True, 6497)
    assert json.dumps(report)


@pytest.fixture(autouse=True)
def _keep_spark(spark: SparkSession) -> None:
    """The session is shared: steps must not stop it."""
