"""Batches as CSV: what is read, what is refused and where, and that an answer is whole or none."""

import csv
import io
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import live
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from model_files import classification_model, overflowing_model, regression_contract, regression_model
from prediction_api.models.predictor import Predictor
from prediction_api.protocols.csv_table import CHUNK_ROWS
from prediction_api.settings import Settings
from registry_server import FakeRegistry

CSV = {"Content-Type": "text/csv"}
HEADER = "fixed acidity,alcohol,type\n"
ROWS = "8,9,white\n4.0,,\n"


def post(client: TestClient, body: str | bytes, path: str = "/predict/batch", **headers: str) -> Any:
    return client.post(path, content=body, headers=CSV | headers)


@pytest.mark.parametrize(
    "body",
    [
        HEADER + ROWS,
        "type,fixed_acidity,alcohol\r\nwhite,8,9\r\n,4,\r\n",
        "\ufefftype;fixed acidity;alcohol\nwhite;8;9.0\n\n;4;\n\n",
        'alcohol\t"fixed acidity"\ttype\n9\t 8.0 \t"white"\n""\t4e0\t""',
        "alcohol, fixed_acidity ,type\n9,8,white\n,4,\n",
        "alcohol,fixed acidity,type\r9,8,white\r,4,\r",
    ],
)
def test_csv_is_answered_with_csv_in_the_order_given(shared: TestClient, body: str) -> None:
    answer = post(shared, body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert int(answer.headers["content-length"]) == len(answer.content)
    header, *rows = csv.reader(io.StringIO(answer.text))
    assert header == ["prediction", "low", "high", "id"]
    assert [row[:3] for row in rows] == [["14.0", "13.5", "14.5"], ["12.0", "11.5", "12.5"]]
    identifiers = [row[3].rsplit(".", 1) for row in rows]
    assert [number for _, number in identifiers] == ["0", "1"]
    assert len({identifier for identifier, _ in identifiers}) == 1


def test_a_name_may_have_a_line_break(registry: FakeRegistry, settings: Settings) -> None:
    contract = regression_contract()
    contract["features"][1]["name"] = "alcohol;\n(%)"
    registry.add(regression_model(contract=contract))
    with live(settings) as client:
        answer = post(client, 'fixed acidity;"alcohol;\n(%)";type\n8;9;white\n8;x;white\n')
        assert answer.json()["errors"][0]["loc"] == ["line", 4, "alcohol;\n(%)"]
        assert post(client, '"alcohol;\n(%)";fixed acidity;type\n9;8;white\n').text.startswith("prediction,low")


def test_invocations_answers_csv_as_mlflow_does(shared: TestClient) -> None:
    answer = post(shared, HEADER + ROWS, "/invocations", **{"Content-Type": "text/csv; charset=utf-8"})
    assert (answer.headers["content-type"], answer.json()) == ("application/json", {"predictions": [14.0, 12.0]})
    assert post(shared, HEADER, "/invocations", **{"Content-Type": "text/csv; charset=latin-1"}).status_code == 415


def test_json_is_answered_with_csv_where_that_is_asked_for(shared: TestClient) -> None:
    rows = [{"fixed acidity": 8, "alcohol": 9, "type": "white"}] * 2
    answer = shared.post("/predict/batch", json={"rows": rows}, headers={"Accept": "text/csv"})
    assert [line.split(",")[0] for line in answer.text.splitlines()] == ["prediction", "14.0", "14.0"]


def test_classes_come_with_a_column_per_label(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(classification_model())
    with live(settings) as client:
        lines = post(client, "size\n-2\n2\n").text.splitlines()
        assert lines[0] == "prediction,probability_benign,probability_malign,id"
        assert [line.rsplit(",", 1)[0] for line in lines[1:]] == [
            "benign,0.8807971,0.1192029", "malign,0.1192029,0.8807971",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "loc", "says"),
    [
        (HEADER + "8,9,white\n8,strong,red\n", ["line", 3, "alcohol"],
         "expected a finite number or an empty cell, found the text 'strong'"),
        (HEADER + ",9,red\n", ["line", 2, "fixed acidity"], "expected a finite number, found an empty cell"),
        (HEADER + "8,9,rosé\n", ["line", 2, "type"], "expected one of 'red', 'white' or an empty cell"),
        (HEADER + "1e39,9,red\n", ["line", 2, "fixed acidity"], "found the text '1e39'"),
        (HEADER + "nan,9,red\n", ["line", 2, "fixed acidity"], "found the text 'nan', which means no value"),
        (HEADER + "1_000,9,red\n", ["line", 2, "fixed acidity"], "found the text '1_000'"),
        (HEADER + '8,9,"re\nd"\n', ["line", 3, "type"], "found the text 're\\nd'"),
        (HEADER + "8,9\n8,9,red,\n", ["line", 2], "expected 3 cells as in the header, found 2"),
        ("fixed acidity,alcool,type\n8,9,red\n", ["line", 1, "alcool"], "the nearest is 'alcohol'"),
        ("fixed acidity,alcohol,type,fixed_acidity\n8,9,red,8\n", ["line", 1, "fixed_acidity"], "given twice"),
        ("fixed acidity,alcohol\n8,9\n", ["line", 1, "type"], "missing; expected one of 'red', 'white' or null"),
        (ROWS, ["line", 1, "8"], "the model has no such feature"),
        ("", ["line", 1, "fixed acidity"], "missing"),
        (HEADER, ["line", 2], "expected a row under the header"),
        (HEADER + "\n\n", ["line", 2], "expected a row under the header"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_with_its_column(shared: TestClient, body: str, loc: list[Any], says: str) -> None:
    for path in ("/predict/batch", "/invocations"):
        answer = post(shared, body, path)
        assert (answer.status_code, answer.json()["type"]) == (422, "/docs#error-wrong-content")
        assert answer.json()["errors"][0]["loc"] == loc
        assert says in answer.json()["errors"][0]["msg"]


def table_of(answer: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.text)))


BAD = HEADER + "8,9,white\n8,strong,rosé\n\n8,9\n4.0,,\n"


def test_rows_that_do_not_fit_can_be_left_out(client: TestClient) -> None:
    assert post(client, BAD, "/predict/batch?skip_invalid=false").status_code == 422
    answer = post(client, BAD, "/predict/batch?skip_invalid=true")
    assert answer.status_code == 200
    names = ("x-predicted-rows", "x-skipped-rows", "x-skipped-lines")
    assert [answer.headers[name] for name in names] == ["2", "2", "3, 5"]
    header, *rows = table_of(answer)
    assert header == ["prediction", "low", "high", "id", "error"]
    assert [row[0] for row in rows] == ["14.0", "", "", "12.0"]
    assert [row[3].rpartition(".")[2] for row in rows] == ["0", "", "", "1"]
    assert [row[4] for row in rows] == [
        "",
        "line 3 alcohol: expected a finite number or an empty cell, found the text 'strong' (and 1 more)",
        "line 5: expected 3 cells as in the header, found 2",
        "",
    ]
    assert 'api_predictions_total{model="wine-quality",version="1"} 2.0' in counted(client)


def test_among_many_bad_rows_each_is_counted_and_the_first_lines_are_named(shared: TestClient) -> None:
    body = HEADER + "8,9,rosé\n" * (2 * CHUNK_ROWS) + "8,9,white\n"
    answer = post(shared, body, "/predict/batch?skip_invalid=true")
    assert answer.headers["x-skipped-rows"] == str(2 * CHUNK_ROWS)
    assert answer.headers["x-skipped-lines"] == ", ".join(map(str, range(2, 22)))
    *skipped, last = table_of(answer)[1:]
    assert all(row[4].startswith(f"line {line} type: ") for line, row in enumerate(skipped, 2))
    assert (len(skipped), last[0], last[4]) == (2 * CHUNK_ROWS, "14.0", "")


def test_where_no_row_fits_there_is_nothing_to_skip_to(shared: TestClient) -> None:
    answer = post(shared, HEADER + "8,9,rosé\n", "/predict/batch?skip_invalid=true")
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["line", 2, "type"])


def test_an_answer_can_have_the_columns_of_the_table(shared: TestClient) -> None:
    body = 'id;type;"my;note";alcohol;fixed_acidity\n=7;white;"a\nb";9;8\nx;red;;9\n8;;-1,5;;4.0\n'
    assert post(shared, body).status_code == 422
    answer = post(shared, body, "/predict/batch?passthrough=true&skip_invalid=1&safe=true")
    header, *rows = table_of(answer)
    assert header[:7] == ["input_id", "type", "my;note", "alcohol", "fixed_acidity", "prediction", "low"]
    assert [row[:6] for row in rows] == [
        ["'=7", "white", "a\nb", "9", "8", "14.0"],
        ["x", "red", "", "9", "", ""],
        ["8", "", "-1,5", "", "4.0", "12.0"],
    ]
    assert rows[1][-1] == "line 4: expected 5 cells as in the header, found 4"
    assert {len(row) for row in rows} == {len(header)}


@pytest.mark.parametrize(
    ("header", "loc"),
    [("note,alcohol,type", "fixed acidity"), ("fixed acidity,fixed_acidity,alcohol,type", "fixed_acidity")],
)
def test_each_feature_is_there_once_beside_other_columns(shared: TestClient, header: str, loc: str) -> None:
    answer = post(shared, f"{header}\n8,9,red,4\n", "/predict/batch?passthrough=true")
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["line", 1, loc])


def test_a_query_parameter_is_true_or_false(shared: TestClient) -> None:
    answer = post(shared, HEADER + ROWS, "/predict/batch?skip_invalid=yes")
    assert (answer.status_code, answer.json()["type"]) == (422, "/docs#error-wrong-query")
    assert answer.json()["detail"] == "skip_invalid: expected true or false, found 'yes'"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (HEADER.encode() + b"8,9,ros\xe9\n", "line 2 is not UTF-8"),
        (HEADER.encode() + b"8,9," + b"x" * 1_000_001, "line 2 is longer than 1000000 bytes"),
        (HEADER.encode() + b'8,9,"red"x\n', "line 2: "),
        (HEADER.encode() + b'8,9,"red\n', "line 2: unexpected end of data"),
    ],
)
def test_what_is_no_csv_is_refused_with_its_line(shared: TestClient, body: bytes, says: str) -> None:
    answer = post(shared, body)
    assert (answer.status_code, answer.json()["type"]) == (422, "/docs#error-not-csv")
    assert says in answer.json()["detail"]


def test_one_bad_line_after_many_good_ones_refuses_the_whole(client: TestClient) -> None:
    before = counted(client)
    answer = post(client, HEADER + "8,9,red\n" * (3 * CHUNK_ROWS) + "8,9,rosé\n8\n")
    assert answer.status_code == 422
    assert [one["loc"] for one in answer.json()["errors"]] == [
        ["line", 3 * CHUNK_ROWS + 2, "type"], ["line", 3 * CHUNK_ROWS + 3],
    ]  # fmt: skip
    assert counted(client) == before


def counted(client: TestClient) -> list[str]:
    return [line for line in client.get("/metrics").text.splitlines() if line.startswith("api_predictions_total")]


@pytest.mark.parametrize("line", ["8,9,rosé\n", "8,9\n"])
def test_bad_lines_are_reported_in_a_short_list(shared: TestClient, line: str) -> None:
    problem = post(shared, HEADER + line * 5_000).json()
    assert len(problem["errors"]) == 20
    assert problem["detail"].endswith("(and at least 19 more)")


def test_a_model_that_fails_midway_is_an_error_and_no_half_answer(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(overflowing_model())
    with live(settings) as client:
        answer = post(client, HEADER + "0,9,red\n" * CHUNK_ROWS + "1e10,9,red\n")
    assert (answer.status_code, answer.json()["type"]) == (500, "/docs#error-prediction-failed")


def test_csv_has_a_limit_of_its_own(registry: FakeRegistry, settings: Settings) -> None:
    registry.add(regression_model())
    with live(settings, api_max_body_bytes=25_000) as client:
        assert post(client, HEADER + "8,9,red\n" * 10_000).status_code == 200
        assert post(client, HEADER + "8,9,red\n" * 13_000).status_code == 413
        blocks = iter([HEADER.encode(), *[b"8,9,red\n" * 1_000] * 20])
        answer = client.post("/predict/batch", content=blocks, headers=CSV)
        assert answer.status_code == 413
        assert "API_MAX_BODY_BYTES" in answer.json()["hint"]
        assert post(client, HEADER + ROWS).status_code == 200  # nothing is left held


def test_without_room_for_the_table_it_is_said(shared: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", "/nowhere")
        answer = post(shared, HEADER + "8,9,red\n" * 150_000)  # more than is kept in memory
    assert (answer.status_code, answer.json()["type"]) == (503, "/docs#error-no-room")
    assert "No such file or directory" in answer.json()["detail"]
    assert post(shared, HEADER + ROWS).status_code == 200  # nothing is left held


def test_others_are_answered_while_a_csv_is_worked_on(shared: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    predict = Predictor.predict

    def slow(predictor: Predictor, rows: Any) -> Any:
        if len(rows) > 1:
            begun.set()
            assert go_on.wait(60)
        return predict(predictor, rows)

    monkeypatch.setattr(Predictor, "predict", slow)
    with ThreadPoolExecutor(1) as pool:
        table = pool.submit(post, shared, HEADER + "8,9,red\n" * (2 * CHUNK_ROWS))
        assert begun.wait(60)
        assert shared.get("/livez").status_code == 200
        assert shared.post("/predict", json={"fixed acidity": 8, "alcohol": 9, "type": "red"}).status_code == 200
        assert not table.done()
        go_on.set()
        assert table.result().text.count("\n") == 2 * CHUNK_ROWS + 1


CELLS = st.tuples(
    st.floats(-1e6, 1e6, width=32), st.none() | st.floats(-1e6, 1e6, width=32), st.sampled_from(["red", "white", None])
)


@given(st.lists(CELLS, min_size=1, max_size=5), st.sampled_from(",;\t"))
@hypothesis_settings(max_examples=50)
def test_csv_gives_the_predictions_of_json(shared: TestClient, rows: list[tuple[Any, ...]], separator: str) -> None:
    table = io.StringIO()
    csv.writer(table, delimiter=separator).writerows([["fixed acidity", "alcohol", "type"], *rows])
    records = [dict(zip(("fixed_acidity", "alcohol", "type"), row, strict=True)) for row in rows]
    expected = shared.post("/predict/batch", json={"rows": records}).json()["predictions"]
    answer = csv.reader(io.StringIO(post(shared, table.getvalue()).text))
    assert [float(row[0]) for row in list(answer)[1:]] == expected


@given(
    st.binary(max_size=200)
    | st.text(alphabet='8,;9red\n\r"\t ', max_size=60).map(lambda text: (HEADER + text).encode())
)
@hypothesis_settings(max_examples=200)
def test_any_bytes_are_answered_or_refused(shared: TestClient, body: bytes) -> None:
    assert post(shared, body).status_code in (200, 422)
