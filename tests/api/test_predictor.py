"""What makes a model file unfit to be served."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from model_files import (
    classification_contract,
    classification_model,
    regression_contract,
    regression_model,
    typed_contract,
    with_external_tensor,
)
from prediction_api.errors import GoldenMismatch, UnsafeGraph, WrongContract
from prediction_api.models.contract import Contract
from prediction_api.models.predictor import Predictor


def test_a_whole_model_predicts_what_its_graph_says() -> None:
    predictor = Predictor.from_bytes(regression_model())
    assert [one.value for one in predictor.predict([[8.0, 9.0, "red"], [8.0, None, None]])] == [13.0, 14.0]


def test_loading_a_model_leaves_no_trace_of_telemetry(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry keeps a device id in the home folder before it sends anything; so the folder tells."""
    (tmp_path / "model.onnx").write_bytes(regression_model())
    (tmp_path / "home").mkdir()
    load = (
        "import pathlib; from prediction_api.models.predictor import Predictor; "
        "Predictor.from_bytes(pathlib.Path('model.onnx').read_bytes())"
    )
    environment = {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[2] / "api")}
    subprocess.run([sys.executable, "-c", load], env=environment, cwd=tmp_path, check=True)
    assert list((tmp_path / "home").rglob("*")) == []


Change = Callable[[onnx.ModelProto], object]


def changed(change: Change) -> bytes:
    """The regression model after this change to its file."""
    model = onnx.load_model_from_string(regression_model())
    change(model)
    return model.SerializeToString()


def _rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[-1].output[0] = "other"


def _predict_twice(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "once"
    model.graph.node.append(onnx.helper.make_node("Concat", ["once", "once"], ["variable"], axis=0))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a model", b"\x80\x04\x95pickle", regression_model()[:-40]])
def test_bytes_that_are_no_model_are_refused(content: bytes) -> None:
    with pytest.raises((UnsafeGraph, WrongContract)):
        Predictor.from_bytes(content)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        *((place, "in other files") for place in ("initializer", "attribute", "sparse", "sparse attribute")),
        ("subgraph", "contains another graph, in 'If'"),
        ("function", "functions"),
        ("training", "training graphs"),
    ],
)
def test_a_file_that_would_read_others_or_holds_more_than_one_graph_is_refused(place: str, says: str) -> None:
    with pytest.raises(UnsafeGraph, match=says):
        Predictor.from_bytes(with_external_tensor(regression_model(), place))


@pytest.mark.parametrize(
    ("change", "refusal", "says"),
    [
        (lambda model: setattr(model.graph.node[0], "domain", "com.microsoft"), UnsafeGraph, "of 'com.microsoft'"),
        (lambda model: setattr(model.graph.node[0], "domain", "my.own"), UnsafeGraph, "operators of 'my.own'"),
        (lambda model: setattr(model.opset_import[0], "version", 999), UnsafeGraph, "cannot load"),
        (lambda model: setattr(model, "ir_version", 99), UnsafeGraph, "cannot load"),
        (lambda model: setattr(model.graph.node[0], "op_type", "NoSuchOperator"), UnsafeGraph, "cannot load"),
        (lambda model: model.ClearField("metadata_props"), WrongContract, "no entry 'contract'"),
        (_rename_output, WrongContract, "no output variable"),
        (_predict_twice, GoldenMismatch, "the model returned 4 predictions for 2 rows"),
    ],
)
def test_a_graph_that_cannot_be_trusted_is_refused(change: Change, refusal: type[Exception], says: str) -> None:
    with pytest.raises(refusal, match=says):
        Predictor.from_bytes(changed(change))


def _put(value: object, *keys: str | int) -> Callable[[Any], None]:
    def change(contract: Any) -> None:
        for key in keys[:-1]:
            contract = contract[key]
        contract[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_put(3, "version"), "version: .*3 is of a newer training job; this service reads up to 2"),
        (lambda contract: contract.pop("features"), "features"),
        (_put([], "features"), "features"),
        (_put("7.4", "features", 0, "example"), "example"),
        (_put("text", "features", 0, "type"), "features"),
        (_put("alcohol", "features", 0, "name"), "more than one feature"),
        (_put("acid", "features", 0, "input"), "golden row 0"),
        (_put(["a"], "labels"), "regression has none"),
        (_put([], "golden", "rows"), "golden"),
        (_put([1.0], "golden", "predictions"), "2 golden rows have 1"),
        (_put([[1.0]], "golden", "probabilities"), "2 golden rows have 1"),
        (_put(float("inf"), "interval", "half_width"), "half_width"),
    ],
)
def test_a_malformed_contract_is_refused_by_the_name_of_its_fault(change: Any, says: str) -> None:
    contract = regression_contract()
    change(contract)
    with pytest.raises(WrongContract, match=says):
        Predictor.from_bytes(regression_model(contract=contract))


def test_a_contract_with_other_inputs_than_the_graph_is_refused() -> None:
    contract = regression_contract()
    contract["features"].pop()
    for row in contract["golden"]["rows"]:
        del row["type"]
    with pytest.raises(WrongContract, match="the graph's inputs are"):
        Predictor.from_bytes(regression_model(contract=contract))


def test_other_predictions_than_in_training_are_refused() -> None:
    with pytest.raises(GoldenMismatch, match=r"golden row 0: training gave 14\.0, this graph gives 14\.8"):
        Predictor.from_bytes(regression_model(slope=0.6, contract=regression_contract(slope=0.5)))


def test_a_difference_within_the_tolerance_is_accepted() -> None:
    contract = regression_contract()
    contract["golden"]["predictions"][0] += 0.00009
    assert Predictor.from_bytes(regression_model(contract=contract))


@pytest.mark.parametrize(
    ("predictions", "probabilities", "says"),
    [
        (["malign", "malign"], None, "training gave 'malign', this graph gives 'benign'"),
        (["benign", "malign"], [[0.5, 0.5], [0.2, 0.8]], "golden row 1"),
        (["benign", "malign"], [[0.5, 0.5], [1.0]], "golden row 1"),
    ],
)
def test_other_classes_or_probabilities_are_refused(predictions: list[str], probabilities: Any, says: str) -> None:
    contract = classification_contract()
    contract["golden"] |= {"predictions": predictions, "probabilities": probabilities}
    with pytest.raises(GoldenMismatch, match=says):
        Predictor.from_bytes(classification_model(contract))


def test_labels_that_do_not_match_the_graphs_width_are_refused() -> None:
    contract = classification_contract() | {"labels": ["benign", "malign", "unknown"]}
    with pytest.raises(GoldenMismatch, match="cannot be predicted"):
        Predictor.from_bytes(classification_model(contract))


def test_a_later_contract_may_say_more() -> None:
    contract = regression_contract() | {"something_new": {"a": 1}}
    assert Predictor.from_bytes(regression_model(contract=contract)).contract.target == "quality"


def test_the_golden_rows_can_be_read_as_rows_of_the_table() -> None:
    contract = typed_contract()
    contract["features"][3]["parts"] = [{"input": f"sold_{part}", "part": part} for part in ("days", "seconds")]
    contract["features"][4]["parts"] = [{"input": f"paid_{part}", "part": part} for part in ("days", "weekday")]
    moments = {"sold_days": 19877.0, "sold_seconds": 34200.0, "paid_days": 19877.0, "paid_weekday": 0.0}
    row = {"amount": 5.0, "garage": "attached", "is_active": 0.0}
    contract["golden"]["rows"] = [row | moments, dict.fromkeys(row | moments)]
    full, empty = Contract.model_validate(contract).rows()
    assert full == {
        "amount": 5.0, "garage": "attached", "is active": False, "sold": "2024-06-03T09:30:00", "paid": "03.06.2024"
    }  # fmt: skip
    assert empty == dict.fromkeys(full)
    assert Contract.model_validate(typed_contract()).rows()[0]["sold"] == "2024-06-03"  # no day is known: the usual one
