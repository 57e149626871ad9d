"""Scoring a table on Spark gives row by row what the real prediction service answers, and refuses what it refuses."""

import json
import time
from collections.abc import Callable, Iterator
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
from service import Api, api_running
from training import train
from training.config import Config
from training.errors import ConfigError, DataError, OutputBusy, OutputExists, SourceError, SparkFailed, WrongModel
from training.scoring import batch
from training.scoring.batch import Places
from training.tracking.registry import DIGEST_TAG, Registry

from mlflow import MlflowClient

Score = Callable[..., tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]
MODELS = ("amount", "class", "typed")


@pytest.fixture(scope="module")
def api(models: Path, tracking_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api_running(tmp_path_factory.mktemp("api"), tracking_server) as running:
        while not all(running.ready(name)[0] == 200 for name in MODELS):
            time.sleep(0.2)
        yield running


@pytest.fixture(scope="module")
def models(spark: SparkSession, tracking_server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models in production. `amount` and `class` have features that may be missing but for the body mass, and
    refuse an unknown colour; `typed` has one of each type, and a way of writing of its own."""
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
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.integers(0, 700, 300), unit="D")
    price, paid = generator.uniform(100, 9000, 300).round(2), generator.random(300) < 0.4
    written = [f"{value:,.2f}".translate(str.maketrans(",.", ".,")) for value in price]  # 1.234,50
    typed = pd.DataFrame({"price.net": written, "paid": np.where(paid, "yes", "no"), "day": days.strftime("%Y-%m-%d")})
    typed["city"] = generator.choice(["Bonn", "K\u00f6ln", "true", "7"], 300)
    typed["y"] = [f"{value:.3f}".replace(".", ",") for value in price / 100 + 20 * paid + days.dayofyear / 10]
    typed.loc[::9, ["price.net", "paid", "day", "city"]] = "-"
    typed.to_csv(folder / "typed.csv", index=False, sep=";")
    for name in MODELS:
        version = train.train(configuration(folder, name))["version"]
        Registry(name, "production").point_alias(version)
    return folder


def configuration(folder: Path, name: str) -> Config:
    target, other, task = ("size", "y", "classification") if name == "class" else ("y", "size", "regression")
    data = {"source": str(folder / "train.csv"), "target": target, "ignore": [other], "task": task}
    data |= {"unknown": "refuse", "missing": ["na", "null"]}
    if name == "typed":
        data = {"source": str(folder / "typed.csv"), "target": "y", "decimal": ",", "thousands": ".", "missing": ["-"]}
    search = {"trials": 1, "folds": 2, "candidates": ["extra_trees"]}
    return Config.model_validate({"name": name, "data": data, "search": search})


def places(folder: Path, source: Path | str, *options: Any, **named: Any) -> Places:
    return Places(str(source), folder / "scored", folder / "rejected", *options, **named)


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


@pytest.fixture
def score(models: Path, tmp_path: Path) -> Score:
    """Scores a file, or a table of this text; returns the summary, the scored rows and the rejected ones."""

    def run(
        table: Path | str, name: str = "amount", **options: Any
    ) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
        path = table if isinstance(table, Path) else written(tmp_path, table)
        to = places(tmp_path / f"5 % größe {time.monotonic_ns()}", path)
        summary = batch.score(configuration(models, name), to, **options)
        return summary, pd.read_parquet(to.output), pd.read_parquet(to.rejected)

    return run


def as_scored(answer: dict[str, Any]) -> dict[str, Any]:
    """The service's answer under the names that scoring gives its columns."""
    flat = {"prediction": answer["prediction"]}
    if interval := answer.get("interval"):
        flat |= {"prediction_low": interval["low"], "prediction_high": interval["high"]}
    flat |= {f"probability_{label}": share for label, share in answer.get("probabilities", {}).items()}
    return flat | {f"model_{key}": answer["model"][key] for key in ("name", "version")}


def test_a_row_of_the_training_file_is_scored_as_it_is_served(models: Path, score: Score, api: Api) -> None:
    for name in MODELS:
        source = Path(configuration(models, name).data.place)
        summary, scored, rejected = score(source, name)
        assert (summary["rows"], summary["scored"], len(scored), len(rejected)) == (300, 300, 300, 0)
        digest = MlflowClient().get_model_version(name, "1").tags[DIGEST_TAG]
        assert (summary["version"], summary["model_sha256"]) == ("1", digest)
        features = ["price.net", "paid", "day", "city"] if name == "typed" else ["body mass", "height", "colour"]
        for line in scored.iloc[:60].to_dict("records"):
            status, answer = api.predict(name, {feature: line[feature] for feature in features})
            assert status == 200, answer
            expected = as_scored(answer)
            assert {key: line[key] for key in expected} == expected


ANY: dict[str, tuple[T.DataType, st.SearchStrategy[Any]]] = {
    "number": (
        T.DoubleType(),
        st.one_of(
            st.floats(),
            st.floats(1, 200),
            st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e39, 3.4028234663852886e38, -0.0, 1.0, 7.0]),
        ),
    ),
    "whole": (T.LongType(), st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 1, 2, 7, 20240131]))),
    "truth": (T.BooleanType(), st.booleans()),
    "date": (T.DateType(), st.dates()),
}
TEXTS = {
    "body mass": "70.5| 7e1\t|+70.|.5|5d|0x1p3|1_0|inf|nan|NA||7,5|1e39|\u221270",
    "colour": "red|dark blue| red\u00a0|Red|na|nan|70.5||\u00e9'|" + "x" * 200,
    "price.net": "1.234,5|1234,5|1.23,4|12|\u221212|+1|1e3|1,5E-3|1.5|1.500|1.5001|-|NA||"
    "\u00a012\u00a0|1.234.567|,5|5,|1_0|inf",
    "paid": "yes|NO|True|f|0|1|2|maybe| y |-||na",
    "day": "2024-01-31|2024-02-30|2024-01-31T10:00:00Z|2024-01-31 10:00:00+02:00|2024-01-31 10:00 +0200|31.01.2024|-||"
    "2024-1-3|2024-01-31T10:00:00.123456789Z|2024-01-31T25:00:00Z|2024|today|2024-12-31T23:30:00-01|10:00|"
    "1969-12-31T23:59:59,5Z|2024-01-31T10|2024-06-30 10:00|2024-06-30T10:00:00-0330",
    "city": "Bonn| K\u00f6ln |Rome|bonn|true|True|7|7.0|-|none||" + "x" * 200,
}
COLUMNS = {
    "amount": {"body mass": "number", "height": "number", "colour": "text"},
    "typed": {"price.net": "number", "paid": "text", "day": "text", "city": "text"},
}


@st.composite
def tables(draw: st.DrawFn, name: str) -> tuple[list[str], list[list[Any]]]:
    """The kinds of the columns, often what the model wants, and rows with cells of those kinds or nothing."""
    usual = COLUMNS[name]
    kinds = [draw(st.sampled_from([kind, kind, "text", *ANY])) for kind in usual.values()]
    texts = {feature: st.sampled_from(TEXTS.get(feature, TEXTS["body mass"]).split("|")) for feature in usual}
    some = [texts[feature] if kind == "text" else ANY[kind][1] for feature, kind in zip(usual, kinds, strict=True)]
    cells = [st.one_of(st.none(), cell, cell) for cell in some]
    return kinds, draw(st.lists(st.tuples(*cells).map(list), min_size=60, max_size=100))


# Each example is a Spark job or three: a failure is shown as it was found, not made smaller for minutes.
@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(data=st.data())
@pytest.mark.parametrize("name", COLUMNS)
def test_a_row_is_scored_or_rejected_as_the_service_does(
    score: Score, api: Api, spark: SparkSession, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    kinds, rows = data.draw(tables(name))
    names = list(COLUMNS[name])
    types = [T.StringType() if kind == "text" else ANY[kind][0] for kind in kinds]
    fields = [T.StructField(*pair) for pair in zip(names, types, strict=True)]
    frame = spark.createDataFrame(
        [(*row, i) for i, row in enumerate(rows)], T.StructType([*fields, T.StructField("number", T.IntegerType())])
    )
    folder = tmp_path / f"in-{time.monotonic_ns()}"
    frame.write.parquet(str(folder))
    summary, scored, rejected = score(folder / "*.parquet", name)
    assert summary["rows"] == len(scored) + len(rejected) == len(rows)
    found = {line["number"]: line for line in scored.to_dict("records")}
    for number, row in enumerate(rows):
        status, answer = api.predict(name, dict(zip(names, row, strict=True)))
        assert (status == 200) == (number in found), (row, answer)
        if status == 200:
            assert found[number]["prediction"] == answer["prediction"], row
            assert found[number].get("unknown", "") == ", ".join(answer.get("unknown", [])), row


def test_unknown_categories_are_scored_and_counted(score: Score) -> None:
    table = "price.net;paid;day;city\n1.000,5;yes;2024-05-01;Rome\n-;NO;-;Bonn\n5;1;2024-05-01;Oslo\n"
    summary, scored, _ = score(table, "typed")
    assert summary["unknown"] == {"city": 2}
    assert [*scored["unknown"]] == ["city", "", "city"]


def test_a_safe_csv_holds_no_formulas(models: Path, tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "body mass,height,colour,@note\n70,170,red,=1+1\n71,,,-5\n72,170,red,+cmd|' /C calc'!A0\n,1,red,-2+3\n",
    )
    to = places(tmp_path, path, "csv", safe=True)
    batch.score(configuration(models, "amount"), to)
    scored, rejected = (pd.read_csv(next(folder.glob("*.csv")), dtype=str) for folder in (to.output, to.rejected))
    assert [*scored["'@note"]] == ["'=1+1", "-5", "'+cmd|' /C calc'!A0"]
    assert [*rejected["'@note"]] == ["'-2+3"]


def test_a_csv_row_is_rejected_with_all_that_is_wrong(score: Score) -> None:
    table = (
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
    summary, scored, rejected = score(table)
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


def test_csv_out_reads_back_as_it_was(models: Path, tmp_path: Path) -> None:
    path = written(
        tmp_path, 'body mass,height,colour,note\n70,170,red,"a ""quoted"", cell"\n71,,,  spaces \nx,170,red,\n'
    )
    to = places(tmp_path, path, "csv")
    batch.score(configuration(models, "class"), to)
    [part] = to.output.glob("*.csv")
    scored = pd.read_csv(part, dtype=str, keep_default_na=False)
    assert [*scored["note"]] == ['a "quoted", cell', "  spaces "]
    assert [*scored.columns[4:]] == [
        "prediction",
        *[f"probability_{x}" for x in ("large", "mid.size", "small")],
        "model_name",
        "model_version",
    ]
    [part] = to.rejected.glob("*.csv")
    rejected = pd.read_csv(part, keep_default_na=False)
    assert json.loads(rejected["rejected"][0]) == [
        {"column": "body mass", "expected": "a finite number", "found": "'x'"}
    ]


def test_other_columns_come_out_as_they_went_in(score: Score, spark: SparkSession, tmp_path: Path) -> None:
    row = Row("body mass", "height", "colour", "key", "paid", "at", "tags")
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    rows = [
        row(70.0, 170.0, "red", 2**62 + 1, Decimal("1.10"), moment, ["a"]),
        row(70.0, 170.0, "red", None, None, None, None),
    ]
    spark.createDataFrame(rows).write.parquet(str(tmp_path / "in"))
    summary, _, _ = score(tmp_path / "in" / "*.parquet")
    before, after = spark.read.parquet(str(tmp_path / "in")), spark.read.parquet(summary["output"])
    assert after.select(*[f"`{name}`" for name in before.columns]).schema == before.schema
    assert sorted(map(str, after.select("key", "paid", "at", "tags").collect())) == sorted(
        map(str, before.select("key", "paid", "at", "tags").collect())
    )


def finished(folder: Path, text: str) -> None:
    """A result as Spark leaves it, which holds `text`."""
    folder.mkdir(parents=True)
    (folder / "_SUCCESS").touch()
    (folder / "part").write_text(text)


def found(folder: Path) -> dict[str, str]:
    """What lies in a folder: the text of each result, by the result's name."""
    return {path.name: (path / "part").read_text() for path in sorted(folder.iterdir())}


WHOLE = {"rejected": "whole", "scored": "whole"}


def test_only_an_earlier_result_is_replaced(models: Path, tmp_path: Path) -> None:
    config, source = configuration(models, "amount"), models / "train.csv"
    (tmp_path / "mine").mkdir()
    with pytest.raises(OutputExists) as refused:
        batch.score(config, Places(str(source), tmp_path / "mine", tmp_path / "other", overwrite=True))
    assert "--overwrite does not replace it" in refused.value.hint
    (tmp_path / "mine").rmdir()
    finished(tmp_path / "scored", "earlier")
    finished(tmp_path / "rejected", "earlier")
    with pytest.raises(OutputExists, match="scored: expected nothing there yet"):
        batch.score(config, places(tmp_path, source))
    batch.score(config, places(tmp_path, source, overwrite=True))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["rejected", "scored"]
    assert not (tmp_path / "scored" / "part").exists()


def test_what_a_killed_scoring_left_is_replaced(tmp_path: Path) -> None:
    finished(tmp_path / ".scored.scoring" / "new", "of the killed one")  # killed between its two moves
    finished(tmp_path / "rejected", "of the killed one")
    with pytest.raises(OutputExists, match="rejected"), batch.staged(places(tmp_path, "table.csv")):
        pass
    with batch.staged(places(tmp_path, "table.csv", overwrite=True)) as folders:
        for folder in folders:
            finished(folder, "whole")
    assert found(tmp_path) == WHOLE


def test_two_scorings_do_not_write_into_one_place(tmp_path: Path) -> None:
    to = places(tmp_path, "table.csv", overwrite=True)
    with batch.staged(to) as folders:
        with pytest.raises(OutputBusy, match="another scoring is writing"), batch.staged(to):
            pass
        for folder in folders:
            finished(folder, "whole")
    assert found(tmp_path) == WHOLE


def test_a_place_that_was_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    to = places(tmp_path, "table.csv")

    def write() -> None:
        with batch.staged(to) as folders:
            for folder in folders:
                finished(folder, "mine")
            finished(to.output, "theirs")

    with pytest.raises(OutputExists, match="scored"):
        write()
    assert found(tmp_path) == {"scored": "theirs"}


def test_a_model_that_was_changed_is_not_used(models: Path, tmp_path: Path) -> None:
    client = MlflowClient()
    digest = client.get_model_version("class", "1").tags[DIGEST_TAG]
    client.set_model_version_tag("class", "1", DIGEST_TAG, "0" * 64)
    try:
        with pytest.raises(WrongModel, match=f"expected SHA-256 000000000000..., found {digest[:12]}"):
            batch.score(configuration(models, "class"), places(tmp_path, models / "train.csv"))
    finally:
        client.set_model_version_tag("class", "1", DIGEST_TAG, digest)
    assert not [*tmp_path.iterdir()]


def test_a_job_that_fails_leaves_nothing(models: Path, spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.createDataFrame([(70.0, 170.0, "red", ["list"])], ["body mass", "height", "colour", "nested"])
    frame.write.parquet(str(tmp_path / "in"))
    with pytest.raises(SparkFailed, match="CSV"):
        batch.score(configuration(models, "amount"), places(tmp_path, f"{tmp_path}/in/*.parquet", "csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("body mass,colour,x", "missing: height"),
        ("body mass,body_mass,height,colour", "columns 'body mass' and 'body_mass' are the same feature"),
        ("body mass,height,colour,prediction", "column 'prediction' has the name of a column that scoring adds"),
    ],
)
def test_a_table_without_the_features_is_refused(score: Score, header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        score(f"{header}\n{','.join('1' * len(header.split(',')))}\n")


def test_what_is_not_there_is_reported(models: Path, score: Score, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        score(tmp_path / "absent.csv")
    for version in ("99", "newest"):
        with pytest.raises(ConfigError, match=f"'amount' has no version {version}"):
            score(models / "train.csv", version=version)
    config = configuration(models, "amount")
    config = config.model_copy(update={"serving": config.serving.model_copy(update={"alias": "other"})})
    with pytest.raises(ConfigError, match="'amount' has no version with the alias 'other'"):
        batch.score(config, places(tmp_path, models / "train.csv"))
