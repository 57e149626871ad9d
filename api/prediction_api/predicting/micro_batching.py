"""From rows to predictions, for every protocol; single rows that arrive at the same time share a call of the graph.

A call of the graph has a price of its own, and a forest's nodes are fetched from memory faster for several rows at a
time; so the requests of neighbouring turns of the event loop share a call. It comes with the first turn that brings no
further row, which takes microseconds and not a timer: a row on its own is not kept waiting for company.
"""

import asyncio
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from prediction_api.models.predictor import Prediction, Predictor, Row
from prediction_api.models.store import LiveModel
from prediction_api.telemetry.metrics import Metrics
from prediction_api.telemetry.prediction_log import PredictionLog, id_maker

MOST_ROWS = 16  # of one call: beyond 8, a row in company costs no less, and more rows keep the first ones waiting


class _Asked(NamedTuple):
    predictor: Predictor
    row: Row
    answer: "asyncio.Future[Prediction]"


class MicroBatcher:
    """Predicts on the event loop; of one loop only."""

    def __init__(self) -> None:
        self._asked: list[_Asked] = []

    def predict(self, predictor: Predictor, row: Row) -> "asyncio.Future[Prediction]":
        """The prediction that this row alone would give. Raises PredictionFailed when it is awaited."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._answer_unless_more_come, 0)
        asked = _Asked(predictor, row, loop.create_future())
        self._asked.append(asked)
        return asked.answer

    def _answer_unless_more_come(self, before: int) -> None:
        """Called once a turn of the loop; `before` is how many rows had come when the last one ended."""
        now = len(self._asked)
        if before < now < MOST_ROWS:
            asyncio.get_running_loop().call_soon(self._answer_unless_more_come, now)
            return
        asked, self._asked = self._asked, []
        for predictor, group in groupby(asked, attrgetter("predictor")):  # a swap may fall between two of them
            _answer_all(predictor, list(group))


def _answer_all(predictor: Predictor, asked: list[_Asked]) -> None:
    try:
        predictions = predictor.predict([one.row for one in asked])
    except Exception as error:  # noqa: BLE001  # whatever it is belongs to those who asked; else they would wait for ever
        if len(asked) == 1:
            _give(asked[0], error)
        else:  # one row's failure is not the others'
            for one in asked:
                _answer_all(predictor, [one])
        return
    for one, prediction in zip(asked, predictions, strict=True):
        _give(one, prediction)


def _give(asked: _Asked, found: Prediction | Exception) -> None:
    if asked.answer.done():  # cancelled: nobody waits any more
        return
    if isinstance(found, Exception):
        asked.answer.set_exception(found)
    else:
        asked.answer.set_result(found)


class Inference:
    """Predicts, counts and logs, from several threads at once where it must; what is no traffic asks the predictor.

    A caller takes one identifier from `new_id` for each answer. The row of a single prediction goes by that
    identifier, row n of a batch by `<identifier>.<n>`, counted from 0.
    """

    def __init__(self, metrics: Metrics, log: PredictionLog) -> None:
        self.new_id = id_maker()
        self._metrics = metrics
        self._log = log
        self._batcher = MicroBatcher()

    async def one(self, live: LiveModel, row: Row, identifier: str) -> Prediction:
        """The prediction for one row. Raises PredictionFailed."""
        prediction = await self._batcher.predict(live.predictor, row)
        self._metrics.predicted(live.name, live.version, live.predictor.contract, (prediction,))
        self._log.predicted(live, identifier, (row,), (prediction,), None)
        return prediction

    def many(self, live: LiveModel, rows: Sequence[Row], identifier: str, first: int = 0) -> list[Prediction]:
        """Predictions in the order of the rows, which are rows `first` and on of the batch. Raises PredictionFailed."""
        predictions = live.predictor.predict(rows)
        self._metrics.predicted(live.name, live.version, live.predictor.contract, predictions)
        self._log.predicted(live, identifier, rows, predictions, first)
        return predictions
