"""The monitor on real traffic files, a real Spark session and a real MLflow."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import versions
from conftest import pointed_at
from pyspark.sql import SparkSession
from training import train
from training.config import Config
from training.data import prediction_log
from training.data.files import find
from training.errors import WrongModel
from training.fit import profile
from training.model import contract as contracts
from training.model import onnx_runtime
from training.monitoring import policy, watch, window
from training.monitoring.journal import CHECK_TAG, VERDICT_TAG, Journal
from training.monitoring.policy import Window
from training.monitoring.report import metric_key
from training.promotion import status
from training.tracking.ledger import Entry, Ledger, author
from training.tracking.registry import DIGEST_TAG, KEY_TAG, Registry

from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
TRAINED = 800  # white wines; the traffic is of others, because a model knows the rows that it was fitted on
FEATURES = ["chlorides", "total sulfur dioxide", "pH", "alcohol"]
RULES = {"windows": 2, "of": 3, "min_rows": 100, "cooldown_hours": 0}
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
Traffic = Callable[..., pd.DataFrame]
pytestmark = pytest.mark.usefixtures("spark", "tracking", "small_models")


@dataclass(frozen=True)
class White:
    """One model of white wines, trained once: configuration, where it lies, its content; and wines of both colours."""

    config: Config
    source: str
    content: bytes
    wines: dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def white(spark: SparkSession, tracking: str, small_models: None, tmp_path_factory: pytest.TempPathFactory) -> White:
    """Of the sample, whose red and white wines differ as the real ones do."""
    path = tmp_path_factory.mktemp("white") / "white.csv"
    sample = pd.read_csv(ROOT / "data" / "wine-sample.csv").drop_duplicates()
    reds, whites = (sample.loc[sample["type"] == colour, [*FEATURES, "quality"]] for colour in ("red", "white"))
    whites.iloc[:TRAINED].to_csv(path, index=False)
    config = Config.model_validate(
        {
            "name": "white",
            "data": {"source": str(path), "target": "quality"},
            "search": {"trials": 1, "folds": 2, "candidates": ["extra_trees"]},
            "monitor": RULES,
        }
    )
    registry = Registry("white", "production")
    found = registry.client.get_model_version("white", train.train(config)["version"])
    content = registry.model_content(found)
    return White(config, str(found.source), content, {"red": reds, "white": whites.iloc[TRAINED:]})


@pytest.fixture
def served(white: White, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The model in production under a name of the test's own, with a traffic folder of its own."""
    monkeypatch.setenv("PREDICTION_LOG_DIR", str(tmp_path / "log"))
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.0)
    named = white.config.model_copy(update={"name": request.node.name.replace("_", "-")})
    versions.take_over(named, white.source, white.content)
    return named


@pytest.fixture
def traffic(served: Config, white: White, tmp_path: Path) -> Traffic:
    """Writes 150 wines as if they had been predicted from `at` on, one a second; gives them with their ids. With `off`,
    their true values, reported with them, are their quality plus this much more."""

    def write(
        colour: str, seed: int, at: datetime = START, rows: int = 150, version: str = "1", off: float | None = None
    ) -> pd.DataFrame:
        wines = white.wines[colour].sample(rows, random_state=seed)
        values, _ = onnx_runtime.run(white.content, wines[FEATURES].astype("float32"))
        lines = [
            {"id": f"{at:%d%H%M%S}.{index}", "at": time(at + timedelta(seconds=index)), "version": version, "row": row}
            | {"prediction": value, "unknown": [1]}
            for index, (row, value) in enumerate(zip(wines[FEATURES].to_dict("records"), values, strict=True))
        ]
        append(tmp_path, served.name, f"predictions-{at:%Y-%m-%d}-a1", lines)
        if off is not None:
            told = zip(lines, wines["quality"].tolist(), strict=True)
            truths = [{"id": line["id"], "actual": value + off, "at": line["at"]} for line, value in told]
            append(tmp_path, served.name, f"feedback-{at:%Y-%m-%d}-a1", truths)
        return wines.assign(id=[line["id"] for line in lines])

    return write


def time(moment: datetime) -> str:
    """As the service writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"


def append(folder: Path, model: str, name: str, lines: Sequence[Any]) -> None:
    """Appends to a file of the test's traffic folder."""
    path = folder / "log" / model / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)


def hours(number: float) -> datetime:
    return START + timedelta(hours=number)


def changed(config: Config, **sections: dict[str, Any]) -> Config:
    """The configuration with other values in some of its sections."""
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=values) for name, values in sections.items()}
    )


def look(config: Config, hour: float, **options: Any) -> dict[str, Any]:
    return watch.watch(config, now=hours(hour), **options)


def last_code(found: dict[str, Any]) -> str:
    return str(found["reasons"][-1]["code"])


def runs(config: Config, kind: str = "monitor.window") -> list[Any]:
    experiment = MlflowClient().get_experiment_by_name(f"{config.name}-monitor")
    found = MlflowClient().search_runs([experiment.experiment_id]) if experiment else []
    return [run for run in found if kind in run.data.tags]


def run_of(config: Config, window: str) -> Any:
    """The run of one window."""
    return next(run for run in runs(config) if window in run.data.tags["monitor.window"])


def page_of(run: Any, folder: Path) -> str:
    return Path(MlflowClient().download_artifacts(run.info.run_id, "report.html", str(folder))).read_text()


def test_drift_is_seen_and_training_asked_for_once(
    served: Config, traffic: Traffic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = changed(served, split={"seed": 8})
    traffic("white", 1)
    quiet = look(due, 1)
    assert (quiet["action"], quiet["drifted"]) == ("keep", ())
    assert quiet["text"].startswith("No alarm: 150 rows look as in training")

    traffic("red", 2, hours(1))
    first = look(due, 2)
    assert (first["action"], last_code(first)) == ("keep", "too_few_windows")
    assert {"chlorides", "total sulfur dioxide"} <= set(first["drifted"])

    traffic("red", 3, hours(2))
    would = look(due, 3, dry_run=True)
    second = look(due, 3)
    assert (would["action"], second["action"], len(runs(due))) == ("retrain", "retrain", 3)
    assert [reason["code"] for reason in second["reasons"]] == ["drift", "enough_windows"]
    request = watch.asked(due)
    assert (request["asked"], request["source"]) == (True, "")

    monkeypatch.setenv("MONITOR_SCHEDULE", "@hourly")
    again = look(due, 3)
    assert (again["action"], again["window"]) == ("keep", None)
    check = json.loads(MlflowClient().get_registered_model(due.name).tags[CHECK_TAG])  # the overview shows it
    assert (check["text"], check["schedule"]) == (again["text"], "@hourly")
    monkeypatch.delenv("MONITOR_SCHEDULE")
    look(due, 3)  # by hand
    assert json.loads(MlflowClient().get_registered_model(due.name).tags[CHECK_TAG])["schedule"] == "@hourly"
    assert (len(runs(due)), len(runs(due, "monitor.request"))) == (3, 1)

    later = datetime.now(UTC) + timedelta(hours=3)
    lost = watch.watch(due, now=later, dry_run=True)  # no version came of it: as if it had not been asked
    assert (lost["action"], last_code(lost)) == ("retrain", "enough_windows")
    registry = Registry(due.name, "production")
    registry.register(registry.client.get_model_version(due.name, "1").source, {}, "")
    assert last_code(watch.watch(due, now=later)) == "no_window"

    run = run_of(due, second["window"])
    assert run.data.metrics["psi/chlorides"] > 0.2 > run_of(due, quiet["window"]).data.metrics["psi/chlorides"]
    assert run.data.metrics["out_of_range/chlorides"] > 0
    assert run.data.metrics["drift/worst"] >= run.data.metrics["psi/chlorides"] > run.data.metrics["drift/limit"] == 0.2
    files = {file.path for file in MlflowClient().list_artifacts(run.info.run_id, "plots")}
    assert {"plots/chlorides.svg", "plots/predictions.svg"} <= files
    page = page_of(run, tmp_path)
    assert f"<h1>{second['text']}</h1>" in page
    assert "<script" not in page
    assert "http" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_torn_lines_other_versions_and_stray_feedback_are_counted(
    served: Config, traffic: Traffic, tmp_path: Path
) -> None:
    wines = traffic("white", 4, off=0)
    traffic("red", 5, START + timedelta(minutes=5), rows=10, version="7", off=0)
    moment = time(START + timedelta(minutes=10))
    append(tmp_path, served.name, "predictions-2026-03-01-b2", ["", '{"id": "x", "at": "2026-03-01T12:00:00.0'])
    feedback = [
        # Sent again: the last one counts.
        {"id": wines["id"].iloc[0], "actual": int(wines["quality"].iloc[0]) + 3, "at": moment},
        {"id": "never predicted", "actual": 5, "at": moment},
        {"id": wines["id"].iloc[1], "actual": "good", "at": moment},
        {"id": wines["id"].iloc[2], "actual": 1e9, "at": moment},
        '{"id": "torn", "act',
    ]
    append(tmp_path, served.name, "feedback-2026-03-01-b2", feedback)
    found = look(served, 1)
    assert (found["rows"], found["drifted"]) == (150, ())
    [run] = runs(served)
    metrics = run.data.metrics
    assert metrics["labelled_rows"] == 149
    assert metrics["live/lower"] < metrics["live/error"] < metrics["live/upper"]
    assert (metrics["far_off_rows"], found["error_worse"]) == (1, False)
    assert metrics["live/error"] < 2 * metrics["live/promised"]
    assert "1 of the true values are more than 20 times" in page_of(run, tmp_path)
    assert (
        "Left out: 2 unreadable lines; feedback on 10 predictions of other versions, "
        "on 1 that are not in the log, and 1 that are not a value" in page_of(run, tmp_path)
    )


def test_an_error_worse_than_promised_asks_too(served: Config, traffic: Traffic, white: White, tmp_path: Path) -> None:
    for hour, seed in enumerate((6, 7)):
        wines = traffic("white", seed, hours(hour), off=2)
        wrong = {"id": wines["id"].iloc[0], "actual": 1e9, "at": time(hours(hour) + timedelta(minutes=10))}
        append(tmp_path, served.name, "feedback-2026-03-01-b2", [wrong])  # hides nothing of the others
        found = look(served, hour + 1)
        assert found["drifted"] == ()
    assert found["error_worse"]
    told = MlflowClient().get_registered_model(served.name).tags[VERDICT_TAG]  # read by the prediction service
    end = hours(2).timestamp() - prediction_log.SETTLING.total_seconds()
    assert json.loads(told) == {"version": found["version"], "end": end, "drifted": 0, "error_worse": True}
    assert [reason["code"] for reason in found["reasons"]] == ["error", "nothing_new"]
    assert "data.feedback: true" in found["text"]
    tested = onnx_runtime.read_contract(white.content)["metrics"]["mae"]
    metrics = runs(served)[0].data.metrics
    assert metrics["live/promised"] == pytest.approx(tested)
    assert metrics["live/lower"] > tested * 1.1
    assert metrics["live/limit"] == pytest.approx(tested * 1.1)


def test_a_new_model_counts_anew_and_cools_down(served: Config, traffic: Traffic, white: White) -> None:
    config = changed(served, split={"seed": 8}, monitor={"cooldown_hours": 5})
    traffic("red", 1)
    assert last_code(look(config, 1)) == "too_few_windows"
    versions.take_over(served, white.source, white.content)
    since = Ledger(Registry(config.name, "production")).append(Entry("promoted", "2", "1")).at
    for minutes, code in ((10, "too_few_windows"), (80, "cooldown")):
        traffic("red", minutes, since + timedelta(minutes=minutes), version="2")
        assert last_code(watch.watch(config, now=since + timedelta(minutes=minutes + 20))) == code
    late = watch.watch(config, now=since + timedelta(hours=6))
    assert (late["action"], late["window"]) == ("retrain", None)


def test_a_model_of_its_own_table_is_trained_again_on_that_table(
    served: Config, traffic: Traffic, tmp_path: Path
) -> None:
    configured = tmp_path / "configured.csv"
    configured.write_text(Path(served.data.source).read_text() + "\n")
    other = changed(served, data={"source": str(configured)})
    for hour in (0, 1):
        traffic("red", hour, hours(hour))
        found = look(other, hour + 1)
    assert last_code(found) == "nothing_new"  # the configured table is new, but its own is not
    traffic("red", 3, hours(2))
    found = look(changed(other, split={"seed": 8}), 3)
    assert (found["action"], found["source"]) == ("retrain", served.data.source)
    assert watch.asked(other)["source"] == served.data.source


@pytest.fixture
def longer(served: Config) -> Iterator[str]:
    """The data file with a row more, while the test runs; gives what was in it before."""
    source = Path(served.data.source)
    before = source.read_text()
    source.write_text(before + before.splitlines()[1] + "\n")
    yield before
    source.write_text(before)


def test_a_changed_data_file_asks_once(served: Config, longer: str, tmp_path: Path) -> None:
    found = look(served, 2)
    assert (found["action"], found["reasons"][0]["code"]) == ("retrain", "data_changed")
    assert look(served, 3)["action"] == "keep"
    source = Path(served.data.source)
    elsewhere = tmp_path / "other.csv"
    source.rename(elsewhere)
    assert look(served, 4)["action"] == "keep"
    sample = tmp_path / "sample.csv"
    sample.write_text(longer + "".join(f"{line}\n" for line in longer.splitlines()[1:3]))
    assert look(changed(served, data={"sample": str(sample)}), 4)["action"] == "keep"
    source.write_text(longer)
    assert look(served, 5)["action"] == "keep"
    assert look(changed(served, data={"source": str(elsewhere)}), 5)["action"] == "keep"


def test_a_changed_file_asks_again_where_no_version_came_of_it(served: Config, longer: str, white: White) -> None:
    later = datetime.now(UTC)
    asked = [watch.watch(served, now=later + timedelta(hours=number))["action"] for number in (0, 1, 3)]
    assert asked == ["retrain", "keep", "retrain"]  # a training may take two hours
    slower = changed(served, monitor={"cooldown_hours": 24})
    assert watch.watch(slower, now=later + timedelta(hours=23))["action"] == "keep"
    assert watch.watch(slower, now=later + timedelta(hours=25), dry_run=True)["action"] == "retrain"
    tags = {KEY_TAG: served.training_key(find(served.data).digest)}
    assert watch.asked(served)["asked"]
    Registry(served.name, "production").register(white.source, tags, "")
    assert watch.watch(served, now=later + timedelta(hours=50))["action"] == "retrain"  # of another version: once
    assert watch.watch(served, now=later + timedelta(hours=99))["action"] == "keep"  # that file was trained on


def test_by_hand_a_request_counts_until_a_version_came_of_it(
    served: Config, white: White, monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = policy.data_changed("a.csv", "d1", "1")
    registry = Registry(served.name, "production")
    Journal(registry).record_request(decision, author())
    assert watch.asked(served)["asked"]
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", author())
    registry.register(white.source, {}, "")
    assert watch.asked(served)["asked"]  # a DAG run asks about itself
    monkeypatch.delenv("AIRFLOW_CTX_DAG_RUN_ID")
    assert watch.asked(served) == {"asked": False, "text": "training was not requested", "source": ""}


def test_a_deleted_experiment_is_restored(served: Config) -> None:
    journal = Journal(Registry(served.name, "production"))
    journal.record_request(policy.data_changed("a.csv", "d1", "1"), author(), "b.csv")
    deleted = MlflowClient().get_experiment_by_name(f"{served.name}-monitor").experiment_id
    MlflowClient().delete_experiment(deleted)
    assert watch.asked(served)["source"] == "b.csv"
    journal.record_request(policy.data_changed("a.csv", "d2", "1"), author())
    assert len(runs(served, "monitor.request")) == 2


def test_a_server_records_a_window_of_very_many_columns(server: str) -> None:
    names = tuple(f"a column with a rather long name {number}" for number in range(900))
    window = Window("w1", "1", START, START + timedelta(hours=1), 500, names)
    with pointed_at(server):
        registry = Registry("very-many-columns", "production")
        registry.client.create_registered_model(registry.name)
        journal, metrics = Journal(registry), {f"psi/{number}": 0.1 for number in range(2700)}
        journal.record_window(window, metrics, {"report.html": "<p>"}, "drift " * 2000)
        [run] = registry.notes(f"{registry.name}-monitor")
        assert run.data.metrics == metrics
        journal.record_request(policy.data_changed("a.csv", "d1", "1"), "me", "b.csv")
        assert journal.windows("1", None, 5) == [window]
        request = journal.request(asked_by="me")
        assert request is not None
        assert request.source == "b.csv"


def test_a_dry_run_leaves_no_experiments(served: Config, capsys: pytest.CaptureFixture[str]) -> None:
    look(served, 1, dry_run=True)
    watch.asked(served)
    assert status.status(served)["production"] == "1"
    assert status.past(served)["decisions"] == []
    made = [MlflowClient().get_experiment_by_name(f"{served.name}-{kind}") for kind in ("monitor", "ledger")]
    assert made == [None, None]


def test_of_two_monitors_at_once_one_records_the_window(
    served: Config, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic("red", 1)
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


def test_a_version_whose_file_was_changed_is_not_watched(served: Config) -> None:
    MlflowClient().set_model_version_tag(served.name, "1", DIGEST_TAG, "0" * 64)
    with pytest.raises(WrongModel, match="version 1 of"):
        look(served, 1)


def test_truth_counts_that_is_told_days_after_the_prediction(served: Config, traffic: Traffic, tmp_path: Path) -> None:
    wines = traffic("white", 1)
    assert look(served, 1)["rows"] == 150
    append(tmp_path, served.name, "predictions-2026-03-01-b2", ["torn"])
    traffic("white", 2, hours(48))
    moment = time(hours(48))
    told = [{"id": id_, "actual": value, "at": moment} for id_, value in wines[["id", "quality"]].values.tolist()]
    append(tmp_path, served.name, "feedback-2026-03-03-b2", told)
    found = look(served, 49)
    assert found["rows"] == 150
    assert run_of(served, found["window"]).data.metrics["labelled_rows"] == 150


def test_all_feedback_is_read_only_where_training_would_be_asked_for(
    served: Config, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = changed(served, data={"feedback": True})
    MlflowClient().set_model_version_tag(served.name, "1", KEY_TAG, config.training_key(find(config.data).digest))
    reads: list[str] = []
    read = prediction_log.labelled_rows

    def noting(*arguments: Any) -> Any:
        reads.append("read")
        return read(*arguments)

    monkeypatch.setattr(prediction_log, "labelled_rows", noting)
    traffic("red", 1)
    assert last_code(look(config, 1)) == "too_few_windows"
    assert reads == []
    traffic("red", 2, hours(1))
    assert last_code(look(config, 2)) == "enough_windows"  # an empty digest is not the tag's absence
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
    served: Config, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no predictions of version 1 were logged yet" in look(served, 1)["text"]
    traffic("white", 1, rows=40)
    assert "waiting for rows: 40 of 100 predictions of version 1" in look(served, 1)["text"]
    assert runs(served) == []
    nobody = look(served.model_copy(update={"name": "nobody"}), 1)
    assert (nobody["action"], nobody["text"]) == (
        "wait",
        "'nobody' has no version in production yet, so there is nothing to watch",
    )
    monkeypatch.setenv("PREDICTION_LOG_DIR", "")
    assert "no predictions" in look(served, 1)["text"]


def test_lines_that_may_still_be_coming_wait_for_the_next_window(served: Config, traffic: Traffic) -> None:
    traffic("white", 1)  # one a second: the last at 149 s
    found = watch.watch(served, now=START + timedelta(seconds=150))
    assert found["rows"] == 146


def test_classes_categories_and_gaps(
    table: pd.DataFrame, configured: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = table.assign(size=np.where(table["y"] > table["y"].median(), "large", "small")).drop(columns="y")
    frame.loc[::9, "height"] = None
    search = {"trials": 1, "candidates": ["extra_trees"]}
    task = {"task": "classification"}
    config = configured(frame, target="size", name="sizes", data=task, search=search, monitor=RULES)
    version = train.train(config)["version"]
    Registry("sizes", "production").point_alias(version)
    monkeypatch.setenv("PREDICTION_LOG_DIR", str(tmp_path / "log"))
    lines = [
        {
            "id": f"r{index}",
            "at": time(START + timedelta(seconds=index)),
            "version": version,
            "row": {"body mass": 70.0 + index % 7, "height": None, "colour": ["red", "violet"][index % 2]},
            "prediction": "large",
            "probabilities": {"large": 0.9, "small": 0.1},
        }
        for index in range(120)
    ]
    append(tmp_path, config.name, "predictions-2026-03-01-a", lines)
    told = [{"id": f"r{index}", "actual": "small", "at": time(START + timedelta(minutes=10))} for index in range(60)]
    append(tmp_path, config.name, "feedback-2026-03-01-a", told)
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
    known: list[contracts.TypedFeature] = []
    for name in ("thirteenths", "ids", "days"):
        one: Any = found[name]
        shared = (name, name, None, False)
        counts = contracts.Histogram(one.edges, one.counts)
        number = contracts.NumberFeature(*shared, one.low, one.high, one.median, one.median, counts)
        day = contracts.DateFeature(*shared, "iso", [], "", "", "", "", counts)
        known.append(day if name == "days" else number)
    truths = int(columns["truth"][0].sum())
    counts_of_truth = contracts.Counts([400 - truths, truths])
    known.append(contracts.BooleanFeature("truth", "truth", None, False, ["yes"], ["no"], True, counts_of_truth))
    rows = [{name: shown(values[row]) for name, (values, shown) in columns.items()} for row in range(400)]
    monkeypatch.setenv("PREDICTION_LOG_DIR", str(tmp_path / "log"))
    line = {"at": time(START), "version": "1", "prediction": 1}
    lines = [{"id": str(n), "row": row, **line} for n, row in enumerate(rows)]
    append(tmp_path, "counted", "predictions-2026-03-01-a", lines)
    *counted, predictions = window.count_bins(
        prediction_log.read(spark, "counted", "predictions")[0], known, [0.0, 2.0]
    )
    expected = [one.histogram.counts for one in known]
    assert [
        [bins.get(i, 0) for i in range(len(rows))] for bins, rows in zip(counted, expected, strict=True)
    ] == expected
    assert predictions == {0: 400}
    assert all(min(bins) >= 0 for bins in counted)
