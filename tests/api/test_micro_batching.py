"""Rows that arrive together share a call of the graph, and nothing else."""

import asyncio
from collections.abc import Sequence
from typing import Any

import onnx
import pytest
from conftest import run
from hypothesis import given
from hypothesis import strategies as st
from model_files import overflowing_model, regression_contract, regression_model
from onnx import helper
from prediction_api.errors import GoldenMismatch, PredictionFailed
from prediction_api.models.predictor import Prediction, Predictor, Row
from prediction_api.predicting.micro_batching import MOST_ROWS, MicroBatcher

MODEL = Predictor.from_bytes(regression_model())
ROWS = st.lists(
    st.tuples(
        st.floats(-1e6, 1e6, width=32), st.none() | st.floats(-1e6, 1e6, width=32), st.sampled_from(["red", None])
    ),
    min_size=1,
    max_size=20,
)


class Counted(Predictor):
    """The model, with the number of rows in each call."""

    def __init__(self) -> None:
        self.contract = MODEL.contract
        self.calls: list[int] = []

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        self.calls.append(len(rows))
        return MODEL.predict(rows)


def ask(*asked: tuple[Predictor, Row]) -> list[Any]:
    """The answers, or the errors, to what several tasks ask in the same turn of a loop."""

    async def story() -> list[Any]:
        batchers = {predictor: MicroBatcher(predictor) for predictor, _ in asked}

        async def one(predictor: Predictor, row: Row) -> Prediction:
            return await batchers[predictor].predict(row)

        return await asyncio.wait_for(asyncio.gather(*[one(*each) for each in asked], return_exceptions=True), 60)

    return run(story())


@given(ROWS)
def test_each_row_gets_what_it_would_get_alone(rows: list[Row]) -> None:
    predictor = Counted()
    assert ask(*[(predictor, row) for row in rows]) == [MODEL.predict([row])[0] for row in rows]
    assert predictor.calls == [len(rows)]


def calls_for(turns: Sequence[int]) -> list[int]:
    """The rows of each call where one row comes in each of these turns of the loop."""

    async def story(predictor: Predictor) -> None:
        batcher = MicroBatcher(predictor)

        async def one(turn: int) -> None:
            for _ in range(turn):
                await asyncio.sleep(0)
            await batcher.predict([8.0, 9.0, "red"])

        await asyncio.wait_for(asyncio.gather(*map(one, turns)), 60)

    predictor = Counted()
    run(story(predictor))
    return predictor.calls


def test_rows_of_neighbouring_turns_share_a_call_and_nobody_waits_longer() -> None:
    assert calls_for([0, 1, 2, 3]) == [4]
    assert calls_for([0, 9]) == [1, 1]


def test_a_stream_that_never_stops_keeps_nobody_waiting() -> None:
    assert calls_for(range(3 * MOST_ROWS)) == [MOST_ROWS] * 3


def test_a_swap_among_them_gives_each_the_model_that_it_asked() -> None:
    new = Predictor.from_bytes(regression_model(2.0, regression_contract(2.0)))
    answers = ask((MODEL, [8.0, 9.0, "red"]), (new, [8.0, 9.0, "red"]), (MODEL, [6.0, 9.0, "red"]))
    assert [one.value for one in answers] == [13.0, 25.0, 12.0]


def test_one_rows_failure_is_its_own() -> None:
    steep = Predictor.from_bytes(overflowing_model())
    first, failed, last = ask(*[(steep, [acid, 9.0, "red"]) for acid in (0.0, 1e10, 0.0)])
    assert (first.value, last.value) == (9.0, 9.0)
    assert isinstance(failed, PredictionFailed)


def test_who_was_cancelled_keeps_nobody_else_waiting() -> None:
    async def story() -> Prediction:
        batcher = MicroBatcher(MODEL)
        batcher.predict([8.0, 9.0, "red"]).cancel()
        return await asyncio.wait_for(batcher.predict([8.0, 9.0, "red"]), 60)

    assert run(story()).value == 13.0


def test_a_model_whose_rows_depend_on_each_other_is_refused() -> None:
    contract = regression_contract()
    contract["golden"]["predictions"] = [12.0, 12.0]  # as the changed graph gives for both rows together
    model = onnx.load_model_from_string(regression_model(contract=contract))
    product = next(node for node in model.graph.node if node.op_type == "Mul")
    product.input[0] = "least_acid"
    model.graph.node.insert(0, helper.make_node("ReduceMin", ["fixed_acidity"], ["least_acid"], keepdims=1))
    with pytest.raises(GoldenMismatch, match=r"row 0 depends on .* with the others 12\.0, alone 14\.0"):
        Predictor.from_bytes(model.SerializeToString())
