"""The whole job on a real tracking server: train, promote, repeat, refuse, roll back; several kinds of tables."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server
from pyspark.sql import SparkSession
from sklearn.datasets import load_breast_cancer
from training import config as configuration
from training import train
from training.config import Config
from training.data import table as dataset
from training.errors import DataError, FileGone, NothingToPromote, TrackingError
from training.model import onnx_runtime
from training.promotion import promote, status
from training.tracking.registry import Registry
from versions import FAIR, GOOD, Model, clean_table, failed, take_over

import mlflow
from mlflow import MlflowClient

Configured = Callable[..., Config]
ROOT = Path(__file__).parents[2]
QUICK = {"trials": 1, "candidates": ["extra_trees"]}
pytestmark = pytest.mark.usefixtures("spark", "tracking_server", "small_models")


def served_content(name: str) -> bytes:
    registry = Registry(name, "production")
    holder = registry.holder()
    assert holder is not None
    return registry.model_content(holder)


@dataclass(frozen=True)
class Trained:
    """A pipeline whose version was trained and promoted, what training answered, and the model's file."""

    config: Config
    answer: dict[str, Any]
    content: bytes

    def serve_as(self, name: str) -> None:
        """Puts the same model into production under another name."""
        source = MlflowClient().get_model_version(self.config.name, self.answer["version"]).source
        take_over(self.config.model_copy(update={"name": name}), source, self.content)


@pytest.fixture(scope="module")
def once(
    tracking_server: str, spark: SparkSession, small_models: None, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    folder = tmp_path_factory.mktemp("once")
    clean_table().to_csv(folder / "table.csv", index=False)
    data = {"source": str(folder / "table.csv"), "target": "y", "segment": "colour", "units": {"height": "cm"}}
    config = Config.model_validate({"name": "once", "data": data, "search": {"trials": 2, "folds": 2}})
    answer = train.train(config)
    assert answer["status"] == "trained"
    assert promote.promote(config)["action"] == "promoted"
    return Trained(config, answer, served_content("once"))


def test_a_table_becomes_a_promoted_model_once(once: Trained) -> None:
    again = train.train(once.config)
    assert (again["status"], again["version"]) == ("unchanged", once.answer["version"])
    assert promote.promote(once.config)["action"] == "unchanged"
    assert len(MlflowClient().search_model_versions("name = 'once'")) == 1
    assert [entry["action"] for entry in status.status(once.config)["decisions"]] == ["promoted"]


def test_the_model_has_its_contract(once: Trained) -> None:
    version = MlflowClient().get_model_version("once", once.answer["version"])
    assert version.tags["model_sha256"] == hashlib.sha256(once.content).hexdigest()
    contract = onnx_runtime.read_contract(once.content)
    features = {feature["name"]: feature for feature in contract["features"]}
    assert features["height"]["unit"] == "cm"
    assert features["colour"]["categories"] == ["blue", "green", "red"]
    assert contract["interval"]["half_width"] > 0
    report = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/data-report.json")
    assert contract["calibration"] == {
        "method": "split conformal",
        "rows": report["parts"]["calibration"],
        "coverage_on_test": contract["metrics"]["interval_coverage"],
    }
    golden = pd.DataFrame(contract["golden"]["rows"]).astype({"body_mass": "float32", "height": "float32"})
    assert onnx_runtime.run(once.content, golden)[0] == pytest.approx(contract["golden"]["predictions"], abs=1e-5)


def test_a_run_leaves_what_a_person_looks_for(once: Trained, tmp_path: Path) -> None:
    client, search, run_id = MlflowClient(), once.config.search, once.answer["run_id"]
    run = client.get_run(run_id)
    assert run.data.metrics["mae"] < run.data.metrics["baseline_mae"]
    assert run.data.metrics["mae_low"] < run.data.metrics["mae"] < run.data.metrics["mae_high"]
    assert run.data.params["candidate"] in search.candidates
    assert run.data.tags["pipeline.data_synthetic"] == "false"
    assert run.inputs.dataset_inputs[0].dataset.digest == run.data.tags["pipeline.data_digest"][:36]
    plots = {file.path for file in client.list_artifacts(run_id, "plots")}
    names = ("residuals", "importance", "calibration", "trials", "segments")
    assert plots == {f"plots/{name}.png" for name in names}
    version = client.get_model_version("once", once.answer["version"])
    assert (version.run_id, version.tags["pipeline.run_key"]) == (run_id, once.answer["run_key"])
    written = client.download_artifacts(run_id, "model-card.md", str(tmp_path))
    for page in (Path(written).read_text(), version.description):
        assert page.startswith("Predicts **y** from 3 features (regression)")
    assert "## Gate verdict\n\n**promoted**" in version.description
    described = (
        f"Version {version.version} of **once**, from {once.config.data.source}: {run.data.params['candidate']}, mae"
    )
    assert run.data.tags["mlflow.note.content"].startswith(described)
    for name in ("once", "once-ledger"):
        assert "**once**" in client.get_experiment_by_name(name).tags["mlflow.note.content"]
    assert client.get_registered_model("once").description
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'")
    assert len(children) == search.trials
    model = mlflow.models.get_model_info(f"models:/once/{once.answer['version']}")
    assert model.signature is not None
    assert model.saved_input_example_info is not None
    assert model.metadata["contract"]["run_id"] == run_id


def test_mlflow_itself_can_score_the_model(once: Trained) -> None:
    """With pandas' own types, under the names of the table or the graph's, and by MLflow's scoring payloads."""
    model = mlflow.pyfunc.load_model(f"models:/once/{once.answer['version']}")
    row = {"body mass": [70, 80], "height": [170.5, 171.0], "colour": ["red", " blue "]}
    frame = pd.DataFrame(row)
    frames = [
        frame,
        frame.rename(columns={"body mass": "body_mass"}).astype({"height": "float32", "body_mass": "int32"}),
        frame.astype({"body mass": "string", "height": object}),
    ]
    answers = [model.predict(one)["variable"].tolist() for one in frames]
    assert answers[0] == answers[1] == answers[2]
    assert 50 < answers[0][0] < 90
    split = frame.to_dict(orient="split", index=False)
    for body in ({"dataframe_split": split}, {"dataframe_records": frame.to_dict("records")}, {"inputs": row}):
        answer = scoring_server.invocations(
            json.dumps(body), "application/json", model, model.metadata.get_input_schema()
        )
        assert [one["variable"] for one in json.loads(answer.response)["predictions"]] == answers[0]
    with pytest.raises(ValueError, match="row 2, column 'height': expected a number, found 'tall'"):
        model.predict(pd.DataFrame(row | {"height": ["170", "tall"]}))


def test_a_model_that_is_not_clearly_better_is_refused(
    once: Trained, tmp_path: Path, table: pd.DataFrame, configured: Configured
) -> None:
    once.serve_as("refused")
    fewer = configured(table.iloc[:250], name="refused", search=QUICK)  # fewer rows to learn from
    train.train(fewer)
    verdict = promote.promote(fewer)
    assert (verdict["action"], failed(verdict)) == ("refused", {"gain"})
    assert served_content("refused") == once.content


def test_a_champion_with_other_columns_blocks(once: Trained, model: Model) -> None:
    once.serve_as(model.name)
    model.train(GOOD)
    assert failed(model.promote()) == {"champion_cannot_score", "champion_saw_rows"}


def test_classes_breast_cancer(tmp_path: Path, configured: Configured) -> None:
    frame = load_breast_cancer(as_frame=True).frame
    # By log loss, one row of a hundred to which a forest gives a probability of 0 would leave the gain in doubt.
    sections = {"data": {"task": "classification"}, "gate": {"metric": "accuracy"}, "search": QUICK}
    config = configured(frame, target="target", name="breast-cancer", **sections)
    result = train.train(config)
    assert result["metrics"]["accuracy"] > 0.9
    assert promote.promote(config)["action"] == "promoted"
    contract = onnx_runtime.read_contract(served_content("breast-cancer"))
    assert contract["labels"] == ["0", "1"]
    assert contract["interval"] is None


def test_text_labels_with_gaps_in_the_features(tmp_path: Path, table: pd.DataFrame, configured: Configured) -> None:
    frame = table.assign(size=pd.cut(table["y"], 3, labels=["small", "middle", "large"]).astype(str)).drop(columns="y")
    frame.loc[::9, "height"] = None
    frame.loc[::8, "colour"] = None
    frame.loc[:5, "size"] = "rare"
    config = configured(frame, target="size", name="text", data={"task": "classification", "segment": "colour"})
    result = train.train(config)
    assert result["metrics"]["log_loss"] < result["metrics"]["baseline_log_loss"]
    promote.promote(config)
    contract = onnx_runtime.read_contract(served_content("text"))
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
    search = QUICK | {"metric": "average_precision"}
    config = configured(frame, "answer", name="survey", data=data, search=search, serving={"threshold": threshold})
    result = train.train(config)
    verdict = promote.promote(config)
    assert verdict["action"] == "promoted", verdict
    content = served_content("survey")
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
    config, log_params = configured(table, name="accident", search=QUICK), mlflow.log_params
    with monkeypatch.context() as accident:
        accident.setattr(mlflow, "log_params", lambda values: log_params({**values, "winner": 1}))
        accident.setattr(mlflow.onnx, "save_model", _disk_full)
        with pytest.raises(OSError, match="disk full"):
            train.train(config)
    monkeypatch.setattr(mlflow, "log_params", lambda values: log_params({**values, "winner": 2}))
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


def test_a_version_without_its_test_rows_says_how_to_go_on(model: Model, server_folder: Path) -> None:
    """As `mlflow gc` leaves it."""
    run = model.client.get_model_version(model.name, model.train(FAIR)).run_id
    [rows] = server_folder.rglob(f"{run}/**/test-rows.parquet")
    rows.unlink()
    with pytest.raises(FileGone, match=r"version 1 of .*: its test-rows.parquet is no longer") as raised:
        model.promote()
    assert (raised.value.exit_code, raised.value.hint) == (1, "Delete version 1 in MLflow's page, and train again.")


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
