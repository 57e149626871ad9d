"""Sessions of ONNX Runtime, and forests walked by compiled code, `forest.c`: the same sums, bit for bit, in half of the
time and less, and in a fifth of the memory.

Setup and the image compile it into the environment's `lib`. Where it is not, ONNX Runtime walks forests too, as it does
those that are not as the training job writes a random forest for regression.
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from prediction_api.errors import UnsafeGraph

FEATURE_BITS = 10  # as in forest.c; the other bits number pairs of nodes
_NODE = np.dtype([("split", np.float32), ("way", np.uint32)])
_MEANT = {"n_targets": 1, "post_transform": 0, "aggregate_function": 1}  # one sum, as it is


def open_session(content: bytes) -> Any:
    """An onnxruntime.InferenceSession. Raises UnsafeGraph."""
    # ONNX Runtime since 1.29 sends telemetry to its maker unless this is set before its first import in a process
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one row takes microseconds: more threads only take turns
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised, and told once
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # ONNX Runtime's errors share no public base class
        raise UnsafeGraph(f"ONNX Runtime cannot load the graph: {str(error)[:200]}") from None


class ForestSession:
    """What a Predictor asks of an onnxruntime.InferenceSession. ONNX Runtime prepares the features."""

    def __init__(self, library: Any, features: Any, nodes: NDArray[np.void], trees: int, output: Any) -> None:
        self._add_leaves = library.add_leaves
        self._features = features
        self._nodes, self._first = nodes, nodes.ctypes.data
        self._trees = trees
        self._last_feature = int((nodes["way"] & (1 << FEATURE_BITS) - 1).max())
        self._output = output

    def run(self, _outputs: Sequence[str], feed: dict[str, Any]) -> list[NDArray[np.float32]]:
        """The predictions, (rows,). Raises ValueError where the forest has features that the graph does not prepare."""
        [rows] = self._features.run(None, feed)
        count, features = rows.shape
        if features <= self._last_feature:
            raise ValueError(f"the forest uses feature {self._last_feature} of {features}, counted from 0")
        sums = np.zeros(count, np.float32)
        self._add_leaves(self._first, self._trees, rows.ctypes.data, count, features, sums.ctypes.data)
        return [sums]

    def get_inputs(self) -> Any:
        return self._features.get_inputs()

    def get_outputs(self) -> Any:
        return [self._output]


def forest_session(model: onnx.ModelProto) -> ForestSession | None:
    """A session for a graph that ends in a forest, which it takes out of `model`; None where ONNX Runtime must walk."""
    library, graph = _library(), model.graph
    last = graph.node[-1] if graph.node else onnx.NodeProto()
    outputs = [output.name for output in graph.output]
    if library is None or last.op_type != "TreeEnsemble" or list(last.output) != outputs:
        return None
    try:
        nodes, trees = _laid_out(last)
        output, features = onnx.ValueInfoProto(), last.input[0]
        output.CopyFrom(graph.output.pop())  # the popped one would keep the whole file in memory
        graph.node.pop()
        graph.output.append(helper.make_tensor_value_info(features, onnx.TensorProto.FLOAT, [None, None]))
        return ForestSession(library, open_session(model.SerializeToString()), nodes, trees, output)
    except (AttributeError, KeyError, ValueError, IndexError, TypeError, OverflowError, UnsafeGraph):
        return None  # ONNX Runtime says what is wrong with it, if it is


@cache
def _library() -> Any:
    """The compiled code; None where the installation did not compile it."""
    try:
        library = ctypes.CDLL(str(Path(sys.prefix) / "lib" / "prediction_api_forest.so"))
    except OSError:
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.add_leaves.argtypes = [pointer, number, pointer, number, number, pointer]
    library.add_leaves.restype = None
    return library


def _laid_out(ensemble: onnx.NodeProto) -> tuple[NDArray[np.void], int]:
    """The nodes of a `TreeEnsemble` (ai.onnx.ml 5), the roots first and siblings side by side; the number of trees.

    Raises ValueError or KeyError for an ensemble that is not a sum of trees whose every branch asks `value <= split`.
    """
    given = {one.name: _value(one) for one in ensemble.attribute}
    splits, weights = given["nodes_splits"], given["leaf_weights"]
    others = given["nodes_modes"].any() or given["leaf_targetids"].any()
    tracked = np.any(given.get("nodes_missing_value_tracks_true", 0))
    changed = any(given.get(name, meant) != meant for name, meant in _MEANT.items())
    if others or tracked or changed or {splits.dtype, weights.dtype} != {np.dtype(np.float32)}:
        raise ValueError("another kind of ensemble")
    roots, features = given["tree_roots"], given["nodes_featureids"]
    branches, trees = len(splits), len(roots)
    first, second = (
        given[f"nodes_{side}nodeids"] + branches * given[f"nodes_{side}leafs"] for side in ("true", "false")
    )
    if not (branches,) == splits.shape == first.shape == second.shape == features.shape:
        raise ValueError("not as many of each for every branch")
    # A walk never leaves the nodes nor returns to one, because each is a root or the child of one branch.
    if not np.array_equal(np.sort(np.concatenate([roots, first, second])), np.arange(branches + len(weights))):
        raise ValueError("not trees")
    pairs = (trees + 1) // 2 + np.arange(branches)
    if pairs[-1] >> 32 - FEATURE_BITS or features.min() < 0 or features.max() >> FEATURE_BITS:
        raise ValueError("too many nodes or features")
    places = np.empty(branches + len(weights), np.int64)
    places[roots], places[first], places[second] = np.arange(trees), 2 * pairs, 2 * pairs + 1
    nodes = np.zeros(2 * (pairs[-1] + 1), _NODE)
    nodes["split"][places] = np.concatenate([splits, weights])
    nodes["way"][places[:branches]] = pairs << FEATURE_BITS | features
    return nodes, trees


def _value(attribute: onnx.AttributeProto) -> Any:
    """As an array where there are many, without a list of Python's numbers first: that takes three times as long."""
    if attribute.type == onnx.AttributeProto.INTS:
        return np.fromiter(attribute.ints, np.int64, len(attribute.ints))
    if attribute.type == onnx.AttributeProto.TENSOR:
        return numpy_helper.to_array(attribute.t)
    return helper.get_attribute_value(attribute)
