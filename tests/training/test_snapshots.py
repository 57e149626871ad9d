"""Tables in a database and in a bucket: copied as they are, named by their content, and refused with a sentence."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from servers import held_port
from sources import WRITER, Database
from training.config import Data
from training.data import cells
from training.data.files import find
from training.data.snapshots import DAY, KEPT
from training.errors import SourceAway, SourceError
from training.monitoring.watch import watch
from training.promotion.promote import promote
from training.train import train
from versions import GOOD, Model, clean_table, register

ROOT = Path(__file__).parents[2]
CSV = b"a,b\n1,2\n3,4\n"
KINDS = """(id bigint, size numeric, price double precision, ready boolean, sold date, seen timestamp,
    noted timestamptz, word text, code char(5), part real, "Total Score" smallint);
    INSERT INTO kinds VALUES
    (1, 12.50, 0.1, true, '2024-02-29', '2024-02-29 23:59:58.25', '2024-02-29 23:59:58.25+02',
    E'a,"b"\\n c', 'ab', 0.5, 7),
    (9007199254740993, 'NaN', 'NaN', false, '1969-12-31', null, null, '', null, null, null),
    (null, null, null, null, null, null, null, null, null, null, null)"""


def test_a_column_of_a_table_is_what_a_parquet_file_gives(spark: SparkSession, database: Database) -> None:
    address = database.table("kinds", KINDS)
    read = cells.read(spark, find(Data(source=address, target="id")))
    assert dict(read.dtypes) == {
        **{"id": "bigint", "size": "string", "price": "double", "ready": "boolean", "sold": "date"},
        **{"seen": "timestamp_ntz", "noted": "timestamp", "word": "string", "code": "string", "part": "float"},
        "Total Score": "bigint",
    }
    texts = read.selectExpr(*[f"CAST(`{name}` AS string)" for name in read.columns]).orderBy("id").collect()
    nothing, first, second = ([*row] for row in texts)
    assert first == [
        *("1", "12.50", "0.1", "true", "2024-02-29", "2024-02-29 23:59:58.25", "2024-02-29 21:59:58.25"),
        *('a,"b"\n c', "ab   ", "0.5", "7"),
    ]
    assert second == ["9007199254740993", "NaN", "NaN", "false", "1969-12-31", None, None, "", None, None, None]
    assert nothing == [None] * 11


def test_rows_in_another_order_are_the_same_data(database: Database, snapshots: Path) -> None:
    source = Data(
        source=database.table("orders", "AS SELECT i AS a, i % 7 AS b FROM generate_series(1, 500) i"), target="b"
    )
    first = find(source)
    database.owner.execute("CREATE TABLE moved AS SELECT * FROM orders ORDER BY b, a DESC")
    database.owner.execute("TRUNCATE orders; INSERT INTO orders SELECT * FROM moved; DROP TABLE moved")
    again = find(source)
    assert (again.digest, again.files) == (first.digest, first.files)
    database.owner.execute("UPDATE orders SET b = 8 WHERE a = 100")
    changed = find(source)
    assert changed.digest not in (first.digest, "")
    assert changed.files != first.files
    assert pd.read_parquet(changed.files[0]).query("a == 100")["b"].tolist() == [8]


def test_a_query_is_a_table_too(database: Database) -> None:
    database.table("wines", "(name text, quality int); INSERT INTO wines VALUES ('a', 1), ('b%', 2), ('c', 3)")
    text = "query=SELECT name, quality + 1 AS q FROM wines WHERE name LIKE 'b%' OR name = 'table=c&x' -- the b's\n;"
    source = find(Data(source=database.address(text), target="q"))
    assert pd.read_parquet(source.files[0]).to_dict("records") == [{"name": "b%", "q": 3}]
    assert source.name == "postgresql:///shop?" + database.address(text).partition("?")[2]


def test_a_dag_run_keeps_to_the_rows_that_its_first_task_saw(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Data(source=database.table("growing", "(a int, b int); INSERT INTO growing VALUES (1, 2)"), target="b")

    def digest(run: str, renew: bool = True) -> str:
        monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", run)
        return find(source, renew=renew).digest

    first = digest("monday")
    database.owner.execute("INSERT INTO growing VALUES (3, 4)")
    assert digest("monday") == first
    second = digest("tuesday")
    assert second != first
    assert (digest("monday"), digest("tuesday", renew=False)) == (first, second)
    database.owner.execute("INSERT INTO growing VALUES (5, 6)")
    assert digest("", renew=False) == second  # by hand, what is promoted is what was trained
    assert digest("") not in (first, second)


@pytest.mark.usefixtures("tracking")
def test_a_changed_object_is_noticed_and_what_was_trained_before_is_promoted(
    bucket: Any, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = model.config(1)
    content = Path(str(local.data.source)).read_bytes()
    bucket.put_object(Bucket="tables", Key="growing.csv", Body=content)
    config = local.model_copy(update={"data": Data(source="s3://tables/growing.csv", target="y")})
    version = register(config, GOOD, tmp_path)
    assert train(config)["status"] == "unchanged"
    bucket.put_object(Bucket="tables", Key="growing.csv", Body=content + b"9.5,red,19\n")
    assert promote(config)["version"] == version
    with held_port() as port, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        assert watch(config, dry_run=True)["action"] == "keep"
    found = watch(config, dry_run=True)
    assert (found["action"], found["reasons"][0]["code"]) == ("retrain", "data_changed")


def test_what_a_kill_left_is_never_taken_for_a_snapshot(database: Database, snapshots: Path) -> None:
    query = "SELECT i AS a, i AS b, pg_sleep(0.1) IS NULL AS c FROM generate_series(1, 10) i"
    source = Data(source=database.address(f"query={query}"), target="b")
    code = "import sys; from training.data import snapshots; snapshots.take(sys.argv[1], True)"
    child = subprocess.Popen([sys.executable, "-c", code, str(source.source)], cwd=ROOT / "scripts")
    while not (begun := list(snapshots.glob("*/.new-*/files/rows.csv"))):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    left, home = begun[0].parents[1], begun[0].parents[2]
    assert left.exists()
    assert [path.name for path in home.iterdir() if not path.name.startswith(".")] == []
    os.utime(left, (time.time() - 2 * DAY,) * 2)
    assert len(pd.read_parquet(find(source).files[0])) == 10
    assert not left.exists()


def test_old_snapshots_go_and_those_of_the_last_day_stay(database: Database, snapshots: Path) -> None:
    source = Data(source=database.table("daily", "(a int, b int)"), target="b")
    taken = []
    for day in range(KEPT + 3):
        database.owner.execute("INSERT INTO daily VALUES (%s, 1)", [day])
        taken.append(find(source).files[0].parent)
        os.utime(taken[-1], (time.time() - DAY / 2,) * 2)
    assert all(folder.exists() for folder in taken)
    for folder in taken:
        os.utime(folder, (folder.stat().st_mtime - DAY,) * 2)
    find(source)
    assert [folder.exists() for folder in taken] == [False] * 3 + [True] * KEPT


@pytest.mark.parametrize(
    ("what", "sentence", "hint"),
    [
        ("table=public.absent", 'relation "public.absent" does not exist', "table=public.wine"),
        ("table=secret", "permission denied for table secret", "GRANT SELECT"),
        ("table=empty", "no rows", "is it the right table?"),
        ("query=SELEC 1", 'syntax error at or near "1"', "psql"),
        ('query=SELECT 1 AS a, 2 AS "A"', "column 'a' appears 2 times", "a name of its own"),
        ("query=SELECT date 'infinity' AS a, 1 AS b", "infinity", "Leave such rows out"),
        ("query=SELECT 1 AS a, nextval('numbers') AS b", "cannot execute nextval() in a read-only", "read only"),
        ("sslmode=require", "expected ?table= or ?query=", "public.wine"),
    ],
)
def test_what_a_table_is_refused_for(database: Database, what: str, sentence: str, hint: str) -> None:
    database.table("empty", "(a int, b int)")
    database.owner.execute("CREATE TABLE IF NOT EXISTS secret (a int); CREATE SEQUENCE IF NOT EXISTS numbers")
    database.owner.execute("GRANT ALL ON SEQUENCE numbers TO reader")
    with pytest.raises(SourceError) as refused:
        find(Data(source=database.address(what), target="b"))
    assert sentence in refused.value.message
    assert hint in refused.value.hint


def test_a_wrong_user_or_password_is_refused(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("not-this-one")
    for file, user, sentence in (
        (wrong, "reader", 'password authentication failed for user "reader"'),
        (database.password, "nobody", 'password authentication failed for user "nobody"'),
        (tmp_path / "absent", "reader", "DATA_PASSWORD_FILE"),
    ):
        monkeypatch.setenv("DATA_PASSWORD_FILE", str(file))
        with pytest.raises(SourceError) as refused:
            find(Data(source=database.address("table=kinds", user), target="b"))
        assert sentence in refused.value.message
        assert "password" in refused.value.message + refused.value.hint
        assert "not-this-one" not in refused.value.message + refused.value.hint
    monkeypatch.setenv("DATA_PASSWORD_FILE", str(database.password))
    with pytest.raises(SourceError, match='database "absent" does not exist'):
        find(Data(source=database.address("table=kinds").replace("/shop", "/absent"), target="b"))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://reader:hush@db.example.org/shop?table=wine",
        "postgresql://reader@db.example.org/shop?password=hush&table=wine",
        "postgresql://reader:hu/sh@db.example.org/shop?table=wine",
        "postgresql://reader:hush@db.example.org/shop",
        "s3://key:hush@tables/wine.csv",
        "mysql://reader:hush@db.example.org/shop",
    ],
)
def test_a_password_in_an_address_is_refused_and_never_shown(snapshots: Path, address: str) -> None:
    with pytest.raises(SourceError) as refused:
        find(Data(source=address, target="b"))
    assert not {"hush", "hu/sh", "sh@"} & {*refused.value.message.split("'"), *refused.value.hint.split("'")}
    assert "hu" not in refused.value.message + refused.value.hint


def test_a_server_that_is_away_is_no_refusal(database: Database, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens at the port: trying again may help, so the exit code is another one."""
    with held_port() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        for address in (f"postgresql://reader@127.0.0.1:{port}/shop?table=wine", "s3://tables/wine.csv"):
            with pytest.raises(SourceAway, match=r"cannot be reached: .*127\.0\.0\.1") as away:
                find(Data(source=address, target="b"))
            assert away.value.exit_code == 3


def test_a_locked_table_is_not_waited_for(database: Database) -> None:
    data = Data(source=database.table("locked", "(a int, b int)"), target="b")
    with database.owner.transaction():
        database.owner.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceError, match="lock timeout"):
            find(data)


def test_files_in_a_bucket_are_read_as_files_here(bucket: Any, tmp_path: Path, spark: SparkSession) -> None:
    clean_table().to_parquet(tmp_path / "table.parquet")
    parquet = (tmp_path / "table.parquet").read_bytes()
    files = {
        **{"one/table.csv": CSV, "one/readme.md": b"no table", "one/.hidden.csv": CSV, "one/deeper/more.csv": CSV},
        **{"one/deeper/still/more.csv": CSV},
        **{"two/2024/x.csv": CSV, "two/2025/x.csv": CSV + b"5,6\n", "two/2025/deep/x.csv": CSV, "two.parquet": parquet},
    }
    for key, content in files.items():
        bucket.put_object(Bucket="tables", Key=key, Body=content)
    (tmp_path / "here.csv").write_bytes(CSV)
    here = find(Data(source=str(tmp_path / "here.csv"), target="b"))
    for place in ("one/table.csv", "one/", "one", "one/t*.csv", "one/d*/*", "two/*4/*.csv"):
        source = find(Data(source=f"s3://tables/{place}", target="b"))
        assert (source.digest, source.columns, len(source.files)) == (here.digest, ("a", "b"), 1), place
        assert source.name == f"s3://tables/{place}"
    both = find(Data(source="s3://tables/two/*/x.csv", target="b"))
    assert [file.read_bytes() for file in both.files] == [CSV, CSV + b"5,6\n"]
    listed = find(Data(source=["s3://tables/two/2024/x.csv", "s3://tables/two/2025/x.csv"], target="b"))
    assert listed.digest == both.digest
    source = find(Data(source="s3://tables/two.parquet", target="y"))
    assert source.digest == find(Data(source=str(tmp_path / "table.parquet"), target="y")).digest
    assert cells.read(spark, source).count() == 400


@pytest.mark.parametrize(
    ("place", "variables", "sentence", "hint"),
    [
        ("tables/absent.csv", {}, "no such object", "Expected a key"),
        ("tables/abs*.csv", {}, "no such object", "Expected a key"),
        ("absent/x.csv", WRITER, "NoSuchBucket", "name of the bucket"),
        ("others/x.csv", {}, "AccessDenied", "s3:ListBucket"),
        ("tables/x.csv", {"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId", "AWS_SECRET_ACCESS_KEY"),
        ("tables/x.csv", {"AWS_SECRET_ACCESS_KEY": "hush"}, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("tables/x.csv", {"AWS_ACCESS_KEY_ID": ""}, "found no credentials", "AWS_SECRET_ACCESS_KEY"),
        ("tables/x.csv", {"AWS_PROFILE": "absent"}, "absent", "AWS_*"),
        ("T!/x.csv", {}, "Invalid bucket name", "address"),
    ],
)
def test_what_a_bucket_is_refused_for(
    bucket: Any, place: str, variables: dict[str, str], sentence: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SourceError) as refused:
        find(Data(source=f"s3://{place}", target="b"))
    assert refused.value.message.startswith(f"s3://{place}: ")
    assert sentence in refused.value.message
    assert hint in refused.value.hint
