"""Single rows that arrive at the same time share a call of the graph.

A call has a fixed cost, and the nodes of a forest are read from memory faster for several rows at a time. So the
requests of neighbouring turns of the event loop share a call, which starts with the first turn that brings no further
row. That takes microseconds and needs no timer: a single row does not wait for others.
"""

import asyncio

from prediction_api.models.predictor import Prediction, Predictor, Row

MOST_ROWS = 16  # of one call: beyond 8, a row in company costs no less, and more rows keep the first ones waiting
_Asked = tuple[Row, "asyncio.Future[Prediction]"]


class MicroBatcher:
    """Predicts on the event loop; of one loop only."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._asked: list[_Asked] = []

    def predict(self, row: Row) -> "asyncio.Future[Prediction]":
        """The prediction that this row alone would give. Raises PredictionFailed when it is awaited."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._answer_unless_more_come, 0)
        answer: asyncio.Future[Prediction] = loop.create_future()
        self._asked.append((row, answer))
        return answer

    def _answer_unless_more_come(self, before: int) -> None:
        """Called once a turn of the loop; `before` is how many rows had come when the last one ended."""
        now = len(self._asked)
        if before < now < MOST_ROWS:
            asyncio.get_running_loop().call_soon(self._answer_unless_more_come, now)
            return
        asked, self._asked = self._asked, []
        self._answer(asked)

    def _answer(self, asked: list[_Asked]) -> None:
        waiting = [one for one in asked if not one[1].done()]  # the others were cancelled
        try:
            predictions = self._predictor.predict([row for row, _ in waiting])
        except Exception as error:  # noqa: BLE001  # it belongs to those who asked; else they would wait for ever
            for row, answer in waiting:
                if len(waiting) == 1:
                    answer.set_exception(error)
                else:  # one row's failure is not the others'
                    self._answer([(row, answer)])
            return
        for (_, answer), prediction in zip(waiting, predictions, strict=True):
            answer.set_result(prediction)
