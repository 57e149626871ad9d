"""A fitted pipeline becomes one file, an ONNX graph that carries its contract; refused when the two disagree."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn.pipeline import Pipeline
from xgboost import XGBClassifier, XGBRegressor

from training.data.files import identifier
from training.errors import ParityError
from training.evaluation.metrics import Array
from training.fit.calibration import Calibrator
from training.fit.decision import Decision
from training.fit.search import Columns
from training.model.onnx_runtime import CONTRACT_KEY, predictor

OPSET = {"": 15, "ai.onnx.ml": 3}
# By the numbers that TreeEnsemble gives them; LEAF has none there.
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "LEAF")
_LEAF = _MODES.index("LEAF")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
LARGEST_DIFFERENCE = 1e-4  # of the target's standard deviation; absolute for probabilities


def graph(
    model: Pipeline,
    columns: Columns,
    labels: list[str],
    calibrator: Calibrator | None = None,
    decision: Decision | None = None,
) -> onnx.ModelProto:
    """The pipeline as ONNX: one input per feature, named by `identifier`, (rows,) float32 or text.

    Gives `variable` (rows, 1), or `label` (rows,) text and `probabilities` (rows, labels), calibrated.
    """
    _register_xgboost()
    types = [(name, FloatTensorType([None, 1])) for name in columns.numbers]
    types += [(name, StringTensorType([None, 1])) for name in columns.categories]
    options = {id(model): {"zipmap": False}} if labels else None
    converted: onnx.ModelProto = convert_sklearn(
        model, initial_types=types, target_opset=OPSET, options=options, name="model"
    )
    _take_columns(converted, [name for name, _ in types])
    if labels:
        _drop_zero_votes(converted)
        _name_labels(converted, labels, calibrator, decision or Decision())
    else:
        compact_trees(converted)
    onnx.checker.check_model(converted)
    return converted


def _register_xgboost() -> None:
    shapes, of_labels = calculate_linear_regressor_output_shapes, calculate_linear_classifier_output_shapes
    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    update_registered_converter(XGBRegressor, "XGBoostXGBRegressor", shapes, convert_xgboost)
    update_registered_converter(XGBClassifier, "XGBoostXGBClassifier", of_labels, convert_xgboost, options=options)


def _take_columns(model: onnx.ModelProto, names: list[str]) -> None:
    """Inputs become plain columns, (rows,), under the identifiers of these names: the converter has its own.

    The converter wants (rows, 1); a column is what MLflow's own scoring feeds, and the simplest thing to give. Where
    the converter puts columns side by side, they are stacked and turned: three nodes for all, not one for each.
    """
    inputs = {put.name: identifier(name) for put, name in zip(model.graph.input, names, strict=True)}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Concat" and len(node.input) > 1 and set(node.input) <= set(inputs):
            stacked, lines = f"{node.output[0]} stacked", f"{node.output[0]} lines"
            size = numpy_helper.from_array(np.array([len(node.input), -1], dtype=np.int64), f"{lines} shape")
            model.graph.initializer.append(size)
            nodes.append(helper.make_node("Concat", [inputs[name] for name in node.input], [stacked], axis=0))
            nodes.append(helper.make_node("Reshape", [stacked, size.name], [lines]))
            nodes.append(helper.make_node("Transpose", [lines], [node.output[0]], perm=[1, 0]))
        else:
            node.input[:] = [f"{name} column" if name in inputs else name for name in node.input]
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    alone = [name for name in inputs if f"{name} column" in used]
    if alone:
        model.graph.initializer.append(helper.make_tensor("column_shape", TensorProto.INT64, [2], [-1, 1]))
    columns = [helper.make_node("Reshape", [inputs[name], "column_shape"], [f"{name} column"]) for name in alone]
    for put in model.graph.input:
        put.CopyFrom(helper.make_tensor_value_info(inputs[put.name], put.type.tensor_type.elem_type, [None]))
    del model.graph.node[:]
    model.graph.node.extend([*columns, *nodes])


def _drop_zero_votes(model: onnx.ModelProto) -> None:
    """Leaves of a forest name the labels that they vote for, and no others: with 26 labels a tenth of the file."""
    for node in model.graph.node:
        values = {one.name: one for one in node.attribute}
        if node.op_type != "TreeEnsembleClassifier" or values["post_transform"].s != b"NONE":
            continue
        weights, ids = np.array(values["class_weights"].floats, np.float32), np.array(values["class_ids"].ints)
        if len(np.unique(ids)) < 3:
            continue
        kept = (weights != 0) | (np.arange(len(ids)) == np.unique(ids, return_index=True)[1][ids])
        for name in ("class_ids", "class_nodeids", "class_treeids", "class_weights"):
            field = values[name].floats if name == "class_weights" else values[name].ints
            field[:] = np.array(field)[kept].tolist()


def compact_trees(model: onnx.ModelProto) -> None:
    """Trees of a regression as `TreeEnsemble` (ai.onnx.ml 5) holds them: inner nodes and leaves apart, values as raw
    bytes. A third of the file and half of the memory of `TreeEnsembleRegressor`, which the converters write."""
    nodes = []
    for node in model.graph.node:
        if node.op_type != "TreeEnsembleRegressor":
            nodes.append(node)
            continue
        given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        base = given.get("base_values", [])
        trees = node.output[0] if not base else f"{node.output[0]} without base"
        nodes.append(_tree_ensemble(given, node.input[0], trees))
        if base:
            name = f"{node.output[0]} base"
            model.graph.initializer.append(numpy_helper.from_array(np.array(base, np.float32), name))
            nodes.append(helper.make_node("Add", [trees, name], [node.output[0]]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    next(one for one in model.opset_import if one.domain == "ai.onnx.ml").version = 5


def _tree_ensemble(given: Mapping[str, Any], features: str, output: str) -> onnx.NodeProto:
    """The node for the attributes of a `TreeEnsembleRegressor`, whose every leaf has one weight."""
    trees, ids = np.array(given["nodes_treeids"]), given["nodes_nodeids"]
    place = {pair: at for at, pair in enumerate(zip(trees.tolist(), ids, strict=True))}
    weights = np.zeros(len(trees), np.float32)
    pairs = zip(given["target_treeids"], given["target_nodeids"], strict=True)
    weights[[place[pair] for pair in pairs]] = given["target_weights"]
    kinds = np.array([_MODES.index(mode.decode()) for mode in given["nodes_modes"]])
    roots = np.unique(trees, return_index=True)[1]
    leaf = kinds == _LEAF
    branch = ~leaf
    branch[roots] = True  # a tree of one leaf is a node with twice that leaf
    branches = np.flatnonzero(branch)
    branch_number, leaf_number = np.cumsum(branch) - 1, np.cumsum(leaf) - 1
    children = {}
    for side in ("true", "false"):
        pairs = zip(trees[branches].tolist(), np.array(given[f"nodes_{side}nodeids"])[branches].tolist(), strict=True)
        child = np.array([at if leaf[at] else place[pair] for at, pair in zip(branches, pairs, strict=True)])
        children[f"nodes_{side}leafs"] = leaf[child].astype(int).tolist()
        children[f"nodes_{side}nodeids"] = np.where(leaf, leaf_number, branch_number)[child].tolist()
    tracks = given.get("nodes_missing_value_tracks_true") or [0] * len(trees)
    return helper.make_node(
        "TreeEnsemble",
        [features],
        [output],
        domain="ai.onnx.ml",
        n_targets=1,
        post_transform=0,
        aggregate_function=_AGGREGATES.index(given.get("aggregate_function", b"SUM").decode()),
        tree_roots=branch_number[roots].tolist(),
        nodes_featureids=np.array(given["nodes_featureids"])[branches].tolist(),
        nodes_splits=numpy_helper.from_array(np.array(given["nodes_values"], np.float32)[branches]),
        nodes_modes=numpy_helper.from_array((kinds % _LEAF).astype(np.uint8)[branches]),
        nodes_missing_value_tracks_true=np.array(tracks)[branches].tolist(),
        leaf_targetids=[0] * int(leaf.sum()),
        leaf_weights=numpy_helper.from_array(weights[leaf]),
        **children,
    )


def _name_labels(model: onnx.ModelProto, labels: list[str], calibrator: Calibrator | None, decision: Decision) -> None:
    """Calibrates the probabilities as `Calibrator` does, and serves the label as `Decision` does."""
    graph, raw = model.graph, "raw probabilities"
    index, given = (output.name for output in graph.output)
    renamed = {index: "uncalibrated label", given: raw}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]

    def constant(name: str, value: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def step(operator: str, inputs: list[str], output: str, **options: Any) -> str:
        graph.node.append(helper.make_node(operator, inputs, [output], **options))
        return output

    if calibrator and calibrator.shares is not None:
        shares = np.array(calibrator.shares, dtype=np.float32)
        weighted = step("Mul", [raw, constant("shares", shares)], "weighted")
        weight = step("MatMul", [raw, constant("column of shares", shares[:, None])], "weight")
        raw = step("Div", [weighted, weight], "unbalanced")
    if calibrator and calibrator.sharpness:
        floored = step("Add", [raw, constant("floor", np.float32(calibrator.floor))], "floored")
        logarithms = step("Log", [floored], "logarithms")
        powers = step("Mul", [logarithms, constant("sharpness", np.float32(calibrator.sharpness))], "powers")
        weighed = step("Softmax", [powers], "probabilities", axis=1)
    else:
        weighed = step("Identity", [raw], "probabilities")
    if decision.factors is not None:
        factors = constant("factors", np.array(decision.factors, dtype=np.float32))
        weighed = step("Mul", [weighed, factors], "weighed")
    chosen = step("ArgMax", [weighed], "label index", axis=1, keepdims=0)
    step("Gather", [constant("labels", np.array(labels, dtype=object)), chosen], "label")
    served = [
        helper.make_tensor_value_info("label", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(labels)]),
    ]
    del graph.output[:]
    graph.output.extend(served)


def check_parity(content: bytes, features: pd.DataFrame, expected: Array, spread: float) -> float:
    """Largest difference of the graph's predictions over `features` from Python's; raises ParityError above the limit.

    `expected` are (rows,) values or (rows, labels) calibrated probabilities; `spread` is the target's standard
    deviation (1 for probabilities).
    """
    difference = float(np.max(np.abs(predictor(content)(features) - expected)))
    if not difference <= LARGEST_DIFFERENCE * spread:
        raise ParityError(difference, LARGEST_DIFFERENCE * spread)
    return difference


def attach(model: onnx.ModelProto, contract: dict[str, Any]) -> bytes:
    """The model with its contract inside, serialized: one file, so one digest covers both."""
    helper.set_model_props(model, {CONTRACT_KEY: json.dumps(contract, sort_keys=True, allow_nan=False)})
    return bytes(model.SerializeToString(deterministic=True))
