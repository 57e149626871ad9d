"""Forests are predicted as ONNX Runtime predicts them, bit for bit, or left to it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from model_files import forest_model
from onnx import helper, numpy_helper
from prediction_api.models.predictor import Predictor, seven_digits
from prediction_api.models.sessions import FEATURE_BITS, forest_session, open_session

LIBRARY = Path(sys.prefix) / "lib" / "prediction_api_forest.so"
compiled = pytest.mark.skipif(not LIBRARY.exists(), reason="`make setup` found no C compiler: no forest.c")


def columns(rows: int) -> dict[str, Any]:
    """Values of three features: some are missing, many lie on a split."""
    values = np.random.default_rng(1).integers(0, 40, (3, rows)).astype(np.float32) / 4
    values[:, ::5] = np.nan
    return dict(zip(("a", "b", "c"), values, strict=True))


@compiled
@pytest.mark.parametrize("trees", [1, 7, 8, 21])
@pytest.mark.parametrize("rows", [1, 16, 300])
def test_the_sums_are_those_of_onnx_runtime_to_the_last_bit(trees: int, rows: int) -> None:
    content = forest_model(trees)
    session = forest_session(onnx.load_model_from_string(content))
    assert session is not None
    [found], [expected] = (one.run(["variable"], columns(rows)) for one in (session, open_session(content)))
    assert found.ravel().tolist() == expected.ravel().tolist()


@compiled
def test_a_loaded_model_answers_with_these_sums() -> None:
    content = forest_model(9)
    [expected] = open_session(content).run(["variable"], columns(50))
    rows = [
        [None if np.isnan(value) else float(value) for value in row] for row in zip(*columns(50).values(), strict=True)
    ]
    found = [one.value for one in Predictor.from_bytes(content).predict(rows)]
    assert found == [seven_digits(value) for value in expected.ravel().tolist()]


def _attribute(model: onnx.ModelProto, name: str) -> onnx.AttributeProto:
    return next(one for one in model.graph.node[-1].attribute if one.name == name)


def _set(name: str, place: int, value: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        _attribute(model, name).ints[place] = value

    return change


def _ask_less_than(model: onnx.ModelProto) -> None:
    modes = _attribute(model, "nodes_modes")
    modes.t.CopyFrom(numpy_helper.from_array(np.ones_like(numpy_helper.to_array(modes.t))))


def _drop_a_feature_number(model: onnx.ModelProto) -> None:
    _attribute(model, "nodes_featureids").ints.pop()


def _average(model: onnx.ModelProto) -> None:
    model.graph.node[-1].attribute.append(helper.make_attribute("aggregate_function", 0))


def _work_on(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "sums"
    model.graph.node.append(helper.make_node("Neg", ["sums"], ["variable"]))


@compiled
@pytest.mark.parametrize(
    "change",
    [
        _set("nodes_truenodeids", 1, 0),  # a circle
        _set("nodes_falsenodeids", 0, 10**6),
        _set("nodes_falsenodeids", 0, -1),
        _set("tree_roots", 0, 1),
        _set("nodes_featureids", 0, 1 << FEATURE_BITS),
        _set("nodes_featureids", 0, -1),
        _set("nodes_missing_value_tracks_true", 0, 1),
        _ask_less_than,
        _drop_a_feature_number,
        _average,
        _work_on,
    ],
)  # fmt: skip
def test_what_is_no_sum_of_plain_trees_is_left_to_onnx_runtime(change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load_model_from_string(forest_model(3))
    change(model)
    assert forest_session(model) is None


@compiled
def test_a_feature_that_the_graph_does_not_prepare_is_not_read() -> None:
    model = onnx.load_model_from_string(forest_model(3))
    _set("nodes_featureids", 0, 3)(model)
    session = forest_session(model)
    assert session is not None
    with pytest.raises(ValueError, match="feature 3 of 3"):
        session.run(["variable"], columns(2))


def test_a_model_of_another_form_is_predicted_by_onnx_runtime() -> None:
    model = onnx.load_model_from_string(forest_model(3))
    expected = Predictor.from_bytes(model.SerializeToString()).predict([[1.0, 2.0, 3.0]])
    model.graph.node[-1].output[0] = "sums"
    model.graph.node.append(helper.make_node("Identity", ["sums"], ["variable"]))
    assert Predictor.from_bytes(model.SerializeToString()).predict([[1.0, 2.0, 3.0]]) == expected
