"""Single rows that arrive at the same time share a call of the graph.

A call of the graph has a price of its own, and a forest's nodes are fetched from memory faster for several rows at a
time; so the requests of neighbouring turns of the event loop share a call. It comes with the first turn that brings no
further row, which takes microseconds and not a timer: a row on its own is not kept waiting for company.
"""

import asyncio
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from prediction_api.models.predictor import Prediction, Predictor, Row

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
    waiting = [one for one in asked if not one.answer.done()]  # the others were cancelled
    try:
        predictions = predictor.predict([one.row for one in waiting])
    except Exception as error:  # noqa: BLE001  # whatever it is belongs to those who asked; else they would wait for ever
        for one in waiting:
            if len(waiting) == 1:
                one.answer.set_exception(error)
            else:  # one row's failure is not the others'
                _answer_all(predictor, [one])
        return
    for one, prediction in zip(waiting, predictions, strict=True):
        one.answer.set_result(prediction)
