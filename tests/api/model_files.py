"""Small real ONNX models that carry a contract, for every kind of model that the service must serve."""

import json
from copy import deepcopy
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from prediction_api.models.sessions import open_session

Contract = dict[str, Any]

WINE_FEATURES: list[dict[str, Any]] = [
    {
        "name": "fixed acidity",
        "input": "fixed_acidity",
        "type": "number",
        "unit": "g/dm3",
        "low": 3.8,
        "high": 15.9,
        "median": 7.0,
        "example": 7.0,
        "nullable": False,
        "histogram": {"edges": [3.8, 8.0, 15.9], "counts": [3, 4], "missing": 0},
    },
    {"name": "alcohol", "input": "alcohol", "type": "number", "unit": None, "low": 8.0, "high": 14.9, "median": 10.3,
     "example": 10.3, "nullable": True},
    {"name": "type", "input": "type", "type": "category", "unit": None, "categories": ["red", "white"],
     "unknown": "refuse", "example": "white", "nullable": True, "histogram": {"counts": [1, 2], "missing": 0}},
]  # fmt: skip


def regression_contract(slope: float = 0.5, name: str = "wine-quality") -> Contract:
    """For `regression_model`: quality = slope * fixed acidity + alcohol (10 where missing) + (1 if white else 0)."""
    return {
        "version": 1,
        "name": name,
        "task": "regression",
        "target": "quality",
        "labels": [],
        "features": deepcopy(WINE_FEATURES),
        "interval": {"coverage": 0.9, "half_width": 0.5},
        "golden": {
            "rows": [
                {"fixed_acidity": 8.0, "alcohol": 9.0, "type": "white"},
                {"fixed_acidity": 4.0, "alcohol": None, "type": None},
            ],
            "predictions": [8.0 * slope + 10.0, 4.0 * slope + 10.0],
            "probabilities": None,
            "tolerance": 1e-4,
        },
        "metrics": {"mae": 0.5},
        "data": {"source": "data/sample.csv", "digest": "sha256:00", "rows": 7, "synthetic": True},
        "run_id": "run-1",
        "trained_at": "2026-11-23T09:00:00Z",
        "code_version": "abc",
    }


def bounded_model() -> bytes:
    """The regression model with its sum clipped, so that every input that the contract allows has a finite answer."""
    model = onnx.load_model_from_string(regression_model())
    model.graph.node[-1].output[0] = "unbounded"
    for name, value in (("least", -1e9), ("most", 1e9)):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))
    model.graph.node.append(helper.make_node("Clip", ["unbounded", "least", "most"], ["variable"]))
    return model.SerializeToString()


def regression_model(slope: float = 0.5, contract: Contract | None = None, constant: bytes | None = None) -> bytes:
    """Imputes, looks the text up and adds, all inside the graph. `constant` replaces the slope's raw tensor."""
    nodes = [
        helper.make_node("IsNaN", ["alcohol"], ["no_alcohol"]),
        helper.make_node("Where", ["no_alcohol", "usual_alcohol", "alcohol"], ["some_alcohol"]),
        helper.make_node(
            "LabelEncoder", ["type"], ["colour"], domain="ai.onnx.ml",
            keys_strings=["white"], values_floats=[1.0], default_float=0.0,
        ),
        helper.make_node("Mul", ["fixed_acidity", "slope"], ["acid_part"]),
        helper.make_node("Add", ["acid_part", "some_alcohol"], ["sum"]),
        helper.make_node("Add", ["sum", "colour"], ["variable"]),
    ]  # fmt: skip
    constants = [
        helper.make_tensor("slope", TensorProto.FLOAT, [1], [slope]),
        helper.make_tensor("usual_alcohol", TensorProto.FLOAT, [1], [10.0]),
    ]
    inputs = [_column("fixed_acidity"), _column("alcohol"), _column("type", TensorProto.STRING)]
    graph = helper.make_graph(nodes, "regression", inputs, [_column("variable")], constants)
    return _file(graph, contract or regression_contract(slope))


def overflowing_model() -> bytes:
    """A sound one, whose prediction is no finite number for an acid far beyond its golden row."""
    contract = regression_contract(slope=2e37)
    contract["golden"] = {"rows": [{"fixed_acidity": 0.0, "alcohol": 9.0, "type": "red"}], "predictions": [9.0]}
    return regression_model(2e37, contract)


def classification_contract() -> Contract:
    """For `classification_model`: P(malign) = 1 / (1 + exp(-size))."""
    return {
        "version": 1,
        "name": "tumour",
        "task": "classification",
        "target": "kind",
        "labels": ["benign", "malign"],
        "features": [{"name": "size", "input": "size", "type": "number", "example": 1.0, "nullable": False}],
        "interval": None,
        "golden": {
            "rows": [{"size": 0.0}, {"size": 2.0}],
            "predictions": ["benign", "malign"],
            "probabilities": [[0.5, 0.5], [0.1192029, 0.8807971]],
            "tolerance": 1e-4,
        },
    }


def classification_model(contract: Contract | None = None) -> bytes:
    nodes = [
        helper.make_node("Reshape", ["size", "one_column"], ["sizes"]),
        helper.make_node("Sigmoid", ["sizes"], ["malign"]),
        helper.make_node("Sub", ["one", "malign"], ["benign"]),
        helper.make_node("Concat", ["benign", "malign"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["place"], axis=1, keepdims=0),
        helper.make_node(
            "LabelEncoder", ["place"], ["label"], domain="ai.onnx.ml",
            keys_int64s=[0, 1], values_strings=["benign", "malign"], default_string="",
        ),
    ]  # fmt: skip
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    constants = [
        helper.make_tensor("one", TensorProto.FLOAT, [1, 1], [1.0]),
        helper.make_tensor("one_column", TensorProto.INT64, [2], [-1, 1]),
    ]
    graph = helper.make_graph(nodes, "classes", [_column("size")], outputs, constants)
    return _file(graph, contract or classification_contract())


def two_numbers_model() -> bytes:
    """sum = 2 * first + second, and nothing but numbers."""
    contract = classification_contract() | {
        "task": "regression",
        "labels": [],
        "features": [{"name": name, "input": name, "type": "number", "example": 1.0} for name in ("first", "second")],
        "golden": {"rows": [{"first": 1.0, "second": 3.0}], "predictions": [5.0]},
    }
    nodes = [
        helper.make_node("Add", ["first", "first"], ["twice"]),
        helper.make_node("Add", ["twice", "second"], ["variable"]),
    ]
    graph = helper.make_graph(nodes, "sum", [_column("first"), _column("second")], [_column("variable")])
    return _file(graph, contract)


def forest_model(trees: int) -> bytes:
    """A forest over the numbers a, b and c as the training job writes one; splits are whole quarters from 0 to 10."""
    random = Random(trees)
    roots: list[int] = []
    branches: list[dict[str, int]] = []
    splits: list[float] = []
    leaves: list[float] = []

    def grow(depth: int) -> tuple[int, int]:
        """The number of a new node, and whether it is a leaf."""
        if depth == 0 or (depth < 4 and random.random() < 0.2):
            leaves.append(random.gauss(6, 1) / trees)
            return len(leaves) - 1, 1
        branch = {"featureids": random.randrange(3), "missing_value_tracks_true": 0}
        place = len(branches)
        branches.append(branch)
        splits.append(random.randrange(41) / 4)
        for side in ("true", "false"):
            branch[f"{side}nodeids"], branch[f"{side}leafs"] = grow(depth - 1)
        return place, 0

    for _ in range(trees):
        roots.append(len(branches))
        grow(6)
    forest = helper.make_node(
        "TreeEnsemble", ["lines"], ["variable"], domain="ai.onnx.ml", n_targets=1, tree_roots=roots,
        nodes_splits=helper.make_tensor("splits", TensorProto.FLOAT, [len(splits)], splits),
        nodes_modes=helper.make_tensor("modes", TensorProto.UINT8, [len(splits)], [0] * len(splits)),
        leaf_targetids=[0] * len(leaves),
        leaf_weights=helper.make_tensor("weights", TensorProto.FLOAT, [len(leaves)], leaves),
        **{f"nodes_{name}": [branch[name] for branch in branches] for name in branches[0]},
    )  # fmt: skip
    nodes = [
        helper.make_node("Concat", ["a", "b", "c"], ["stacked"], axis=0),
        helper.make_node("Reshape", ["stacked", "shape"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["lines"], perm=[1, 0]),
        forest,
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [3, -1])
    output = helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph(nodes, "forest", [_column(name) for name in "abc"], [output], [shape])
    golden = dict.fromkeys("abc", 5.0)
    feed = {name: np.array([value], np.float32) for name, value in golden.items()}
    [expected] = open_session(_file(graph, None, 5)).run(None, feed)
    contract = classification_contract() | {
        "task": "regression",
        "labels": [],
        "features": [{"name": name, "input": name, "type": "number", "nullable": True} for name in "abc"],
        "golden": {"rows": [golden], "predictions": expected.ravel().tolist()},
    }
    return _file(graph, contract, 5)


def typed_contract() -> Contract:
    """For `typed_model`: worth = amount + 10 (garage attached) + 100 (active) + 1000 * weekday + 10000 * month of paid.

    What is missing adds nothing.
    """

    def feature(name: str, kind: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "input": name.replace(" ", "_"), "type": kind, "nullable": True, **more}

    rows: list[dict[str, Any]] = [
        {"amount": 5.0, "garage": "attached", "is_active": True, "sold_weekday": 1, "paid_month": 3},
        {"amount": None, "garage": None, "is_active": None, "sold_weekday": None, "paid_month": None},
    ]
    return {
        "version": 2,
        "name": "typed",
        "task": "regression",
        "target": "worth",
        "reading": {"missing": ["na", "n/a", "nan", "null", "?"], "decimal": ".", "thousands": ""},
        "features": [
            feature("amount", "number", low=0.0, high=100.0, median=5.0, example=5.0),
            feature("garage", "category", categories=["attached", "detached", "none", "007"], example="none",
                    unknown="accept", histogram={"counts": [1, 1, 3, 0], "missing": 1}),
            feature("is active", "boolean", true=["true", "yes"], false=["false", "no"], example=True,
                    histogram={"counts": [1, 3], "missing": 1}),
            feature("sold", "date", format="iso", low="2020-01-01", high="2026-12-31", median="2024-06-03",
                    example="2024-06-03", parts=[{"input": "sold_weekday", "part": "weekday"}]),
            feature("paid", "date", format="%d.%m.%Y", median="2024-06-03", example="2024-06-03",
                    parts=[{"input": "paid_month", "part": "month"}]),
        ],
        "golden": {"rows": rows, "predictions": [31115.0, 0.0]},
    }  # fmt: skip


def typed_model(contract: Contract | None = None) -> bytes:
    """A model with a feature of each type."""
    numbers = {"amount": 1.0, "is_active": 100.0, "sold_weekday": 1000.0, "paid_month": 10000.0}
    constants = [helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])]
    nodes = [
        helper.make_node(
            "LabelEncoder", ["garage"], ["sum_0"], domain="ai.onnx.ml",
            keys_strings=["attached"], values_floats=[10.0], default_float=0.0,
        )
    ]  # fmt: skip
    for place, (name, weight) in enumerate(numbers.items()):
        constants.append(helper.make_tensor(f"weight_{name}", TensorProto.FLOAT, [1], [weight]))
        result = "variable" if place == len(numbers) - 1 else f"sum_{place + 1}"
        nodes += [
            helper.make_node("IsNaN", [name], [f"no_{name}"]),
            helper.make_node("Where", [f"no_{name}", "zero", name], [f"some_{name}"]),
            helper.make_node("Mul", [f"some_{name}", f"weight_{name}"], [f"part_{name}"]),
            helper.make_node("Add", [f"sum_{place}", f"part_{name}"], [result]),
        ]
    inputs = [*map(_column, numbers), _column("garage", TensorProto.STRING)]
    graph = helper.make_graph(nodes, "typed", inputs, [_column("variable")], constants)
    return _file(graph, contract or typed_contract())


def with_external_tensor(content: bytes, place: str) -> bytes:
    """The same model with one more tensor that would be read from another file, at one of the places ONNX has."""
    model = onnx.load_model_from_string(content)
    outside = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="/etc/passwd")
    if place == "initializer":
        model.graph.initializer.append(outside)
    elif place == "attribute":
        model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=outside))
    elif place == "subgraph":
        inner = helper.make_graph([], "inner", [], [], [outside])
        model.graph.node.append(helper.make_node("If", ["never"], ["unused"], then_branch=inner, else_branch=inner))
    elif place == "training":
        model.training_info.add().algorithm.initializer.append(outside)
    elif place.startswith("sparse"):
        indices = helper.make_tensor("indices", TensorProto.INT64, [1], [0])
        sparse = helper.make_sparse_tensor(outside, indices, [1])
        if place == "sparse":
            model.graph.sparse_initializer.append(sparse)
        else:
            model.graph.node.append(helper.make_node("Constant", [], ["unused"], sparse_value=sparse))
    elif place == "function":
        node = helper.make_node("Constant", [], ["out"], value=outside)
        model.functions.append(helper.make_function("own", "F", [], ["out"], [node], [helper.make_opsetid("", 17)]))
    return model.SerializeToString()


def _column(name: str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [None])


def _file(graph: onnx.GraphProto, contract: Contract | None, ml: int = 3) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", ml)])
    model.ir_version = 8
    if contract is not None:
        model.metadata_props.add(key="contract", value=json.dumps(contract))
    return model.SerializeToString()
