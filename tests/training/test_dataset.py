"""Reading, typing, checking and splitting, in a real Spark session."""

import re
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from pyspark.sql import SparkSession
from training.config import Config
from training.data import cells
from training.data import table as dataset
from training.data.files import Source, find
from training.data.spark import own_address, ship_code
from training.data.table import Dataset
from training.errors import DataError, SourceError, TableProblems, ValueProblem

Load = Callable[..., Dataset]
Locate = Callable[..., Source]

ROWS = "".join(f"{i}.5,{i % 7},{'ab'[i % 2]},{i * 2}\n" for i in range(300))
HEADER = "one,two,kind,y\n"
TABLE = HEADER + ROWS


@pytest.fixture
def locate(configured: Callable[..., Config]) -> Locate:
    """What is known of a table's files before Spark starts."""
    return lambda table, **sections: find(configured(table, **sections).data)


def parts(loaded: Dataset) -> pd.DataFrame:
    """The rows of all parts, which are named in the column `part`."""
    frames = [loaded.part(part).assign(part=part) for part in dataset.PARTS]
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        (b"", "the file is empty", ""),
        (HEADER, "a header and no rows", ""),
        ("one^two^y\n1^2^3\n", "expected at least two columns, found one: 'one^two^y'", ""),
        ("one,one,y\n1,2,3\n", "column 'one' appears 2 times", ""),
        ("one,One,y\n1,2,3\n", "column 'one' appears 2 times, capitals or not", ""),
        ("\n\none,y\n1,2\n", "line 1: expected the names of the columns, found nothing", ""),
        ("one,,y\n1,2,3\n", "column 2 has no name", ""),
        ("une,hauteur,y\n1,é,3\n".encode("latin-1"), "line 2: expected UTF-8 text, found byte 0xe9", ""),
        (b"one,y\n1,\x00\n", "line 2: not a text file", ""),
        ("one,y\n1,2\n".encode("utf-16"), "expected UTF-8 text, found UTF-16 text", ""),
        (b"PK\x03\x04\x14\0", "expected UTF-8 text, found an Excel file", ""),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "found an old Excel file", ""),
        (b"PAR1\x15\0", "found a Parquet file", ""),
        (b"\x1f\x8b\x08\0", "found a gzip archive", ""),
        ("5.1,3.5,1.4\n4.9,3.0,1.4\n", "is there a header? Line 1 looks like data", "Add a line"),
        ("0,1,5\n4.9,3.0,1.4\n", "is there a header? Line 1 looks like data", "Add a line"),
        ("one,y\n1,2\n".encode("utf-16-le"), "expected UTF-8 text, found UTF-16 text", "iconv -f utf-16le"),
        ("one,y\n1,2\n".encode("utf-32"), "expected UTF-8 text, found UTF-32 text", "iconv -f utf-32"),
        (b"BZh91AY", "found a packed file", "Unpack it"),
        ("<!DOCTYPE html>\n<html>\n", "found a page of the web", "Download the file itself"),
        ('[{"a": 1, "y": 2},\n{"a": 2}]\n', "found JSON", "as CSV"),
        ("version https://git-lfs.github.com/spec/v1\noid\n", "found a pointer of Git LFS", "git lfs pull"),
        ('"a,b,y"\n"1,2,3"\n', "at least two columns, found one: 'a,b,y'", "as a whole stands in double quotes"),
        ('a, "b", "y"\n1, "2", "3"\n', 'found "b" with its double quotes', "Remove the spaces"),
        ("Sales\n\na,b,y\n1,2,3\n4,5,6\n", "found one: 'Sales'", "Line 3 looks like the header"),
        ("Sales,,\n,,\na,b,y\n1,2,3\n", "column 2 has no name", "Line 3 looks like the header"),
        (",".join(map("c{}".format, range(20_001))) + "\n1\n", "at most 20,000 columns, found 20,001", "Keep"),
        ("sep=;\na;b;y\n1;2;3\n", "found Excel's note on the separator", "Remove the line"),
        ("# exported\na,b,y\n1,2,3\n", "found a comment", "Remove the line"),
        ("a,b,y,\n1,2,3,\n", "column 4 has no name", "Does every line end in a comma?"),
        (",a,y\n0,2,3\n", "column 1 has no name", "index=False"),
        ("a,a,y,\n1,2,3,\n", "column 4 has no name; column 'a' appears 2 times", "a name of its own"),
        ("A11,A34,4,B,4\nA12,A32,2,A,2\n", "column '4' appears 2 times", "Is the header missing?"),
    ],
)
def test_an_unusable_file_is_told_before_spark_starts(
    locate: Locate, tmp_path: Path, text: str | bytes, told: str, hint: str
) -> None:
    with pytest.raises(SourceError, match=re.escape(told)) as caught:
        locate(text)
    assert caught.value.message.startswith(str(tmp_path / "table.csv"))
    assert caught.value.hint
    assert hint in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"one,y\n1,2\n", b"PAR1 and no end"])
def test_a_parquet_file_that_is_none_is_told_before_spark_starts(
    tmp_path: Path, locate: Locate, content: bytes
) -> None:
    (tmp_path / "table.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"table\.parquet: expected a Parquet file"):
        locate(tmp_path / "table.parquet")


def test_a_separator_within_a_columns_name_is_none(locate: Locate) -> None:
    source = locate('"width, cm";"height, cm, or so";y\n1;2;3\n')
    assert source.columns == ("width, cm", "height, cm, or so", "y")


def test_a_folder_and_no_file(tmp_path: Path, locate: Locate) -> None:
    with pytest.raises(SourceError, match="the folder holds no table"):
        locate(tmp_path)
    with pytest.raises(SourceError, match="no such file"):
        locate(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("abc,1,a,3\n", "row 302, column 'one': expected a number, found 'abc'"),
        ("\tabc\t,1,a,3\n", "row 302, column 'one': expected a number, found 'abc'"),
        ("2D,1,a,3\n", "row 302, column 'one': expected a number, found '2D'"),
        ("inf,1,a,3\n", "row 302, column 'one': expected a finite number, found 'inf'"),
        ("1,900,a,3\n", "row 302, column 'two': expected 0 to 10, found '900'"),
        ("1,1,a,tall\n", "row 302, column 'y': expected a number, found 'tall'"),
        ("1,1,a\n", "line 302: expected 4 cells, as many as columns, found 3"),
        ("\n1,1,a, b,3\n", "line 303: expected 4 cells, as many as columns, found 5"),
        ('1,1,"a, b",3,9\n', "line 302: expected 4 cells, as many as columns, found 5"),
        ('1,1,"a\nb",3,9\n', "line 303: expected 4 cells, as many as columns, found 5"),
    ],
)
def test_a_bad_cell_or_line_is_named(load: Load, lines: str, told: str) -> None:
    kind = SourceError if told.startswith("line") else ValueProblem
    with pytest.raises(kind, match=re.escape(told)):
        load(TABLE + lines, checks={"ranges": {"two": [0, 10]}})


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("# exported, by hand\n" + TABLE, "line 2: expected 2 cells", "Line 2 looks like the header"),
        ("Report:,Sales\nOf:,May\n\n" + TABLE, "line 4: expected 2 cells", "Line 4 looks like the header"),
        (HEADER + ROWS.replace("\n", ",\n"), "line 2: expected 4 cells", "Do the rows end in a comma?"),
        (HEADER + ROWS.replace("\n", "\n7,").rstrip("7,"), "line 3: expected 4 cells", "begin with a name or a number"),
        (TABLE + "Total,900\n", "line 302: expected 4 cells", "Totals, notes and further tables"),
        (TABLE + "1,2,a,3,4\n", "line 302: expected 4 cells", "in double quotes"),
        (TABLE + TABLE, "line 302: expected a row, found the names of the columns again", "Remove the line"),
        (TABLE + '1,2,"a"b,3\n', "line 302: a cell begins with a double quote", "written twice"),
        (TABLE + '1,2,"a\\"b",3\n', "line 302: a cell begins with a double quote", "written twice"),
        (TABLE + '1,2,a,"\n' + ROWS, "line 302: a cell begins with a double quote", "written twice"),
    ],
)
def test_a_line_that_is_no_row_gets_its_advice(load: Load, text: str, told: str, hint: str) -> None:
    with pytest.raises(SourceError, match=re.escape(told)) as caught:
        load(text)
    assert hint in caught.value.hint


def test_rows_without_a_cell_are_none(load: Load) -> None:
    report = load(TABLE + ",,,\n" * 300).report
    assert (report["rows"], report["missing"]) == (300, {})


def test_names_may_be_numbers_that_count_and_have_line_breaks(locate: Locate) -> None:
    assert locate("0,1,2,y\n5,6,7,8\n").columns == ("0", "1", "2", "y")
    assert locate('"Price\n(EUR)";"a;b";y\n1;2;3\n').columns == ("Price\n(EUR)", "a;b", "y")


@pytest.mark.parametrize("name", ["my wines (1).csv", "größe.csv", "a[1].csv", "{a}.csv", "5%20*.csv", "a?b.csv"])
def test_a_file_may_have_any_name(spark: SparkSession, locate: Locate, tmp_path: Path, name: str) -> None:
    (tmp_path / "a1.csv").write_text(TABLE)  # which the name, taken for a pattern, fits too
    (tmp_path / name).write_text(TABLE)
    assert cells.read(spark, locate(tmp_path / name)).count() == 300


def test_a_file_that_spark_would_skip_is_refused(locate: Locate, tmp_path: Path) -> None:
    (tmp_path / "_table.csv").write_text(TABLE)
    with pytest.raises(SourceError, match="its name begins with _"):
        locate(tmp_path / "_table.csv")


def test_quoted_cells_and_empty_lines_are_whole_rows(load: Load) -> None:
    lines = '1,1,"a, ""b""",900\r\n\n  \n"2",2,a,901\n'
    assert load(TABLE + lines).report["rows_used"] == 302
    several = load(TABLE + '1,1,"a\nb",900\n2,2,a,"901\n"\n')
    assert several.report["rows_used"] == 302
    assert several.texts["kind"] == ("a", "a\nb", "b")


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        ("{i},5;1;a;{i}", "'one': expected a number with a decimal point, found '0,5' (and 299 more"),
        ("-1.234.567,{i};1;a;{i}", "'one': expected a number with a decimal point, found '-1.234.567,0' (and 299 more"),
        ("1,{few};1;a;{i}", "'one': expected a number with a decimal point, found '1,0' (and 299 more"),
        ("{i};1;a;{i},5", "'y': expected a number with a decimal point, found '0,5' (and 299 more"),
    ],
)
def test_decimal_commas_are_no_categories(load: Load, cells: str, named: str) -> None:
    rows = "".join(cells.format(i=i, few=i % 7) + "\n" for i in range(300))
    with pytest.raises(ValueProblem, match=re.escape(named)) as caught:
        load("one;two;kind;y\n" + rows)
    assert "data.decimal: ','" in caught.value.hint


def test_the_code_can_be_shipped_twice_though_python_compiled_some_of_it_meanwhile(spark: SparkSession) -> None:
    ship_code(spark)
    compiled = Path(dataset.__file__).parent / "__pycache__" / "of-a-test.pyc"
    compiled.parent.mkdir(exist_ok=True)
    compiled.touch()
    try:
        ship_code(spark)
    finally:
        compiled.unlink()
    assert spark.sparkContext.parallelize([1], 1).collect() == [1]


def test_texts_that_java_takes_for_numbers_are_categories(load: Load) -> None:
    rows = "".join(f"{2 + i % 2}D,{i},{'7f' if i % 2 else '12.d'},{i}\n" for i in range(300))
    assert load(HEADER + rows).categories == ("one", "kind")


def test_labels_and_texts_with_commas_stay_what_they_are(load: Load) -> None:
    rows = "".join(f"{['1,5', 'thin'][i % 2]};{i};a;{i % 3},5\n" for i in range(300))
    loaded = load("one;two;kind;y\n" + rows, data={"task": "classification"})
    assert (loaded.categories, loaded.labels()) == (("one", "kind"), ["0,5", "1,5", "2,5"])


CLASSES = {"task": "classification"}


@pytest.mark.parametrize(
    ("table", "sections", "told"),
    [
        (TABLE, {"target": "absent"}, "expected a column 'absent' (data.target), found: one, two, kind, y"),
        (TABLE, {"data": {"segment": "absent"}}, "(data.segment)"),
        (TABLE, {"data": {"units": {"absent": "g"}}}, "expected a column 'absent' (data.units)"),
        (TABLE, {"checks": {"min_rows": 1000}}, "expected at least 1000 usable rows, found 300"),
        (TABLE, {"data": {"ignore": ["y"]}}, "data.ignore names the target"),
        (TABLE, {"data": {"ignore": ["one", "two", "kind"]}}, "no column is left to predict 'y' from"),
        (TABLE, {"split": {"by": "time", "column": "kind"}}, "neither a date nor a number"),
        (TABLE, {"split": {"by": "group", "column": "y"}}, "split.column names the target"),
        (
            TABLE,
            {"data": {"ignore": ["kind"], "feedback": True}, "split": {"by": "group", "column": "kind"}},
            "(split.column) is in data.ignore: rows from feedback have no value for it",
        ),
        (TABLE, {"target": "one", "data": CLASSES}, "column 'one': expected at most 100 labels, found 300 different"),
        (TABLE.replace(",a,", ",b,"), {"target": "kind", "data": CLASSES}, "expected at least two labels, found 1"),
        (TABLE.replace("two", "a`b"), {}, "the name of column 'a`b' has a backtick in it"),
        (TABLE + ",1,a,1\n" * 100, {}, "column 'one': expected at most 20% missing values, found 25%"),
        (HEADER + "".join(f"{i},1,name {i},{i}\n" for i in range(300)), {}, "column 'kind' looks like an identifier"),
        ("one,y\n" + "".join(f"{i % 2}.5,{i % 9}\n" for i in range(315)), {}, "too few different rows"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(load: Load, table: str, sections: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=re.escape(told)):
        load(table, **sections)


def test_gaps_and_words_for_nothing_are_missing(load: Load) -> None:
    loaded = load(TABLE + "NaN,5,,700\n,6,a,701\n1,2,b,\n")
    assert loaded.report["missing"] == {"kind": 1, "one": 2}
    assert loaded.report["rows_without_target"] == 1
    frame = parts(loaded)
    assert frame["one"].isna().sum() == 2
    assert (frame["kind"] == "").sum() == 1


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_common_separators_and_a_byte_order_mark(load: Load, separator: str) -> None:
    text = ("\ufeff" + HEADER + ROWS).replace(",", separator)
    loaded = load(text)
    assert (loaded.numbers, loaded.categories) == (("one", "two"), ("kind",))
    assert loaded.report["rows_used"] == 300


def test_parquet_and_a_glob(load: Load, tmp_path: Path, table: pd.DataFrame) -> None:
    table.iloc[:200].to_parquet(tmp_path / "a.parquet")
    table.iloc[200:].to_parquet(tmp_path / "b.parquet")
    loaded = load(tmp_path / "*.parquet")
    assert loaded.report["rows_used"] == 400
    assert loaded.categories == ("colour",)


def test_typed_columns_of_parquet_are_read_as_their_text_would_be(
    load: Load, tmp_path: Path, table: pd.DataFrame
) -> None:
    frame = table.assign(
        height=table["height"].astype("float32"), shoe=np.arange(400) % 9 + 35, tall=table["height"] > 170
    )
    frame.loc[::9, "body mass"] = None
    frame.to_parquet(tmp_path / "table.parquet")
    typed = load(tmp_path / "table.parquet")
    text = load(frame.assign(tall=frame["tall"].map({True: "true", False: "false"})))
    assert typed.report | {"file": ""} == text.report | {"file": ""}
    assert typed.report["missing"] == {"body mass": 45}
    assert (typed.categories, typed.report["booleans"]) == (("colour",), ["tall"])
    pd.testing.assert_frame_equal(typed.part("train"), text.part("train"))
    labels = load(tmp_path / "table.parquet", target="shoe", data={"task": "classification"})
    assert labels.labels() == [str(size) for size in range(35, 44)]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_the_times_that_pandas_writes_into_parquet_are_times(
    load: Load, tmp_path: Path, table: pd.DataFrame, zone: str | None
) -> None:
    hours = pd.Series(pd.date_range("2024-03-01", periods=400, freq="97min", tz=zone)).dt.as_unit("ns")
    table.assign(sold=hours).to_parquet(tmp_path / "table.parquet")
    assert parquet.read_schema(tmp_path / "table.parquet").field("sold").type == pa.timestamp("ns", zone)
    loaded = load(tmp_path / "table.parquet")
    assert loaded.report["dates"] == ["sold"]
    text = load(table.assign(sold=hours.dt.tz_convert("UTC").dt.tz_localize(None) if zone else hours))
    pd.testing.assert_frame_equal(loaded.part("train"), text.part("train"))


@pytest.mark.parametrize(
    "kind",
    [pa.duration("ns"), pa.list_(pa.int64()), pa.struct({"a": pa.int64()}), pa.map_("string", "string")],
    ids=str,
)
def test_a_column_of_parquet_that_is_no_feature_is_refused_unless_ignored(
    load: Load, tmp_path: Path, table: pd.DataFrame, kind: pa.DataType
) -> None:
    columns = pa.Table.from_pandas(table, preserve_index=False).append_column("x", pa.nulls(len(table), kind))
    parquet.write_table(columns, tmp_path / "table.parquet")
    told = f"column 'x': expected numbers, text, dates or truth values, found {str(kind).split('<')[0]}"
    with pytest.raises(DataError, match=re.escape(told)):
        load(tmp_path / "table.parquet")
    assert load(tmp_path / "table.parquet", data={"ignore": ["x"]}).features == ("body mass", "height", "colour")


@pytest.mark.parametrize("kind", [pa.time64("us"), pa.float16()])
def test_a_column_of_parquet_that_spark_cannot_read_is_told_before_it_starts(
    locate: Locate, tmp_path: Path, kind: pa.DataType
) -> None:
    columns = {"height": pa.array([170.0]), "x": pa.nulls(1, kind)}
    parquet.write_table(pa.table(columns), tmp_path / "table.parquet")
    told = f"column 'x': expected numbers, text, dates or truth values, found {kind}"
    with pytest.raises(SourceError, match=re.escape(told)):
        locate(tmp_path / "table.parquet")


@pytest.mark.parametrize(
    ("column", "cell", "told"),
    [
        ("height", np.inf, "column 'height': expected a finite number, found 'Infinity'"),
        ("shoe", 90, "column 'shoe': expected 30 to 50, found '90' (and 1 more in this column)"),
    ],
)
def test_a_bad_cell_of_parquet_is_named(
    load: Load, tmp_path: Path, table: pd.DataFrame, column: str, cell: float, told: str
) -> None:
    frame = table.assign(shoe=40)
    frame.loc[[7, 8], column] = cell
    frame.to_parquet(tmp_path / "table.parquet")
    with pytest.raises(ValueProblem, match=re.escape(told)):
        load(tmp_path / "table.parquet", checks={"ranges": {"shoe": [30, 50]}})


def test_repeated_rows_are_dropped_or_kept_on_one_side(load: Load, table: pd.DataFrame) -> None:
    twice = pd.concat([table, table])
    assert load(twice, data={"duplicates": "drop"}).report["rows_repeated"] == 400
    kept = load(twice)
    assert [kept.report[f"rows_{name}"] for name in ("used", "repeated", "dropped")] == [800, 400, 0]
    assert kept.report["warnings"] == []
    assert (parts(kept).groupby("__hash")["part"].nunique() == 1).all()


def test_rows_that_are_few_without_their_repetitions_are_a_warning(load: Load, table: pd.DataFrame) -> None:
    [warning] = load(pd.concat([table[:100]] * 4)).report["warnings"]
    assert warning.startswith("300 of 400 rows repeat another one, which leaves 100 different rows")


def test_equal_rows_of_two_groups_repeat_each_other(load: Load, table: pd.DataFrame) -> None:
    twice = pd.concat([table, table]).assign(patient=np.arange(800) // 4)
    report = load(twice, data={"ignore": ["patient"]}, split={"by": "group", "column": "patient"}).report
    assert 0 < report["rows_repeated"] <= 400


def test_fewer_test_rows_than_the_gate_asks_for_are_a_warning(load: Load, table: pd.DataFrame) -> None:
    few = {"split": {"test": 0.05}, "checks": {"min_rows": 100}}
    [warning] = load(table[:200], **few).report["warnings"]
    assert re.match(r"\d+ test rows: the gate promotes no version that was tested on fewer than 30\. ", warning)
    assert load(table[:200], **few, gate={"mode": "off"}).report["warnings"] == []


def test_all_faults_of_a_table_come_in_one_run(load: Load) -> None:
    rows = "".join(f"name {i},{i},{'ok' if i else 'rare'}\n" for i in range(60))
    with pytest.raises(TableProblems) as caught:
        load("who,x,y\n" + rows, data={"task": "classification"})
    found = caught.value.message
    for fault in ("'who' looks like an identifier", "at least 200 usable rows, found 60", "label 'rare' has 1 rows; "):
        assert fault in found


def test_leaving_repeated_rows_out_is_refused_where_it_moves_the_labels(load: Load) -> None:
    survey = pd.DataFrame({"a": [f"a{i % 9}" for i in range(4000)], "b": [f"b{i % 7}" for i in range(4000)]})
    survey["y"] = np.where(np.arange(4000) % 10 == 0, "yes", "no")
    with pytest.raises(DataError, match=r"data.duplicates: drop moves the share of '(yes|no)' from"):
        load(survey, data={"task": "classification", "duplicates": "drop"})
    assert load(survey, data={"task": "classification"}).report["rows_used"] == 4000


def test_types_are_read_as_the_contract_will_say(load: Load) -> None:
    flags, days = ["yes", "FALSE", "0", ""], ["29.02.2024", "1.3.2024", "31.12.1969"]
    lines = [
        f"{flags[i % 4]};{days[i % 3]};2024-05-06T{i % 24:02}:00:01+02:00;\u00a0-1.{i:03},5;{i},25" for i in range(300)
    ]
    text = "flag;day;at;size;y\n" + "\n".join(lines) + "\n"
    loaded = load(text, data={"decimal": ",", "thousands": "."}, checks={"max_missing": 0.3})
    report = loaded.report
    assert (report["booleans"], report["dates"], report["missing"]) == (["flag"], ["at", "day"], {"flag": 75})
    rows = parts(loaded).sort_values("y", ignore_index=True)
    assert rows["y"].tolist() == [i + 0.25 for i in range(300)]
    assert rows["size"].tolist() == [-1000.5 - i for i in range(300)]
    np.testing.assert_array_equal(rows["flag"][:4], [1, 0, 0, np.nan])
    assert rows["day days"].tolist()[:3] == [19782, 19783, -1]
    assert rows[["day month", "day weekday"]].values.tolist()[:3] == [[2, 3], [3, 4], [12, 2]]
    assert rows["at days"].tolist()[1:4] == [19848, 19849, 19849]  # 01:00 with +02:00 is the day before in UTC
    assert rows["at seconds"].tolist()[1:4] == [23 * 3600 + 1, 1, 3601]


def test_rows_of_one_group_are_on_one_side(load: Load, table: pd.DataFrame) -> None:
    grouped = table.assign(patient=[f"p{i // 4}" for i in range(400)])
    split = {"by": "group", "column": "patient"}
    loaded = load(grouped, data={"ignore": ["patient"]}, split=split)
    assert "patient" not in loaded.features
    rows = parts(loaded)
    sides = rows.merge(grouped.astype({"body mass": "float32", "height": "float32"}), on=["body mass", "height", "y"])
    assert len(sides) == 400
    assert (sides.groupby("patient")["part"].nunique() == 1).all()
    assert rows["__hash"].nunique() == 100
    numbered = table.assign(patient=np.arange(400) // 4)
    assert load(numbered, split=split).report["rows_used"] == 400
    many = table.assign(patient=[f"p{i * 2 // 3}" for i in range(400)])  # too many for a feature
    assert load(many, data={"ignore": ["patient"]}, split=split).report["rows_used"] == 400


def test_the_last_rows_are_the_test_rows(load: Load, table: pd.DataFrame) -> None:
    sold = pd.date_range("2024-01-01", periods=400, freq="D").strftime("%d.%m.%Y")
    timed = table.assign(sold=sold, order=np.arange(400)).sample(frac=1, random_state=1)
    loaded = load(timed, split={"by": "time", "column": "sold"})
    order = {part: loaded.part(part)["order"] for part in dataset.PARTS}
    first, last = ({part: getattr(rows, end)() for part, rows in order.items()} for end in ("min", "max"))
    assert last["train"] < first["calibration"] <= last["calibration"] < first["test"]
    assert loaded.report["parts"]["test"] == pytest.approx(80, abs=1)


@pytest.mark.parametrize(
    ("header", "how"),
    [
        ("one,two,size,y", "without 'kind'; also 'size'"),
        ("one,two,kind,y,z", ": also 'z'"),
        ("two,one,kind,y", "the columns are in another order"),
        ("one;two;kind;y", "separated by semicolon, not comma"),
    ],
)
def test_files_of_one_table_that_differ_are_told_apart_by_their_columns(
    locate: Locate, tmp_path: Path, header: str, how: str
) -> None:
    (tmp_path / "a.csv").write_text(TABLE)
    (tmp_path / "b.csv").write_text(f"{header}\n1,2,3,4\n")
    with pytest.raises(SourceError, match=rf"b\.csv: header differs from that of .*a\.csv.*{how}$"):
        locate(tmp_path / "*.csv")


def test_packed_files_spreadsheets_folders_and_lists(load: Load, tmp_path: Path, table: pd.DataFrame) -> None:
    expected = load(table).part("train")
    folder = tmp_path / "parts"
    folder.mkdir()
    table[:150].to_csv(folder / "a.csv.gz", index=False)
    table[150:].to_csv(folder / "b.csv", index=False)
    pd.testing.assert_frame_equal(load(folder).part("train"), expected)
    both = {"source": [str(folder / "a.csv.gz"), str(folder / "b.csv")]}
    pd.testing.assert_frame_equal(load(folder, data=both).part("train"), expected)


def spreadsheet(path: Path, sheets: dict[str, pd.DataFrame]) -> Path:
    """A workbook as spreadsheet programs save it, in its smallest form."""

    def cell(value: object) -> str:
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return f"<c><v>{value}</v></c>"

    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    kinds = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            "_rels/.rels",
            f'{kinds}<Relationship Id="a" Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        listed = "".join(f'<sheet name="{name}" sheetId="{i}" r:id="s{i}"/>' for i, name in enumerate(sheets, 1))
        book.writestr("xl/workbook.xml", f'<workbook {main} xmlns:r="{relations}"><sheets>{listed}</sheets></workbook>')
        targets = "".join(
            f'<Relationship Id="s{i}" Type="{relations}/worksheet" Target="worksheets/{i}.xml"/>'
            for i in range(1, len(sheets) + 1)
        )
        book.writestr("xl/_rels/workbook.xml.rels", f"{kinds}{targets}</Relationships>")
        for i, frame in enumerate(sheets.values(), 1):
            rows = [list(frame.columns), *frame.astype(object).values.tolist()]
            data = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
            book.writestr(f"xl/worksheets/{i}.xml", f"<worksheet {main}><sheetData>{data}</sheetData></worksheet>")
    return path


def test_the_first_sheet_of_a_spreadsheet_or_the_one_that_is_named(
    load: Load, locate: Locate, tmp_path: Path, table: pd.DataFrame
) -> None:
    path = spreadsheet(tmp_path / "book.xlsx", {"notes": table[["colour", "y"]], "rows": table})
    expected = load(table)
    named = load(Path(f"{path}#rows"))
    pd.testing.assert_frame_equal(named.part("train"), expected.part("train"))
    assert load(path).features == ("colour",)
    with pytest.raises(SourceError, match="no sheet 'absent', found: notes, rows"):
        locate(Path(f"{path}#absent"))
    (tmp_path / "broken.xlsx").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(SourceError, match=r"expected an \.xlsx workbook"):
        locate(tmp_path / "broken.xlsx")


def test_a_cell_of_a_spreadsheet_is_named_by_its_own_row(load: Load, tmp_path: Path, table: pd.DataFrame) -> None:
    rows = table.astype(object)
    gaps = pd.DataFrame([[""] * len(rows.columns)] * 2, columns=rows.columns)
    rows.loc[rows.index[-1], "height"] = "abc"
    path = spreadsheet(tmp_path / "book.xlsx", {"rows": pd.concat([gaps, rows])})
    with pytest.raises(ValueProblem, match=f"row {len(rows) + 3}, column 'height': expected a number, found 'abc'"):
        load(path)


def test_a_row_keeps_its_side_when_rows_are_added(load: Load, table: pd.DataFrame) -> None:
    before = load(table.iloc[:300]).part("test")["__hash"]
    after = load(table).part("test")["__hash"]
    assert len(before) > 30
    assert set(before) <= set(after)


def test_parts_have_about_the_configured_shares(load: Load, table: pd.DataFrame) -> None:
    counts = load(table).report["parts"]
    assert sum(counts.values()) == 400
    assert counts["test"] == pytest.approx(80, abs=4 * np.sqrt(400 * 0.2 * 0.8))


def test_the_digest_is_of_the_content(tmp_path: Path, table: pd.DataFrame, locate: Locate) -> None:
    tables = {"a": table, "b": table, "c": table.iloc[1:]}
    for name, frame in tables.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    first, same, other = (locate(tmp_path / f"{name}.csv").digest for name in tables)
    assert first == same != other


def test_the_sample_stands_in_and_is_called_synthetic(tmp_path: Path, table: pd.DataFrame, locate: Locate) -> None:
    table.to_csv(tmp_path / "sample.csv", index=False)
    sample = {"sample": str(tmp_path / "sample.csv")}
    assert locate(tmp_path / "real.csv", data=sample).synthetic
    table.iloc[1:].to_csv(tmp_path / "real.csv", index=False)
    assert not locate(tmp_path / "real.csv", data=sample).synthetic


@pytest.mark.parametrize("different", [3, 5, 21])
def test_a_table_of_few_different_rows_has_three_parts(load: Load, different: int) -> None:
    """As a survey with two questions. Rows with equal features stay together."""
    for seed in range(2):
        rows = "".join(f"{i % different}.5,a,{i % 9}\n" for i in range(315))
        loaded = load("one,two,y\n" + rows, split={"seed": seed})
        found = [set(loaded.part(name)["one"]) for name in dataset.PARTS]
        assert all(found)
        assert len(set.union(*found)) == sum(map(len, found)) == different
    assert loaded.report["split_test"] == 0.2 or different < 21


@pytest.mark.parametrize(("copies", "effect"), [([1], 1.0), ([3], 3.0), ([1, 3], 2.5)])
def test_the_design_effect_counts_the_rows_that_repeat(load: Load, copies: list[int], effect: float) -> None:
    """One and three copies in turn: three of four rows share their hash with two others, (1 + 3 * 3) / 4."""
    rows = "".join(f"{i}.5,{i % 7}\n" * copies[i % len(copies)] for i in range(300))
    assert load("one,y\n" + rows).design_effect() == pytest.approx(effect)


@pytest.mark.parametrize(
    ("master", "address"),
    [
        ("local[2]", "127.0.0.1"),
        (
            "spark://127.0.0.1:7077,127.0.0.2:7077",
            "127.0.0.1",
        ),  # as this master is reached, whatever networks there are
        ("yarn", socket.gethostbyname(socket.gethostname())),
        ("spark://no such host:7077", socket.gethostbyname(socket.gethostname())),
    ],
)
def test_executors_call_back_where_the_master_is_reached_from(master: str, address: str) -> None:
    assert own_address(master) == address
