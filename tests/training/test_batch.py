"""Scoring a table on Spark gives row by row what the real prediction service answers, and refuses what it refuses."""

import fcntl
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import Row, SparkSession
from pyspark.sql import types as T
from servers import held_port, server_running
from training import train
from training.config import Config
from training.errors import ConfigError, DataError, OutputExists, SourceError, SparkFailed, WrongModel
from training.promotion import promote
from training.scoring import batch
from training.scoring.staging import Places, require_free, staging
from training.tracking.registry import DIGEST_TAG

from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
Answer = dict[str, Any]


class Api:
    """The service's own process, serving one model."""

    def __init__(self, port: int) -> None:
        self.port = port

    def predict(self, row: dict[str, Any], path: str = "/predict") -> tuple[int, Answer]:
        body = json.dumps(row).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)


@pytest.fixture(scope="module")
def serve(tracking_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Api]]:
    """Starts the service for a model, once for each name."""
    started: dict[str, Api] = {}
    with ExitStack() as ends:

        def start(name: str) -> Api:
            if name not in started:
                port = ends.enter_context(held_port())
                folder = tmp_path_factory.mktemp("api")
                variables = {"MLFLOW_TRACKING_URI": tracking_uri, "DEFAULT_MODEL": name, "API_PORT": str(port)}
                variables |= {"MODELS_DIR": str(folder), "PREDICTION_LOG_DIR": "", "PYTHONPATH": str(ROOT / "api")}
                command = [str(ROOT / ".venvs" / "api" / "bin" / "python"), "-m", "prediction_api"]
                ends.enter_context(server_running(command, folder, f"http://127.0.0.1:{port}/readyz", variables))
                started[name] = Api(port)
            return started[name]

        yield start


@pytest.fixture(scope="module")
def models(spark: SparkSession, tracking_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two promoted models, `amount` and `class`, whose features may be missing but for the body mass."""
    folder = tmp_path_factory.mktemp("scored")
    generator = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "body mass": generator.normal(70, 10, 300).round(2),
            "height": generator.normal(170, 8, 300).round(1),
            "colour": generator.choice(["red", "green", "dark blue"], 300),
        }
    )
    frame["y"] = (frame["body mass"] * 0.5 + frame["height"] * 0.2 + generator.normal(0, 1, 300)).round(3)
    frame["size"] = pd.cut(frame["y"], 3, labels=["small", "mid.size", "large"]).astype(str)
    frame.loc[::9, "height"] = None
    frame.loc[::8, "colour"] = None
    frame.to_csv(folder / "train.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
        for name in ("amount", "class"):
            config = configuration(folder, name)
            train.train(config)
            assert promote.promote(config)["action"] == "promoted"
        yield folder


def configuration(folder: Path, name: str) -> Config:
    target, other, task = ("y", "size", "regression") if name == "amount" else ("size", "y", "classification")
    data = {"source": str(folder / "train.csv"), "target": target, "ignore": [other], "task": task}
    search = {"trials": 1, "folds": 2, "candidates": ["extra_trees"]}
    return Config.model_validate({"name": name, "data": data, "search": search})


@pytest.fixture
def score(models: Path, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """Scores a file; gives the summary, the scored rows and the rejected ones."""

    def run(path: Path, name: str = "amount", **options: Any) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
        out = tmp_path / f"out-{time.monotonic_ns()}"
        places = Places(str(path), out / "scored", out / "rejected")
        summary = batch.score(configuration(models, name), places, **options)
        return summary, pd.read_parquet(places.output), pd.read_parquet(places.rejected)

    return run


def served(api: Api, row: dict[str, Any]) -> dict[str, Any]:
    """The service's answer under the names that scoring gives its columns."""
    status, answer = api.predict(row)
    assert status == 200, answer
    flat = {"prediction": answer["prediction"]}
    if interval := answer.get("interval"):
        flat |= {"prediction_low": interval["low"], "prediction_high": interval["high"]}
    flat |= {f"probability_{label}": share for label, share in answer.get("probabilities", {}).items()}
    return flat | {f"model_{key}": answer["model"][key] for key in ("name", "version")}


def test_every_answer_is_the_services(models: Path, score, serve) -> None:
    for name in ("amount", "class"):
        summary, scored, rejected = score(models / "train.csv", name)
        assert (summary["rows"], summary["scored"], len(scored), len(rejected)) == (300, 300, 300, 0)
        digest = MlflowClient().get_model_version(name, "1").tags[DIGEST_TAG]
        assert (summary["version"], summary["model_sha256"]) == ("1", digest)
        for line in scored.to_dict("records"):
            row = {"body mass": float(line["body mass"])}
            row |= {"height": line["height"] and float(line["height"]), "colour": line["colour"]}
            expected = served(serve(name), row)
            assert {key: line[key] for key in expected} == expected


KINDS: dict[str, tuple[T.DataType, st.SearchStrategy[Any]]] = {
    "number": (
        T.DoubleType(),
        st.one_of(
            st.floats(),
            st.floats(1, 200),
            st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e39, 3.4028234663852886e38, -0.0]),
        ),
    ),
    "whole": (T.LongType(), st.integers(-(2**63), 2**63 - 1)),
    "text": (T.StringType(), st.sampled_from(["red", "dark blue", "70.5", "", " red", "Red", "nan", "é'", "x" * 200])),
    "truth": (T.BooleanType(), st.booleans()),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[Any]]]:
    """The kinds of three columns, mostly what the model wants, and rows with cells of those kinds or nothing."""
    usual = {"body mass": "number", "height": "number", "colour": "text"}
    kinds = [draw(st.sampled_from([kind, kind, *KINDS])) for kind in usual.values()]
    cells = [st.one_of(st.none(), KINDS[kind][1], KINDS[kind][1]) for kind in kinds]
    return kinds, draw(st.lists(st.tuples(*cells).map(list), min_size=40, max_size=80))


# Each example is a Spark job or three: a failure is shown as it was found, not made smaller for minutes.
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(tables())
def test_what_the_service_refuses_is_rejected(
    models: Path, score, serve, spark: SparkSession, tmp_path: Path, drawn: tuple[list[str], list[list[Any]]]
) -> None:
    kinds, rows = drawn
    names = ["body mass", "height", "colour"]
    fields = [T.StructField(name, KINDS[kind][0]) for name, kind in zip(names, kinds, strict=True)]
    frame = spark.createDataFrame(
        [(*row, i) for i, row in enumerate(rows)], T.StructType([*fields, T.StructField("number", T.IntegerType())])
    )
    folder = tmp_path / f"in-{time.monotonic_ns()}"
    frame.write.parquet(str(folder))
    summary, scored, rejected = score(f"{folder}/*.parquet")
    assert summary["rows"] == len(scored) + len(rejected) == len(rows)
    answered = {line["number"]: line["prediction"] for line in scored.to_dict("records")}
    for number, row in enumerate(rows):
        status, answer = serve("amount").predict(dict(zip(names, row, strict=True)))
        assert (status == 200) == (number in answered), (row, answer)
        if status == 200:
            assert answered[number] == answer["prediction"], row


def test_a_csv_is_told_what_is_wrong_with_each_row(score, write: Callable[[str], Path]) -> None:
    path = write(
        "id;body_mass;height;colour\n"
        "1;70;170;red\n"
        "2; 70.5 ;NA;\n"
        "3;;170;red\n"
        "4;heavy;1e39;pink\n"
        "5;5d;170;red\n"
        "6;70;170\n"
        "7;70;170;red;more\n"
        "8;inf;-.5e1;dark blue\n"
    )
    summary, scored, rejected = score(path)
    assert [*scored["id"]] == ["1", "2"]
    assert [*scored["body_mass"]] == ["70", " 70.5 "]
    number, colour = "a finite number", "one of 'dark blue', 'green', 'red' or nothing"
    reasons = {
        line["id"]: [tuple(reason.values()) for reason in line["rejected"]] for line in rejected.to_dict("records")
    }
    assert reasons == {
        "3": [("body_mass", number, "nothing")],
        "4": [
            ("body_mass", number, "'heavy'"),
            ("height", f"{number} or nothing", "'1e39'"),
            ("colour", colour, "'pink'"),
        ],
        "5": [("body_mass", number, "'5d'")],
        "6": [("", "a line of 4 cells", "'6;70;170'")],
        "7": [("", "a line of 4 cells", "'7;70;170;red;more'")],
        "8": [("body_mass", number, "'inf'")],
    }
    assert summary["rejected"] == 6
    assert summary["reasons"] == [
        {"column": "body_mass", "expected": number, "rows": 4},
        {"column": "height", "expected": f"{number} or nothing", "rows": 1},
        {"column": "colour", "expected": colour, "rows": 1},
        {"column": "", "expected": "a line of 4 cells", "rows": 2},
    ]


def test_csv_out_reads_back_as_it_was(models: Path, tmp_path: Path, write: Callable[[str], Path]) -> None:
    path = write('body mass,height,colour,note\n70,170,red,"a ""quoted"", cell"\n71,,,  spaces \nx,170,red,\n')
    places = Places(str(path), tmp_path / "scored", tmp_path / "rejected", "csv")
    batch.score(configuration(models, "class"), places)
    [part] = places.output.glob("*.csv")
    scored = pd.read_csv(part, dtype=str, keep_default_na=False)
    assert [*scored["note"]] == ['a "quoted", cell', "  spaces "]
    assert [*scored.columns[4:]] == [
        "prediction",
        *[f"probability_{x}" for x in ("large", "mid.size", "small")],
        "model_name",
        "model_version",
    ]
    [part] = places.rejected.glob("*.csv")
    rejected = pd.read_csv(part, keep_default_na=False)
    assert json.loads(rejected["rejected"][0]) == [
        {"column": "body mass", "expected": "a finite number", "found": "'x'"}
    ]


def test_other_columns_come_out_as_they_went_in(score, spark: SparkSession, tmp_path: Path) -> None:
    row = Row("body mass", "height", "colour", "key", "paid", "at", "tags")
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    rows = [
        row(70.0, 170.0, "red", 2**62 + 1, Decimal("1.10"), moment, ["a"]),
        row(70.0, 170.0, "red", None, None, None, None),
    ]
    spark.createDataFrame(rows).write.parquet(str(tmp_path / "in"))
    summary, _, _ = score(f"{tmp_path}/in/*.parquet")
    before, after = spark.read.parquet(str(tmp_path / "in")), spark.read.parquet(summary["output"])
    assert after.select(*[f"`{name}`" for name in before.columns]).schema == before.schema
    assert sorted(map(str, after.select("key", "paid", "at", "tags").collect())) == sorted(
        map(str, before.select("key", "paid", "at", "tags").collect())
    )


def test_only_an_earlier_result_is_replaced(models: Path, tmp_path: Path) -> None:
    config, source = configuration(models, "amount"), str(models / "train.csv")
    places = Places(source, tmp_path / "scored", tmp_path / "rejected")
    batch.score(config, places)
    with pytest.raises(OutputExists, match="scored: expected nothing there yet"):
        batch.score(config, places)
    batch.score(config, Places(source, places.output, places.rejected, "csv", overwrite=True))
    assert not [*places.output.glob("*.parquet")]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["rejected", "scored"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputExists) as refused:
        batch.score(config, Places(source, tmp_path / "mine", tmp_path / "other", overwrite=True))
    assert "--overwrite does not replace it" in refused.value.hint


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., None]:
    """A scoring without the scoring: two folders as Spark leaves them, which hold `text`."""

    def write_both(places: Places, text: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        with staging(places) as folders:
            meanwhile()
            for folder in folders:
                folder.mkdir()
                (folder / "_SUCCESS").touch()
                (folder / "part").write_text(text)

    return write_both


def test_what_a_kill_between_the_two_moves_left_is_in_nobodys_way(
    written: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, rename = Places("table.csv", tmp_path / "scored", tmp_path / "rejected"), Path.rename

    def killed(path: Path, target: Path) -> Path:
        if target == places.output:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            written(places, "first")
    assert [path.name for path in tmp_path.iterdir()] == ["rejected"]
    require_free(places)
    written(places, "second")
    assert [(path / "part").read_text() for path in (places.output, places.rejected)] == ["second"] * 2
    assert sorted(path.name for path in places.rejected.iterdir()) == ["_SUCCESS", "part"]
    shutil.rmtree(places.output)
    with pytest.raises(OutputExists, match="rejected"):  # somebody's, who removed the scored rows only
        require_free(places)


def test_of_two_scorings_into_one_place_one_is_whole(written: Callable[..., None], tmp_path: Path) -> None:
    places = Places("table.csv", tmp_path / "scored", tmp_path / "rejected")
    with pytest.raises(OutputExists):
        written(places, "one", lambda: written(places, "the other"))
    assert [(path / "part").read_text() for path in (places.output, places.rejected)] == ["the other"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rejected", "scored"]


def test_nobody_else_moves_meanwhile(
    written: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, others = Path.rename, []

    def watched(path: Path, target: Path) -> Path:
        handle = os.open(tmp_path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            others.append("could move")
        except BlockingIOError:
            others.append("waits")
        finally:
            os.close(handle)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watched)
    written(Places("table.csv", tmp_path / "scored", tmp_path / "rejected"), "once")
    assert others == ["waits", "waits"]


def test_a_model_that_was_changed_is_not_used(models: Path, tmp_path: Path) -> None:
    client = MlflowClient()
    digest = client.get_model_version("class", "1").tags[DIGEST_TAG]
    places = Places(str(models / "train.csv"), tmp_path / "scored", tmp_path / "rejected")
    client.set_model_version_tag("class", "1", DIGEST_TAG, "0" * 64)
    try:
        with pytest.raises(WrongModel, match=f"expected SHA-256 000000000000..., found {digest[:12]}"):
            batch.score(configuration(models, "class"), places)
    finally:
        client.set_model_version_tag("class", "1", DIGEST_TAG, digest)
    assert not [*tmp_path.iterdir()]


def test_a_job_that_fails_leaves_nothing(models: Path, spark: SparkSession, tmp_path: Path) -> None:
    spark.createDataFrame([(70.0, 170.0, "red", ["list"])], ["body mass", "height", "colour", "nested"]).write.parquet(
        str(tmp_path / "in")
    )
    places = Places(f"{tmp_path}/in/*.parquet", tmp_path / "scored", tmp_path / "rejected", "csv")
    with pytest.raises(SparkFailed, match="CSV"):
        batch.score(configuration(models, "amount"), places)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("body mass,colour,x", "missing: height"),
        ("body mass,body_mass,height,colour", "columns 'body mass' and 'body_mass' are the same feature"),
        ("body mass,height,colour,prediction", "column 'prediction' has the name of a column that scoring adds"),
    ],
)
def test_a_table_without_the_features_is_refused(
    score, write: Callable[[str], Path], header: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score(write(f"{header}\n{','.join('1' * len(header.split(',')))}\n"))


def test_what_is_not_there_is_told(models: Path, score, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        score(tmp_path / "absent.csv")
    for version in ("99", "newest"):
        with pytest.raises(ConfigError, match=f"'amount' has no version {version}"):
            score(models / "train.csv", version=version)
    config = configuration(models, "amount")
    config = config.model_copy(update={"serving": config.serving.model_copy(update={"alias": "other"})})
    with pytest.raises(ConfigError, match="'amount' has no version with the alias 'other'"):
        batch.score(config, Places(str(models / "train.csv"), tmp_path / "a", tmp_path / "b"))
