"""A model ready to predict: an ONNX graph checked against the contract inside it. Knows no HTTP and no registry."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from pydantic import ValidationError

from prediction_api.errors import GoldenMismatch, PredictionFailed, UnsafeGraph, WrongContract, complaints_of
from prediction_api.models.contract import CategoryFeature, Contract, DateFeature, Value
from prediction_api.models.sessions import forest_session, open_session

Row = Sequence[Value]
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}


@dataclass(frozen=True, slots=True)
class Prediction:
    """A number for regression; a label with a probability per label for classification."""

    value: float | str
    probabilities: dict[str, float] | None = None


class Predictor:
    """Predicts rows given as values in the order of the contract's features."""

    def __init__(self, contract: Contract, session: Any) -> None:
        self.contract = contract
        self._session = session
        places = list(enumerate(contract.features))
        self._categories = {place: one.input for place, one in places if isinstance(one, CategoryFeature)}
        self._dates = {place: one for place, one in places if isinstance(one, DateFeature)}
        others = self._categories.keys() | self._dates.keys()
        self._numbers = {place: one.input for place, one in places if place not in others}
        self._outputs = ["variable"] if contract.task == "regression" else ["label", "probabilities"]

    @classmethod
    def from_bytes(cls, content: bytes) -> "Predictor":
        """Loads one self-contained ONNX file.

        Raises UnsafeGraph, WrongContract or GoldenMismatch; what is returned has given the golden predictions.
        """
        model = _read_model(content)
        contract = _read_contract(model)
        session = forest_session(model)
        del model  # as large as the file
        predictor = cls(contract, session or open_session(content))
        predictor._match_graph()
        predictor._replay_golden_rows()
        return predictor

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        """One prediction per row, in order, from one call of the graph.

        Raises PredictionFailed when the graph fails, or gives a value that is not finite or another number of them.
        """
        return self._predict(self._feed(rows), len(rows))

    def _predict(self, feed: dict[str, Any], rows: int) -> list[Prediction]:
        try:
            outputs = self._session.run(self._outputs, feed)
        except Exception as error:  # ONNX Runtime's errors share no public base class
            raise PredictionFailed(f"ONNX Runtime failed: {str(error)[:200]}") from error
        numbers = outputs[-1]
        if not all(map(math.isfinite, numbers.ravel().tolist())):  # for one row much cheaper than numpy.isfinite
            raise PredictionFailed("the model's output is not a finite number")
        if self.contract.task == "regression":
            predictions = [Prediction(seven_digits(value)) for value in numbers.ravel().tolist()]
        else:
            labels, known = outputs[0].ravel().tolist(), self.contract.labels
            predictions = [
                Prediction(str(label), dict(zip(known, map(seven_digits, shares), strict=True)))
                for label, shares in zip(labels, numbers.tolist(), strict=True)
            ]
        if len(predictions) != rows:
            raise PredictionFailed(f"the model returned {len(predictions)} predictions for {rows} rows")
        return predictions

    def _feed(self, rows: Sequence[Row]) -> dict[str, Any]:
        """One (rows,) array per input; a missing number, boolean or date is NaN, a missing category the empty text."""
        # one array for all numbers, then a view of it per column: for one row half the time of an array per column
        numbers = np.array([[row[position] for row in rows] for position in self._numbers], dtype=np.float32)
        feed: dict[str, Any] = dict(zip(self._numbers.values(), numbers, strict=True))
        for position, name in self._categories.items():
            texts = ["" if row[position] is None else row[position] for row in rows]
            feed[name] = np.array(texts, dtype=object)
        for position, date in self._dates.items():
            columns = np.array([date.numbers(row[position]) for row in rows], np.float32).T
            feed |= zip(date.inputs, columns, strict=True)
        return feed

    def _match_graph(self) -> None:
        described = {
            name: "tensor(string)" if isinstance(feature, CategoryFeature) else "tensor(float)"
            for feature in self.contract.features
            for name in feature.inputs
        }
        found = {node.name: node.type for node in self._session.get_inputs()}
        if found != described:
            raise WrongContract(f"the graph's inputs are {found}, the contract's are {described}")
        missing = set(self._outputs) - {node.name for node in self._session.get_outputs()}
        if missing:
            raise WrongContract(f"the graph has no output {', '.join(sorted(missing))}")

    def _replay_golden_rows(self) -> None:
        golden, feed = self.contract.golden, dict[str, Any]()
        try:
            for name in golden.rows[0]:
                values = [row[name] for row in golden.rows]
                is_text = name in self._categories.values()
                feed[name] = (
                    np.array([one or "" for one in values], object) if is_text else np.array(values, np.float32)
                )
            predictions = self._predict(feed, len(golden.rows))
        except (PredictionFailed, ValueError, TypeError) as error:  # ValueError: outputs of another shape, a wrong type
            raise GoldenMismatch(f"the golden rows cannot be predicted: {error}") from error
        for number, (got, expected) in enumerate(zip(predictions, golden.predictions, strict=True)):
            if not _same(got.value, expected, golden.tolerance):
                raise GoldenMismatch(f"golden row {number}: training gave {expected!r}, this graph gives {got.value!r}")
            [alone] = self._predict({name: values[number : number + 1] for name, values in feed.items()}, 1)
            if not _same(alone.value, got.value, golden.tolerance):  # one client's row would change another's answer
                others = f"with the others {got.value!r}, alone {alone.value!r}"
                raise GoldenMismatch(f"golden row {number} depends on the other rows in the same call: {others}")
        for number, shares in enumerate(golden.probabilities or []):
            given = list((predictions[number].probabilities or {}).values())
            if len(given) != len(shares) or not np.allclose(given, shares, rtol=0, atol=golden.tolerance):
                raise GoldenMismatch(f"golden row {number}: training gave probabilities {shares}, this graph {given}")


def seven_digits(value: float) -> float:
    """The number to seven significant digits: all that float32 holds, without the tail that float64 would show."""
    return float(f"{value:.7g}")


def _same(got: float | str, expected: float | str, tolerance: float) -> bool:
    if isinstance(got, str) or isinstance(expected, str):
        return got == expected
    return math.isclose(got, expected, rel_tol=1e-6, abs_tol=tolerance)  # seven digits are what got holds


def _read_model(content: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise UnsafeGraph(f"not an ONNX file: {str(error)[:200]}") from None
    _refuse_what_no_export_holds(model)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise UnsafeGraph("the graph keeps tensors in other files")
    return model


def _read_contract(model: onnx.ModelProto) -> Contract:
    text = next((entry.value for entry in model.metadata_props if entry.key == "contract"), None)
    if text is None:
        raise WrongContract("the file's metadata has no entry 'contract'")
    try:
        return Contract.model_validate_json(text)
    except ValidationError as error:
        raise WrongContract(f"{complaints_of(error, ('contract',))[0]} ({error.error_count()} in all)") from None


def _refuse_what_no_export_holds(model: onnx.ModelProto) -> None:
    """Loops may never end, and operators of other makers are code that nobody here knows."""
    nodes = list(model.graph.node)
    if strange := sorted({node.domain for node in nodes} - _DOMAINS):
        raise UnsafeGraph(f"the graph uses operators of {strange[0][:40]!r}; only {sorted(_DOMAINS)} are known")
    if inner := next((node.op_type for node in nodes for one in node.attribute if one.graphs or one.HasField("g")), ""):
        raise UnsafeGraph(f"the graph contains another graph, in {inner[:40]!r}: loops and branches are not allowed")
    if model.functions or model.training_info:
        raise UnsafeGraph("the file contains functions or training graphs")


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a file that holds one graph and nothing else."""
    yield from model.graph.initializer
    sparse = list(model.graph.sparse_initializer)
    for node in model.graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            sparse += (attribute.sparse_tensor, *attribute.sparse_tensors)
    for one in sparse:
        yield from (one.values, one.indices)
