"""The one way from rows to predictions: every protocol reads rows, calls this, and shapes the answer."""

from collections.abc import Sequence

from prediction_api.models.predictor import Prediction, Row
from prediction_api.models.store import LiveModel
from prediction_api.predicting.micro_batching import Together
from prediction_api.telemetry.identifiers import identifier_maker
from prediction_api.telemetry.metrics import Metrics
from prediction_api.telemetry.prediction_log import PredictionLog


class Serving:
    """Predicts, counts and logs, from several threads at once where it must.

    What is not traffic asks the predictor itself.

    A caller takes one identifier from `new_id` for each answer. The row of a single prediction goes by that
    identifier, row n of a batch by `<identifier>.<n>`, counted from 0.
    """

    def __init__(self, metrics: Metrics, log: PredictionLog) -> None:
        self.new_id = identifier_maker()
        self._metrics = metrics
        self._log = log
        self._together = Together()

    async def one(self, live: LiveModel, row: Row, identifier: str) -> Prediction:
        """The prediction for one row. Raises PredictionFailed."""
        prediction = await self._together.predict(live.predictor, row)
        self._metrics.predictions.add(live.version, live.predictor.contract, (prediction,))
        self._log.predicted(live, identifier, (row,), (prediction,), None)
        return prediction

    def many(self, live: LiveModel, rows: Sequence[Row], identifier: str, first: int = 0) -> list[Prediction]:
        """Predictions in the order of the rows, which are rows `first` and on of the batch. Raises PredictionFailed."""
        predictions = live.predictor.predict(rows)
        self._metrics.predictions.add(live.version, live.predictor.contract, predictions)
        self._log.predicted(live, identifier, rows, predictions, first)
        return predictions
