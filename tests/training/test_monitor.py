"""The monitor on real traffic files, a real Spark session and a real tracking server."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import versions
from pyspark.sql import SparkSession
from training import train
from training.config import Config
from training.data import feedback, prediction_log
from training.data.files import find
from training.errors import WrongModel
from training.fit import profile
from training.model import contract as contracts
from training.model import onnx_runtime, signing
from training.monitoring import policy, watch, window
from training.monitoring.drift import Histogram
from training.monitoring.journal import Journal
from training.monitoring.policy import Window
from training.monitoring.report import metric_key
from training.promotion import status
from training.tracking.ledger import Entry, Ledger
from training.tracking.registry import DIGEST_TAG, KEY_TAG, SIGNATURE_TAG, Registry

from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
TRAINED = 800  # white wines; the traffic is of others, because a model knows the rows that it was fitted on
RULES = {"windows": 2, "of": 3, "min_rows": 100, "cooldown_hours": 0}
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
pytestmark = pytest.mark.usefixtures("spark", "tracking")


@pytest.fixture(scope="module")
def wines() -> pd.DataFrame:
    """The sample, whose red and white wines differ as the real ones do."""
    return pd.read_csv(ROOT / "data" / "wine-sample.csv").drop_duplicates()


@pytest.fixture(scope="module")
def white(
    wines: pd.DataFrame, spark: SparkSession, tracking_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Config, str, bytes]]:
    """One model of white wines (without their colour), trained once: configuration, where it lies, its content."""
    path = tmp_path_factory.mktemp("white") / "white.csv"
    wines[wines["type"] == "white"].iloc[:TRAINED].drop(columns="type").to_csv(path, index=False)
    config = Config.model_validate(
        {
            "name": "white",
            "data": {"source": str(path), "target": "quality"},
            "search": {"trials": 1, "folds": 2, "candidates": ["extra_trees"]},
            "monitor": RULES,
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
        version = train.train(config)["version"]
        registry = Registry("white", "production")
        found = registry.client.get_model_version("white", version)
        yield config, str(found.source), registry.model_content(found, path.parent)


@pytest.fixture
def served(
    white: tuple[Config, str, bytes], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Config:
    """The model in production under a name of the test's own, with a traffic folder of its own."""
    config, uri, content = white
    name = request.node.name.replace("_", "-").split("[")[0]
    monkeypatch.setenv("PREDICTION_LOG_DIR", str(tmp_path / "log"))
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.0)
    named = config.model_copy(update={"name": name})
    tags = {KEY_TAG: named.training_key(find(named.data).digest), **signed(name, content)}
    version = Registry(name, "production").register(uri, tags, "")
    Registry(name, "production").point_alias(version.version)
    return named


@pytest.fixture
def traffic(served: Config, white: tuple[Config, str, bytes], tmp_path: Path) -> Callable[..., list[str]]:
    """Writes rows as if they had been predicted, one a second; gives their ids. `actual` are truths told with them."""

    def write(rows: pd.DataFrame, at: datetime, version: str = "1", actual: Sequence[float] | None = None) -> list[str]:
        folder = tmp_path / "log" / served.name
        folder.mkdir(parents=True, exist_ok=True)
        features = rows.drop(columns=["quality", "type"], errors="ignore")
        values, _ = onnx_runtime.run(white[2], features.astype("float32"))
        ids = [f"{at:%d%H%M%S}.{index}" for index in range(len(rows))]
        moments = [f"{at + timedelta(seconds=index):%Y-%m-%dT%H:%M:%S}.000Z" for index in range(len(rows))]
        lines = [
            {"id": id_, "at": moment, "version": version, "row": row, "prediction": value, "unknown": [1]}
            for id_, moment, row, value in zip(ids, moments, features.to_dict("records"), values, strict=True)
        ]
        append(folder / f"predictions-{at:%Y-%m-%d}-a1.jsonl", lines)
        told = zip(ids, moments, actual if actual is not None else [], strict=False)
        append(
            folder / f"feedback-{at:%Y-%m-%d}-a1.jsonl",
            [{"id": id_, "actual": value, "at": moment} for id_, moment, value in told],
        )
        return ids

    return write


def signed(name: str, content: bytes) -> dict[str, str]:
    """The tags by which a version's file is known as the one that was trained."""
    digest = hashlib.sha256(content).hexdigest()
    return {DIGEST_TAG: digest, SIGNATURE_TAG: signing.sign(name, digest)}


def append(path: Path, lines: Sequence[Any]) -> None:
    with path.open("a") as file:
        file.writelines((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)


def of(wines: pd.DataFrame, colour: str, seed: int, rows: int = 150) -> pd.DataFrame:
    return wines[wines["type"] == colour].iloc[TRAINED if colour == "white" else 0 :].sample(rows, random_state=seed)


def look(config: Config, hour: float, **options: Any) -> dict[str, Any]:
    return watch.watch(config, now=START + timedelta(hours=hour), **options)


def runs(config: Config, kind: str = "monitor.window") -> list[Any]:
    experiment = MlflowClient().get_experiment_by_name(f"{config.name}-monitor")
    found = MlflowClient().search_runs([experiment.experiment_id]) if experiment else []
    return [run for run in found if kind in run.data.tags]


def test_drift_is_seen_and_training_asked_for_once(
    served: Config, wines: pd.DataFrame, traffic: Callable[..., list[str]], tmp_path: Path
) -> None:
    changed = served.model_copy(update={"split": served.split.model_copy(update={"seed": 8})})  # training is due
    traffic(of(wines, "white", 1), START)
    quiet = look(changed, 1)
    assert (quiet["action"], quiet["drifted"]) == ("keep", ())
    assert quiet["text"].startswith("All quiet: 150 rows look as in training")

    traffic(of(wines, "red", 2), START + timedelta(hours=1))
    first = look(changed, 2)
    assert first["action"] == "keep"
    assert {"chlorides", "total sulfur dioxide"} <= set(first["drifted"])
    assert first["reasons"][-1]["code"] == "too_few_windows"

    traffic(of(wines, "red", 3), START + timedelta(hours=2))
    would = look(changed, 3, dry_run=True)
    second = look(changed, 3)
    assert (would["action"], second["action"], len(runs(changed))) == ("retrain", "retrain", 3)
    assert [reason["code"] for reason in second["reasons"]] == ["drift", "enough_windows"]
    request = watch.asked(changed)
    assert (request["asked"], request["source"]) == (True, "")

    again = look(changed, 3)
    assert (again["action"], again["window"]) == ("keep", None)
    assert (len(runs(changed)), len(runs(changed, "monitor.request"))) == (3, 1)

    later = datetime.now(UTC) + timedelta(hours=3)
    lost = watch.watch(changed, now=later, dry_run=True)  # no version came of it: as if it had not been asked
    assert (lost["action"], lost["reasons"][-1]["code"]) == ("retrain", "enough_windows")
    registry = Registry(changed.name, "production")
    registry.register(registry.client.get_model_version(changed.name, "1").source, {}, "")
    assert watch.watch(changed, now=later)["reasons"][-1]["code"] == "no_window"

    run = next(run for run in runs(changed) if second["window"] in run.data.tags["monitor.window"])
    assert run.data.metrics["psi/chlorides"] > 0.2 > quiet_psi(changed, quiet["window"])
    assert run.data.metrics["out_of_range/chlorides"] > 0
    files = {file.path for file in MlflowClient().list_artifacts(run.info.run_id, "plots")}
    assert {"plots/chlorides.svg", "plots/predictions.svg"} <= files
    page = Path(MlflowClient().download_artifacts(run.info.run_id, "report.html", str(tmp_path))).read_text()
    assert f"<h1>{second['text']}</h1>" in page
    assert "<script" not in page
    assert "http" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")


def quiet_psi(config: Config, window: str) -> float:
    run = next(run for run in runs(config) if window in run.data.tags["monitor.window"])
    return float(run.data.metrics["psi/chlorides"])


def test_torn_lines_other_versions_and_stray_feedback_are_counted(
    served: Config, wines: pd.DataFrame, traffic: Callable[..., list[str]], tmp_path: Path
) -> None:
    rows = of(wines, "white", 4)
    ids = traffic(rows, START, actual=rows["quality"])
    others = traffic(of(wines, "red", 5), START + timedelta(minutes=5), version="7", actual=[5] * 10)
    folder = tmp_path / "log" / served.name
    moment = f"{START + timedelta(minutes=10):%Y-%m-%dT%H:%M:%S}.000Z"
    append(folder / "predictions-2026-03-01-b2.jsonl", ["", '{"id": "x", "at": "2026-03-01T12:00:00.0'])
    append(
        folder / "feedback-2026-03-01-b2.jsonl",
        [
            {"id": ids[0], "actual": int(rows["quality"].iloc[0]) + 3, "at": moment},  # sent again: the last one counts
            {"id": "never predicted", "actual": 5, "at": moment},
            {"id": ids[1], "actual": "good", "at": moment},
            '{"id": "torn", "act',
        ],
    )
    found = look(served, 1)
    assert (found["rows"], found["drifted"]) == (150, ())
    metrics = runs(served)[0].data.metrics
    assert metrics["labelled_rows"] == 149
    assert metrics["live/lower"] < metrics["live/error"] < metrics["live/upper"]
    page = Path(MlflowClient().download_artifacts(runs(served)[0].info.run_id, "report.html", str(tmp_path)))
    assert (
        f"Left out: 2 unreadable lines; feedback on {len(others[:10])} predictions of other versions, "
        "on 1 that are not in the log, and 1 that are not a value" in page.read_text()
    )


def test_an_error_worse_than_promised_asks_too(
    served: Config, wines: pd.DataFrame, traffic: Callable[..., list[str]], white: tuple[Config, str, bytes]
) -> None:
    for hour, seed in enumerate((6, 7)):
        rows = of(wines, "white", seed)
        traffic(rows, START + timedelta(hours=hour), actual=rows["quality"] + 2)
        found = look(served, hour + 1)
        assert found["drifted"] == ()
    assert [reason["code"] for reason in found["reasons"]] == ["error", "nothing_new"]
    assert "data.feedback: true" in found["text"]
    tested = onnx_runtime.read_contract(white[2])["metrics"]["mae"]
    metrics = runs(served)[0].data.metrics
    assert metrics["live/promised"] == pytest.approx(tested)
    assert metrics["live/lower"] > tested * 1.1


def test_a_new_model_counts_anew_and_cools_down(
    served: Config, wines: pd.DataFrame, traffic: Callable[..., list[str]], white: tuple[Config, str, bytes]
) -> None:
    config = served.model_copy(
        update={
            "split": served.split.model_copy(update={"seed": 8}),
            "monitor": served.monitor.model_copy(update={"cooldown_hours": 5}),
        }
    )
    traffic(of(wines, "red", 1), START)
    assert look(config, 1)["reasons"][-1]["code"] == "too_few_windows"
    registry = Registry(config.name, "production")
    registry.point_alias(registry.register(white[1], signed(config.name, white[2]), "").version)
    since = Ledger(registry).append(Entry("promoted", "2", "1")).at
    for minutes in (10, 80):
        traffic(of(wines, "red", minutes), since + timedelta(minutes=minutes), version="2")
        found = watch.watch(config, now=since + timedelta(minutes=minutes + 20))
        expected = "too_few_windows" if minutes == 10 else "cooldown"
        assert found["reasons"][-1]["code"] == expected
    late = watch.watch(config, now=since + timedelta(hours=6))
    assert (late["action"], late["window"]) == ("retrain", None)


def test_a_model_of_its_own_table_is_trained_again_on_that_table(
    served: Config, wines: pd.DataFrame, traffic: Callable[..., list[str]], tmp_path: Path
) -> None:
    configured = tmp_path / "configured.csv"
    configured.write_text(Path(served.data.source).read_text() + "\n")
    other = served.model_copy(update={"data": served.data.model_copy(update={"source": str(configured)})})
    for hour in (0, 1):
        traffic(of(wines, "red", hour), START + timedelta(hours=hour))
        found = look(other, hour + 1)
    assert found["reasons"][-1]["code"] == "nothing_new"  # the configured table is new, but its own is not
    traffic(of(wines, "red", 3), START + timedelta(hours=2))
    found = look(other.model_copy(update={"split": served.split.model_copy(update={"seed": 8})}), 3)
    assert (found["action"], found["source"]) == ("retrain", served.data.source)
    assert watch.asked(other)["source"] == served.data.source


def test_a_changed_data_file_asks_once(served: Config, white: tuple[Config, str, bytes], tmp_path: Path) -> None:
    assert look(served, 1)["action"] == "keep"
    source = Path(served.data.source)
    before = source.read_text()
    try:
        source.write_text(before + before.splitlines()[1] + "\n")
        found = look(served, 2)
        assert (found["action"], found["reasons"][0]["code"]) == ("retrain", "data_changed")
        assert look(served, 3)["action"] == "keep"
        source.unlink()
        assert look(served, 4)["action"] == "keep"
        sample = tmp_path / "sample.csv"
        sample.write_text(before + "".join(f"{line}\n" for line in before.splitlines()[1:3]))
        stood_in = served.data.model_copy(update={"sample": str(sample)})
        assert look(served.model_copy(update={"data": stood_in}), 4)["action"] == "keep"
    finally:
        source.write_text(before)
    elsewhere = tmp_path / "other.csv"
    elsewhere.write_text(before + before.splitlines()[1] + "\n")
    table = served.data.model_copy(update={"source": str(elsewhere)})
    assert look(served.model_copy(update={"data": table}), 5)["action"] == "keep"


def test_a_changed_file_asks_again_where_no_version_came_of_it(
    served: Config, white: tuple[Config, str, bytes], tmp_path: Path
) -> None:
    later = datetime.now(UTC)
    source = Path(served.data.source)
    before = source.read_text()
    try:
        source.write_text(before + before.splitlines()[1] + "\n")
        asked = [watch.watch(served, now=later + timedelta(hours=hours))["action"] for hours in (0, 1, 3)]
        assert asked == ["retrain", "keep", "retrain"]  # a training may take two hours
        slower = served.model_copy(update={"monitor": served.monitor.model_copy(update={"cooldown_hours": 24})})
        assert watch.watch(slower, now=later + timedelta(hours=23))["action"] == "keep"
        assert watch.watch(slower, now=later + timedelta(hours=25), dry_run=True)["action"] == "retrain"
        tags = {KEY_TAG: served.training_key(find(served.data).digest)}
        assert watch.asked(served)["asked"]
        Registry(served.name, "production").register(white[1], tags, "")
        assert watch.watch(served, now=later + timedelta(hours=50))["action"] == "retrain"  # of another version: once
        assert watch.watch(served, now=later + timedelta(hours=99))["action"] == "keep"  # that file was trained on
    finally:
        source.write_text(before)


def test_by_hand_a_request_counts_until_a_version_came_of_it(
    served: Config, white: tuple[Config, str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = policy.data_changed("a.csv", "d1", "1")
    registry = Registry(served.name, "production")
    Journal(registry).record_request(decision, watch.asker())
    assert watch.asked(served)["asked"]
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", watch.asker())
    registry.register(white[1], {}, "")
    assert watch.asked(served)["asked"]  # a DAG run asks about itself
    monkeypatch.delenv("AIRFLOW_CTX_DAG_RUN_ID")
    assert watch.asked(served) == {"asked": False, "text": "training was not asked for", "source": ""}


def test_a_deleted_experiment_is_restored(served: Config) -> None:
    journal = Journal(Registry(served.name, "production"))
    journal.record_request(policy.data_changed("a.csv", "d1", "1"), watch.asker(), "b.csv")
    deleted = MlflowClient().get_experiment_by_name(f"{served.name}-monitor").experiment_id
    MlflowClient().delete_experiment(deleted)
    assert watch.asked(served)["source"] == "b.csv"
    journal.record_request(policy.data_changed("a.csv", "d2", "1"), watch.asker())
    assert len(runs(served, "monitor.request")) == 2


def test_a_window_of_very_many_columns_is_recorded(served: Config) -> None:
    journal = Journal(Registry(served.name, "production"))
    names = tuple(f"a column with a rather long name {number}" for number in range(900))
    window = Window("w1", "1", START, START + timedelta(hours=1), 500, names)
    journal.record_window(window, {f"psi/{number}": 0.1 for number in range(2700)}, {}, "drift " * 2000)
    [read] = journal.windows("1", None, 5)
    assert read.alarming
    assert read.drifted[:20] == names[:20]


def test_a_dry_run_leaves_no_experiments(served: Config, capsys: pytest.CaptureFixture[str]) -> None:
    look(served, 1, dry_run=True)
    watch.asked(served)
    assert status.status(served)["production"] == "1"
    assert status.past(served)["decisions"] == []
    made = [MlflowClient().get_experiment_by_name(f"{served.name}-{kind}") for kind in ("monitor", "ledger")]
    assert made == [None, None]


def test_of_two_monitors_at_once_one_records_the_window(
    served: Config, wines: pd.DataFrame, traffic: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic(of(wines, "red", 1), START)
    measure, others = window.measure, []

    def together(*arguments: Any) -> Any:
        monkeypatch.setattr(window, "measure", measure)
        others.append(look(served, 2))
        return measure(*arguments)

    monkeypatch.setattr(window, "measure", together)
    found = look(served, 1)
    assert (found["action"], found["window"], others[0]["rows"]) == ("wait", None, 150)
    assert "another monitor" in found["text"]
    assert len(runs(served)) == 1


def test_a_version_whose_file_was_changed_is_not_watched(served: Config, white: tuple[Config, str, bytes]) -> None:
    registry = Registry(served.name, "production")
    registry.point_alias(registry.register(white[1], {DIGEST_TAG: "0" * 64}, "").version)
    with pytest.raises(WrongModel, match="version 2 of"):
        look(served, 1)


def test_truth_counts_that_is_told_days_after_the_prediction(
    served: Config, wines: pd.DataFrame, traffic: Callable[..., list[str]], tmp_path: Path
) -> None:
    rows = of(wines, "white", 1)
    ids = traffic(rows, START)
    assert look(served, 1)["rows"] == 150
    append(tmp_path / "log" / served.name / "predictions-2026-03-01-b2.jsonl", ["torn"])
    traffic(of(wines, "white", 2), START + timedelta(days=2))
    moment = f"{START + timedelta(days=2):%Y-%m-%dT%H:%M:%S}.000Z"
    told = [
        {"id": id_, "actual": value, "at": moment} for id_, value in zip(ids, rows["quality"].tolist(), strict=True)
    ]
    append(tmp_path / "log" / served.name / "feedback-2026-03-03-b2.jsonl", told)
    found = look(served, 49)
    assert found["rows"] == 150
    run = next(run for run in runs(served) if found["window"] in run.data.tags["monitor.window"])
    assert run.data.metrics["labelled_rows"] == 150


def test_all_feedback_is_read_only_where_training_would_be_asked_for(
    served: Config, wines: pd.DataFrame, traffic: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = served.model_copy(update={"data": served.data.model_copy(update={"feedback": True})})
    version = Registry(served.name, "production").versions()[0]
    MlflowClient().set_model_version_tag(served.name, version, KEY_TAG, config.training_key(find(config.data).digest))
    reads: list[str] = []
    read = feedback.read

    def noting(*arguments: Any) -> Any:
        reads.append("read")
        return read(*arguments)

    monkeypatch.setattr(feedback, "read", noting)
    traffic(of(wines, "red", 1), START)
    assert look(config, 1)["reasons"][-1]["code"] == "too_few_windows"
    assert reads == []
    traffic(of(wines, "red", 2), START + timedelta(hours=1))
    assert look(config, 2)["reasons"][-1]["code"] == "enough_windows"  # an empty digest is not the tag's absence
    assert reads == ["read"]


def test_a_contract_of_version_1_is_read() -> None:
    terms = versions.contract("old", 2.0)
    found = contracts.read(versions.model(terms, 2.0))
    assert (found.version, found.features[0].name, found.interval.half_width) == (1, "x", 0.5)
    assert "none" in found.reading.missing
    [x, predictions] = window.histograms(found)
    assert (x.edges, x.counts, predictions.edges) == ((0.0, 20.0), (versions.ROWS,), (0.0, 40.0))


def test_a_feature_called_predictions_has_figures_of_its_own() -> None:
    assert len({metric_key(name) for name in ("predictions", "(predictions)", "predictions feature")}) == 3


def test_nothing_written_down_and_nothing_in_production_are_told(
    served: Config, wines: pd.DataFrame, traffic: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no predictions of version 1 were logged yet" in look(served, 1)["text"]
    traffic(of(wines, "white", 1, rows=40), START)
    assert "waiting for rows: 40 of 100 predictions of version 1" in look(served, 1)["text"]
    assert runs(served) == []
    nobody = look(served.model_copy(update={"name": "nobody"}), 1)
    assert (nobody["action"], nobody["text"]) == (
        "wait",
        "'nobody' has no version in production yet, so there is nothing to watch",
    )
    monkeypatch.setenv("PREDICTION_LOG_DIR", "")
    assert "no predictions" in look(served, 1)["text"]


def test_lines_that_may_still_be_coming_wait_for_the_next_window(
    served: Config, wines: pd.DataFrame, traffic: Callable[..., list[str]]
) -> None:
    traffic(of(wines, "white", 1), START)  # one a second: the last at 149 s
    found = watch.watch(served, now=START + timedelta(seconds=150))
    assert found["rows"] == 146


def test_classes_categories_and_gaps(
    table: pd.DataFrame, configured: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = table.assign(size=np.where(table["y"] > table["y"].median(), "large", "small")).drop(columns="y")
    frame.loc[::9, "height"] = None
    config = configured(frame, target="size", name="sizes", data={"task": "classification"}, monitor=RULES)
    version = train.train(config)["version"]
    Registry("sizes", "production").point_alias(version)
    monkeypatch.setenv("PREDICTION_LOG_DIR", str(tmp_path / "log"))
    folder = tmp_path / "log" / "sizes"
    folder.mkdir(parents=True)
    lines = [
        {
            "id": f"r{index}",
            "at": f"2026-03-01T12:{index // 60:02}:{index % 60:02}.000Z",
            "version": version,
            "row": {"body mass": 70.0 + index % 7, "height": None, "colour": ["red", "violet"][index % 2]},
            "prediction": "large",
            "probabilities": {"large": 0.9, "small": 0.1},
        }
        for index in range(120)
    ]
    append(folder / "predictions-2026-03-01-a.jsonl", lines)
    append(
        folder / "feedback-2026-03-01-a.jsonl",
        [{"id": f"r{index}", "actual": "small", "at": "2026-03-01T12:10:00.000Z"} for index in range(60)],
    )
    found = look(config, 1)
    assert {"height", "colour"} <= set(found["drifted"])
    metrics = runs(config)[0].data.metrics
    assert (metrics["missing/height"], metrics["unseen/colour"]) == (1.0, 0.5)
    assert metrics["live/error"] == pytest.approx(-np.log(0.1))


def test_live_values_are_counted_as_training_counted_them(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(3)
    days = random.integers(-1000, 20_000, 400)
    columns: dict[str, tuple[np.ndarray, Callable[[Any], Any]]] = {
        "thirteenths": (random.integers(0, 17, 400) / 13, float),
        "ids": (random.integers(10**9, 10**10, 400).astype(float), int),
        "days": (days.astype(float), lambda day: str(datetime.fromtimestamp(int(day) * 86_400, UTC).date())),
        "truth": (random.integers(0, 2, 400).astype(float), bool),
    }
    found = profile.of_frame(
        pd.DataFrame({name: values.astype(np.float32) for name, (values, _) in columns.items()}), np.zeros(400), 0
    ).features
    known = []
    for name, kind in (("thirteenths", "number"), ("ids", "number"), ("days", "date")):
        one: Any = found[name]
        known.append(
            Histogram(name, tuple(one.counts), 0, tuple(one.edges), (), one.low, one.high, kind, date_format="iso")
        )
    truths = int(columns["truth"][0].sum())
    words = (("yes",), ("no",))
    known.append(Histogram("truth", (400 - truths, truths), categories=("false", "true"), kind="boolean", words=words))
    rows = [{name: shown(values[row]) for name, (values, shown) in columns.items()} for row in range(400)]
    folder = tmp_path / "log" / "counted"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PREDICTION_LOG_DIR", str(tmp_path / "log"))
    line = {"at": "2026-03-01T12:00:00.000Z", "version": "1", "prediction": 1}
    append(
        folder / "predictions-2026-03-01-a.jsonl", [{"id": str(n), "row": row, **line} for n, row in enumerate(rows)]
    )
    span = window.Span("1", None, START + timedelta(hours=1))
    counted = window.count_bins(prediction_log.read(spark, "counted"), span, known)
    assert [
        [bins.get(index, 0) for index in range(len(one.counts))] for one, bins in zip(known, counted, strict=True)
    ] == [[*one.counts] for one in known]
    assert all(min(bins) >= 0 for bins in counted)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of an Airflow around the tests."""
    monkeypatch.delenv("AIRFLOW_CTX_DAG_RUN_ID", raising=False)
