"""What moved one prediction: each feature in turn replaced by what is typical of training, all rows in one batch.

This is one-at-a-time ablation against a baseline row: simple to say and cheap, and not additive. Where features act
together, the changes do not add up to the distance from the typical prediction.
"""

from dataclasses import dataclass

from prediction_api.models.contract import Value
from prediction_api.models.predictor import Prediction, Predictor, Row, seven_digits


@dataclass(frozen=True, slots=True)
class Contribution:
    """`change`: the prediction, or the predicted label's probability, with the value less that with the typical one."""

    feature: str
    value: Value
    typical: Value
    prediction_without: float | str
    change: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Contributions with the largest change first; `typical_prediction` is for a row of typical values throughout."""

    prediction: float | str
    typical_prediction: float | str
    contributions: list[Contribution]


def explain(predictor: Predictor, row: Row) -> Explanation:
    """The contribution of every feature that has a typical value, its example. Raises PredictionFailed."""
    features = predictor.contract.features
    usual = {place: feature.example for place, feature in enumerate(features) if feature.example is not None}
    without = [[*row[:place], value, *row[place + 1 :]] for place, value in usual.items()]
    whole = [usual.get(place, value) for place, value in enumerate(row)]
    predicted, *replaced, typically = predictor.predict([row, *without, whole])
    contributions = [
        Contribution(features[place].name, row[place], value, other.value, _change(predicted, other))
        for (place, value), other in zip(usual.items(), replaced, strict=True)
    ]
    contributions.sort(key=lambda one: -abs(one.change))
    return Explanation(predicted.value, typically.value, contributions)


def _change(predicted: Prediction, without: Prediction) -> float:
    if predicted.probabilities is None or without.probabilities is None:
        return seven_digits(float(predicted.value) - float(without.value))
    label = str(predicted.value)
    return seven_digits(predicted.probabilities[label] - without.probabilities[label])
