"""Clients of the Open Inference Protocol: KServe's and Triton's, as their own documentation uses them."""

import asyncio
import json
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from tritonclient.utils import InferenceServerException

NONE = float("nan")
COLUMNS: list[tuple[str, str, list[Any]]] = [
    ("fixed acidity", "FP32", [8.0, 4.0]),
    ("alcohol", "FP32", [9.0, NONE]),
    ("type", "BYTES", ["white", "red"]),
]
ANSWERS = [14.0, 12.0]


@pytest.fixture
def client(address: str) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(address.removeprefix("http://"))


def array(kind: str, values: list[Any]) -> np.ndarray:
    return np.array(values, {"FP32": np.float32, "BOOL": bool, "UINT8": np.uint8, "BYTES": object}[kind])


def inputs_of(columns: list[tuple[str, str, list[Any]]], binary: bool) -> list[triton.InferInput]:
    found = []
    for name, kind, values in columns:
        found.append(triton.InferInput(name, [len(values)], kind))
        found[-1].set_data_from_numpy(array(kind, values), binary_data=binary)
    return found


@pytest.mark.parametrize("binary_out", [True, False, None])
@pytest.mark.parametrize("binary_in", [True, False])
def test_triton_predicts(client: triton.InferenceServerClient, binary_in: bool, binary_out: bool | None) -> None:
    outputs = None if binary_out is None else [triton.InferRequestedOutput("predict", binary_data=binary_out)]
    columns = COLUMNS if binary_in else [*COLUMNS[:1], ("alcohol", "FP32", [9.0, 10.0]), COLUMNS[2]]
    result = client.infer("wine-quality", inputs_of(columns, binary_in), outputs=outputs, request_id="7")
    assert result.as_numpy("predict").tolist() == ANSWERS
    assert result.get_response()["id"] == "7"


@pytest.mark.parametrize("binary", [True, False])
def test_triton_reads_labels_and_probabilities(client: triton.InferenceServerClient, binary: bool) -> None:
    result = client.infer("tumour", inputs_of([("size", "FP32", [-2.0, 2.0])], binary))
    labels = [one.decode() if isinstance(one, bytes) else one for one in result.as_numpy("predict")]
    assert labels == ["benign", "malign"]
    assert result.as_numpy("predict_proba").shape == (2, 2)
    assert json.loads(result.get_output("predict_proba")["parameters"]["labels"]) == ["benign", "malign"]


@pytest.mark.parametrize("binary", [True, False])
def test_triton_sends_a_matrix(client: triton.InferenceServerClient, binary: bool) -> None:
    matrix = triton.InferInput("input", [2, 2], "FP32")
    matrix.set_data_from_numpy(np.array([[1, 10], [2, 20]], np.float32), binary_data=binary)
    assert client.infer("sum", [matrix]).as_numpy("predict").tolist() == [12.0, 24.0]


@pytest.mark.parametrize("binary", [True, False])
def test_triton_sends_a_feature_of_each_type(client: triton.InferenceServerClient, binary: bool) -> None:
    columns = [
        ("amount", "UINT8", [5, 5]),
        ("garage", "BYTES", ["attached", "carport"]),
        ("is active", "BOOL", [True, False]),
        ("sold", "BYTES", ["2026-01-06", ""]),
        ("paid", "BYTES", ["05.03.2026", "?"]),
    ]
    result = client.infer("typed", inputs_of(columns, binary))
    assert result.as_numpy("predict").tolist() == [31115.0, 5.0]
    assert json.loads(result.get_response()["parameters"]["unknown"]) == [[], ["garage"]]


def test_triton_asks_about_the_server(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("wine-quality")
    assert client.is_model_ready("wine-quality", "1")
    assert not client.is_model_ready("nothing")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert [one["datatype"] for one in client.get_model_metadata("typed")["inputs"]] == [
        "FP32", "BYTES", "BOOL", "BYTES", "BYTES",
    ]  # fmt: skip
    assert {"name": "sum", "version": "1", "state": "READY", "reason": ""} in client.get_model_repository_index()


def test_triton_is_told_what_is_wrong(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="expected one of 'red', 'white'"):
        client.infer("wine-quality", inputs_of([*COLUMNS[:2], ("type", "BYTES", ["white", "blue"])], binary=True))
    with pytest.raises(InferenceServerException, match="nothing"):
        client.infer("nothing", inputs_of(COLUMNS, binary=True))


@pytest.mark.parametrize("binary", [True, False])
def test_kserve_predicts(address: str, binary: bool) -> None:
    inputs = []
    for name, kind, values in COLUMNS:
        inputs.append(InferInput(name, [len(values)], kind))
        inputs[-1].set_data_from_numpy(
            array(kind, [8.0 if value is NONE else value for value in values]), binary_data=binary
        )
    request = InferRequest(model_name="wine-quality", infer_inputs=inputs, request_id="42")

    async def story() -> Any:
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        try:
            answer = await client.infer(address, request, model_name="wine-quality")
            live, ready = await client.is_server_live(address), await client.is_server_ready(address)
            return answer, [live, ready, await client.is_model_ready(address, "wine-quality")]
        finally:
            await client.close()

    answer, ready = asyncio.run(story())
    assert (answer.outputs[0].name, answer.outputs[0].as_numpy().tolist()) == ("predict", [14.0, 10.0])
    assert answer.id == "42"
    assert ready == [True, True, True]
