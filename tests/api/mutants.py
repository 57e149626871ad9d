"""Damaged and hostile model files, and a child process's verdicts about them.

python mutants.py FILE…    prints one JSON line per file: its name, and the refusal's code or its predictions
"""

import json
import random
import sys
from collections.abc import Callable, Iterator
from operator import setitem
from pathlib import Path
from typing import Any

import onnx
from model_files import classification_model, forest_model, regression_model
from onnx import TensorProto, helper
from prediction_api.errors import ModelRefused
from prediction_api.models.predictor import Predictor

Change = Callable[[onnx.ModelProto], None]


def damaged(content: bytes, count: int, seed: int = 7) -> Iterator[bytes]:
    """Copies of the file, each with another damage: bits, bytes, a cut, an insertion, a repetition, a run of zeros."""
    chance = random.Random(seed)
    for number in range(count):
        bad = bytearray(content)
        place = chance.randrange(len(bad))
        end = min(len(bad), place + chance.randrange(1, 80))
        match number % 6:
            case 0:
                bad[place] ^= 1 << chance.randrange(8)
            case 1:
                for _ in range(chance.randrange(2, 20)):
                    bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
            case 2:
                del bad[place:]
            case 3:
                bad[place:place] = chance.randbytes(chance.randrange(1, 9))
            case 4:
                bad[place:place] = content[place:end]
            case _:
                bad[place:end] = bytes(end - place)
        yield bytes(bad) if bad != content else bytes(bad[:-1])


def tree_model(change: Change = lambda _: None) -> bytes:
    """A stump: quality 5 up to 8 of fixed acidity, 7 above; `change` spoils it."""
    model = onnx.load_model_from_string(regression_model())
    stump = helper.make_node(
        "TreeEnsembleRegressor", ["lines"], ["scores"], domain="ai.onnx.ml", n_targets=1, post_transform="NONE",
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0], nodes_values=[8.0, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        nodes_hitrates=[1.0, 1.0, 1.0], nodes_missing_value_tracks_true=[0, 0, 0],
        target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[5.0, 7.0],
    )  # fmt: skip
    del model.graph.node[:]
    lines = helper.make_node("Reshape", ["fixed_acidity", "shape"], ["lines"])
    model.graph.node.extend([lines, stump, helper.make_node("Identity", ["scores"], ["variable"])])
    model.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [2], [-1, 1]))
    contract = json.loads(model.metadata_props[0].value)
    contract["golden"]["predictions"] = [5.0, 5.0]
    model.metadata_props[0].value = json.dumps(contract)
    change(model)
    return model.SerializeToString()


def _first(name: str, value: Any) -> Change:
    """Puts another value first in a list of the stump's; None leaves nothing but the first."""

    def change(model: onnx.ModelProto) -> None:
        attribute = next(one for one in model.graph.node[1].attribute if one.name == name)
        values = attribute.floats or attribute.ints
        if value is None:
            del values[1:]
        else:
            values[0] = value

    return change


def targets(count: int) -> Change:
    return lambda model: setattr(model.graph.node[1].attribute[0], "i", count)


def _last(kind: str, constant: list[int], **attributes: Any) -> Change:
    """Puts an operator between the scores and the output."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(helper.make_tensor("given", TensorProto.INT64, [len(constant)], constant))
        inputs = ["given"] if kind == "ConstantOfShape" else ["scores", "given"]
        model.graph.node[2].CopyFrom(helper.make_node(kind, inputs, ["variable"], **attributes))

    return change


def _dimension(size: int) -> Change:
    return lambda model: setitem(model.graph.initializer[-1].dims, 0, size)


HOSTILE: dict[str, Change] = {
    "a branch to a node that is not there": _first("nodes_truenodeids", 10**9),
    "a branch to itself": _first("nodes_truenodeids", 0),
    "a feature beyond the row": _first("nodes_featureids", 10**9),
    "a feature before the row": _first("nodes_featureids", -(10**9)),
    "a target that is not there": _first("target_ids", 10**9),
    "a target below zero": _first("target_ids", -(10**6)),
    "a trillion targets": targets(2**40),
    "too few thresholds": _first("nodes_values", None),
    "too few weights": _first("target_weights", None),
    "another leaf": _first("target_weights", 5.1),
    "another threshold": _first("nodes_values", 1.0),
    "a tensor larger than memory": _last("ConstantOfShape", [2**45]),
    "repeated more often than memory holds": _last("Tile", [2**40, 2**10]),
    "an index beyond the tensor": _last("Gather", [10**15]),
    "a tensor larger than its bytes": _dimension(2**40),
    "a tensor of less than nothing": _dimension(-3),
    "a graph that bites its tail": lambda model: setitem(model.graph.node[0].input, 0, "variable"),
}


def verdicts(paths: list[Path]) -> Iterator[dict[str, Any]]:
    for path in paths:
        try:
            predictor = Predictor.from_bytes(path.read_bytes())
            golden = Predictor.from_bytes(_sound(path)).contract.golden
            rows = [list(row.values()) for row in golden.rows]
            yield {"name": path.name, "predictions": [one.value for one in predictor.predict(rows)]}
        except ModelRefused as refused:
            yield {"name": path.name, "refused": refused.code(), "detail": refused.detail}


def _sound(path: Path) -> bytes:
    if path.name.startswith("forest"):
        return forest_model(3)
    return regression_model() if path.name.startswith("regression") else classification_model()


if __name__ == "__main__":
    for verdict in verdicts([Path(name) for name in sys.argv[1:]]):
        print(json.dumps(verdict), flush=True)
