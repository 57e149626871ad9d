"""Other servers' protocols, MLflow's scoring and the Open Inference Protocol: they give what /predict gives."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import live_model, started, wait_until
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from model_files import classification_model, two_numbers_model
from prediction_api.settings import Settings

NAMES = ["fixed acidity", "alcohol", "type"]
ROWS: list[list[Any]] = [[8.0, 9, "white"], [4, None, None]]  # both of the golden rows, with integers
ANSWERS = [14.0, 12.0]
INFER = "/v2/models/wine-quality/infer"


def records() -> list[dict[str, Any]]:
    return [dict(zip(NAMES, row, strict=True)) for row in ROWS]


def tensor(name: str, data: list[Any], datatype: str = "FP32", shape: list[Any] | None = None) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


def tensors() -> list[dict[str, Any]]:
    return [
        tensor("type", ["white", None], "BYTES", [2.0, 1]),
        tensor("fixed_acidity", [[8], [4.0]], "FP64", [2, 1]),
        tensor("alcohol", [9, None], "INT64"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": NAMES, "data": ROWS}},
        {"dataframe_split": {"columns": NAMES[::-1], "data": [row[::-1] for row in ROWS], "index": [7, 8]}},
        {"dataframe_split": {"columns": ["fixed_acidity", "alcohol", "type"], "data": ROWS}, "params": None},
        {"dataframe_records": records(), "params": {"threshold": 0.5}},
        {"instances": records()},
        {"instances": ROWS},
        {"inputs": records()},
        {"inputs": ROWS},
        {"inputs": {"type": ["white", None], "fixed_acidity": [8, 4], "alcohol": [9, None]}},
    ],
)
def test_invocations_reads_every_form_that_mlflow_knows(shared: TestClient, body: dict[str, Any]) -> None:
    answer = shared.post("/invocations", json=body)
    assert (answer.status_code, answer.json()) == (200, {"predictions": ANSWERS})


def test_invocations_takes_one_row_of_single_values_as_inputs(shared: TestClient) -> None:
    assert shared.post("/invocations", json={"inputs": records()[0]}).json() == {"predictions": ANSWERS[:1]}


@pytest.mark.parametrize(
    ("body", "loc", "says"),
    [
        ([], [], "expected a JSON object with one of dataframe_split, dataframe_records, instances, inputs"),
        ({}, [], "expected exactly one of"),
        ({"instances": ROWS, "inputs": ROWS}, [], "found instances and inputs"),
        ({"rows": ROWS}, ["rows"], "expected one of dataframe_split"),
        ({"instances": ROWS, "params": 3}, ["params"], "expected an object, found 3"),
        ({"dataframe_split": {"columns": NAMES}}, ["dataframe_split"], "expected an object of columns, data"),
        ({"dataframe_split": {"columns": NAMES, "data": ROWS, "index": 3}}, ["dataframe_split", "index"], "found 3"),
        ({"dataframe_split": {"columns": 3, "data": ROWS}}, ["dataframe_split", "columns"], "expected a list of names"),
        ({"dataframe_split": {"columns": [*NAMES, "alcool"], "data": ROWS}}, ["dataframe_split", "columns", "alcool"],
         "the nearest is 'alcohol'"),
        ({"dataframe_split": {"columns": [*NAMES, "fixed_acidity"], "data": ROWS}},
         ["dataframe_split", "columns", "fixed_acidity"], "given twice"),
        ({"dataframe_split": {"columns": NAMES[:2], "data": ROWS}}, ["dataframe_split", "columns", "type"],
         "missing; expected one of 'red', 'white' or null"),
        ({"dataframe_split": {"columns": NAMES, "data": [ROWS[0], [1, 2]]}}, ["dataframe_split", "data", 1],
         "expected a list of 3 values as there are columns, found 2"),
        ({"dataframe_split": {"columns": NAMES, "data": [[8, "9.", "rot"]]}}, ["dataframe_split", "data", 0, "type"],
         "expected one of 'red', 'white' or null, found the text 'rot'"),
        ({"dataframe_records": records()[0]}, ["dataframe_records"], "expected a list of rows, found an object"),
        ({"dataframe_records": [records()[0] | {"fixed_acidity": 8}]}, ["dataframe_records", 0, "fixed_acidity"],
         "given twice"),
        ({"instances": []}, ["instances"], "expected 1 to 10000 rows, found 0"),
        ({"instances": [[1, 2, "red"]] * 10_001}, ["instances"], "more fit into one call as CSV"),
        ({"instances": [3]}, ["instances", 0], "expected one JSON object of feature and value, found 3"),
        ({"instances": [ROWS[0], records()[0]]}, ["instances", 1], "expected a list of 3 values as the model has"),
        ({"inputs": {"type": ["red"], "alcohol": [1, 2], "fixed acidity": [3]}}, ["inputs", "alcohol"],
         "expected a list of 1 values as for 'type', found 2"),
        ({"inputs": {"type": ["red"], "alcohol": 1, "fixed acidity": [3]}}, ["inputs", "alcohol"], "found 1"),
        ({"inputs": {"type": ["red", 3], "alcohol": [1, 2], "fixed acidity": [3, 4]}}, ["rows", 1, "type"], "found 3"),
        ({"inputs": {"alcohol": [1]}}, ["inputs", "fixed acidity"], "missing"),
        ({"inputs": dict.fromkeys(NAMES, [1] * 10_001)}, ["inputs"], "expected 1 to 10000 rows, found 10001"),
    ],
)  # fmt: skip
def test_invocations_says_what_is_wrong_and_where(shared: TestClient, body: Any, loc: list[Any], says: str) -> None:
    answer = shared.post("/invocations", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == loc
    assert says in answer.json()["errors"][0]["msg"]


@pytest.mark.parametrize(
    "kind",
    ["application/json; charset=utf-16", "application/json; x=1; charset=latin-1", "application/vnd.apache.parquet"],
)
def test_invocations_takes_utf8_and_known_types_only(shared: TestClient, kind: str) -> None:
    answer = shared.post("/invocations", content=b'{"instances": [[1, 2, "red"]]}', headers={"Content-Type": kind})
    assert answer.status_code == 415


def test_v2_says_what_is_served(shared: TestClient) -> None:
    assert shared.get("/v2").json() == {"name": "prediction_api", "version": "1", "extensions": ["binary_tensor_data"]}
    assert shared.get("/v2/health/live").json() == {"live": True}
    assert shared.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/wine-quality", "/v2/models/wine-quality/versions/1"):
        assert shared.get(f"{path}/ready").json() == {"name": "wine-quality", "ready": True}
        assert shared.get(path).json() == {
            "name": "wine-quality",
            "versions": ["1"],
            "platform": "onnx_onnxv1",
            "inputs": [
                {"name": "fixed acidity", "datatype": "FP32", "shape": [-1]},
                {"name": "alcohol", "datatype": "FP32", "shape": [-1]},
                {"name": "type", "datatype": "BYTES", "shape": [-1]},
            ],
            "outputs": [{"name": "predict", "datatype": "FP32", "shape": [-1]}],
        }


@pytest.mark.parametrize("path", [INFER, "/v2/models/wine-quality/versions/1/infer"])
def test_infer_answers_the_tensors(shared: TestClient, path: str) -> None:
    body = shared.post(path, json={"id": "42", "inputs": tensors(), "outputs": None}).json()
    assert body.pop("parameters").pop("prediction_id") != "42"
    assert body == {
        "model_name": "wine-quality",
        "model_version": "1",
        "id": "42",
        "outputs": [{"name": "predict", "datatype": "FP32", "shape": [2], "data": ANSWERS}],
    }


def test_infer_gives_the_interval_and_an_id_of_its_own(shared: TestClient) -> None:
    body = shared.post(INFER, json={"inputs": tensors()}).json()
    identifier = body["id"]
    assert body["parameters"] == {
        "prediction_id": identifier, "interval_half_width": 0.5, "interval_coverage": 0.9,
    }  # fmt: skip


def changed(number: int, **change: Any) -> dict[str, Any]:
    inputs = tensors()
    inputs[number] |= change
    return {"inputs": inputs}


@pytest.mark.parametrize(
    ("body", "loc", "says"),
    [
        ({"inputs": []}, ["inputs"], "at least 1"),
        ({"inputs": [{}] * 10_001}, ["inputs"], "at most 10000"),  # a fault for each part of each took a gigabyte
        ({"inputs": tensors(), "outputs": [{}] * 10_001}, ["outputs"], "at most 10000"),
        ({"inputs": tensors(), "more": 1}, ["more"], "not permitted"),
        ({"inputs": tensors()[:2]}, ["inputs", "alcohol"], "missing; expected a finite number or null"),
        ({"inputs": [*tensors(), tensor("sulphate", [1, 2])]}, ["inputs", "sulphate"], "no such feature"),
        ({"inputs": [*tensors(), tensor("fixed acidity", [1, 2])]}, ["inputs", "fixed acidity"], "given twice"),
        (changed(0, datatype="FP32"), ["inputs", "type"], "expected BYTES, found FP32"),
        (changed(2, datatype="BYTES"), ["inputs", "alcohol"], "expected FP32 or another number, found BYTES"),
        (changed(2, datatype="BF16"), ["inputs", 2, "datatype"], "should be 'BOOL', 'UINT8'"),
        (changed(2, datatype="BOOL"), ["inputs", "alcohol"], "expected BOOL, true or false, found 9"),
        (changed(2, datatype="UINT8", data=[-300, 1]), ["inputs", "alcohol"], "whole number of 0 to 255, found -300"),
        (changed(2, data=[8.5, 1]), ["inputs", "alcohol"], "expected INT64, a whole number of"),
        (changed(2, data=None), ["inputs", "alcohol"], "expected values in `data`, or the parameter binary_data_size"),
        (changed(2, shape=[3]), ["inputs", "alcohol"], "expected 3 values for the shape [3], found 2"),
        (changed(2, shape=[1, 2]), ["inputs", "alcohol"], "expected the shape [n] or [n, 1], found [1, 2]"),
        (changed(2, shape=[3], data=[1, 2, 3]), ["inputs", "alcohol"], "expected 2 rows as in 'type', found 3"),
        (changed(2, data=[[1, 2], [3]]), ["inputs", "alcohol"], "expected lists of 1 values for the shape [2]"),
        (changed(2, shape=[0], data=[]), ["inputs", 2, "shape", 0], "greater than or equal to 1"),
        (changed(2, data=[9, "x"]), ["rows", 1, "alcohol"], "expected a finite number or null, found the text 'x'"),
        (changed(0, data=["white", "rosé"]), ["rows", 1, "type"], "expected one of 'red', 'white' or null"),
        ({"inputs": tensors(), "outputs": [{"name": "predict"}, {"name": "other"}]}, ["outputs", 1, "name"],
         "expected one of predict, found the text 'other'"),
        ({"inputs": [tensor("input", [1, 2, 3], shape=[1, 3])]}, ["inputs", "input"], "no such feature"),
    ],
)  # fmt: skip
def test_infer_says_what_is_wrong_and_where(shared: TestClient, body: Any, loc: list[Any], says: str) -> None:
    answer = shared.post(INFER, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == loc
    assert says in answer.json()["errors"][0]["msg"]
    assert answer.json()["error"] == answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/other/ready", "/v2/models/wine-quality/versions/2",
             "/v2/models/wine-quality/versions/2/ready"],
)  # fmt: skip
def test_another_model_or_version_is_not_found(shared: TestClient, path: str) -> None:
    answer = shared.get(path)
    assert (answer.status_code, answer.json()["type"]) == (404, "/docs#error-unknown-model")
    infer = shared.post(path.removesuffix("/ready") + "/infer", json={"inputs": tensors()})
    assert (infer.status_code, infer.json()["error"]) == (404, infer.json()["detail"])


def test_without_a_model_the_protocols_say_so(settings: Settings) -> None:
    with started(settings) as client:
        wait_until(lambda: client.get("/readyz").json()["registry"]["reachable"])
        assert client.get("/v2/health/ready").status_code == client.post("/invocations", json={}).status_code == 503
        for path in ("/v2/models/wine-quality", "/v2/models/wine-quality/ready"):
            assert client.get(path).status_code == 404
        assert client.post(INFER, json={}).status_code == 404
        assert client.get("/v2/health/live").json() == {"live": True}


@pytest.fixture(scope="module")
def tumour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The service with the classification model live: one feature, a number."""
    with live_model(classification_model(), tmp_path_factory.mktemp("tumour")) as client:
        yield client


@pytest.mark.parametrize("inputs", [[tensor("size", [-2, 2])], [tensor("input-0", [[-2], [2]], "FP64", [2, 1])]])
def test_classes_come_with_their_probabilities(tumour: TestClient, inputs: list[dict[str, Any]]) -> None:
    batch = tumour.post("/predict/batch", json={"rows": [{"size": -2}, {"size": 2}]}).json()
    label, shares = tumour.post(INFER, json={"inputs": inputs}).json()["outputs"]
    assert label == {"name": "predict", "datatype": "BYTES", "shape": [2], "data": batch["predictions"]}
    assert (shares["name"], shares["shape"], json.loads(shares["parameters"]["labels"])) == (
        "predict_proba", [2, 2], ["benign", "malign"],
    )  # fmt: skip
    assert shares["data"] == [share for one in batch["probabilities"] for share in one.values()]
    asked = {"inputs": inputs, "outputs": [{"name": "predict_proba"}]}
    assert tumour.post(INFER, json=asked).json()["outputs"] == [shares]
    assert tumour.post("/invocations", json={"instances": [[-2], [2]]}).json() == {"predictions": batch["predictions"]}


def test_a_matrix_holds_the_features_in_the_models_order(tmp_path: Path) -> None:
    with live_model(two_numbers_model(), tmp_path) as client:
        for data in ([1, 10, 2, 20], [[1, 10], [2, 20]]):
            answer = client.post(INFER, json={"inputs": [tensor("input", data, shape=[2, 2])]})
            assert answer.json()["outputs"][0]["data"] == [12.0, 24.0]
        wrong = client.post(INFER, json={"inputs": [tensor("input", [8, 4], shape=[2, 1])]}).json()
        assert "numbers of shape [n, 2], or a tensor per feature, found FP32 of shape [2, 1]" in wrong["detail"]


VALUES = st.tuples(
    st.integers(-1000, 1000) | st.floats(-1e6, 1e6, width=32),
    st.none() | st.floats(-1e6, 1e6, width=32),
    st.sampled_from(["red", "white", None]),
)
PERMUTED = st.permutations(["fixed_acidity", "alcohol", "type"]) | st.permutations(NAMES)


@given(st.lists(VALUES, min_size=1, max_size=5), PERMUTED)
@hypothesis_settings(max_examples=60)
def test_every_protocol_predicts_the_same(shared: TestClient, values: list[tuple[Any, ...]], names: list[str]) -> None:
    order = [["fixed_acidity", "alcohol", "type"].index(name.replace(" ", "_")) for name in names]
    rows = [[row[place] for place in order] for row in values]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    one_by_one = [shared.post("/predict", json=record).json()["prediction"] for record in records]
    assert shared.post("/predict/batch", json={"rows": records}).json()["predictions"] == one_by_one
    for body in (
        {"dataframe_split": {"columns": names, "data": rows}},
        {"dataframe_records": records},
        {"instances": [list(row) for row in values]},
        {"inputs": columns},
    ):
        assert shared.post("/invocations", json=body).json()["predictions"] == one_by_one
    inputs = [tensor(name, data, "BYTES" if name == "type" else "FP32") for name, data in columns.items()]
    assert shared.post(INFER, json={"inputs": inputs}).json()["outputs"][0]["data"] == one_by_one
