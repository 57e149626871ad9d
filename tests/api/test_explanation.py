"""What moved a prediction, for any row that the model takes."""

import asyncio
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from model_files import classification_contract, classification_model, regression_model
from prediction_api.models.predictor import Predictor
from prediction_api.predicting.explanation import explain
from prediction_api.protocols import native

WINE = Predictor.from_bytes(regression_model())  # 0.5 * fixed acidity + alcohol (10 if missing) + (1 if white)
TYPICAL = [7.0, 10.3, "white"]  # the examples
TUMOUR = Predictor.from_bytes(
    classification_model(
        classification_contract()
        | {"features": [{"name": "size", "input": "size", "type": "number", "example": -1.0, "nullable": False}]}
    )
)
acidities = st.floats(0, 100, width=32)
alcohols = st.none() | st.floats(0, 100, width=32)
types = st.sampled_from(["red", "white", None])
rows = st.tuples(acidities, alcohols, types).map(list)


@given(rows)
def test_each_change_is_what_two_predictions_say_and_the_largest_comes_first(row: list[Any]) -> None:
    found = explain(WINE, row)
    assert found.prediction == WINE.predict([row])[0].value
    assert found.typical_prediction == WINE.predict([TYPICAL])[0].value
    names = [feature.name for feature in WINE.contract.features]
    assert sorted(one.feature for one in found.contributions) == sorted(names)
    for one in found.contributions:
        place = names.index(one.feature)
        replaced = [*row[:place], TYPICAL[place], *row[place + 1 :]]
        assert (one.value, one.typical) == (row[place], TYPICAL[place])
        assert one.prediction_without == WINE.predict([replaced])[0].value
        assert one.change == pytest.approx(float(found.prediction) - float(one.prediction_without), rel=1e-6, abs=1e-6)
    sizes = [abs(one.change) for one in found.contributions]
    assert sizes == sorted(sizes, reverse=True)
    # the model is additive: its changes add up to the way from the typical row
    way = float(found.prediction) - float(found.typical_prediction)
    assert sum(one.change for one in found.contributions) == pytest.approx(way, abs=1e-3)


@given(st.floats(-20, 20, width=32))
def test_for_classes_the_change_is_of_the_predicted_labels_probability(size: float) -> None:
    found = explain(TUMOUR, [size])
    [one] = found.contributions
    with_it, without = TUMOUR.predict([[size], [-1.0]])
    assert with_it.probabilities is not None
    assert without.probabilities is not None
    label = str(found.prediction)
    assert label == max(with_it.probabilities, key=lambda name: with_it.probabilities[name])
    assert one.change == pytest.approx(with_it.probabilities[label] - without.probabilities[label], abs=1e-6)
    assert found.typical_prediction == one.prediction_without == "benign"


def test_a_feature_without_a_typical_value_is_left_as_it_is() -> None:
    contract = classification_contract()
    contract["features"][0] |= {"example": None}
    found = explain(Predictor.from_bytes(classification_model(contract)), [2.0])
    assert (found.contributions, found.prediction, found.typical_prediction) == ([], "malign", "malign")


def test_explain_answers_in_the_names_of_the_csv_and_counts_no_prediction(client: TestClient) -> None:
    body = client.post("/explain", json={"fixed_acidity": 8, "alcohol": None, "type": "red"}).json()
    assert body == {
        "prediction": 14.0,
        "typical_prediction": 14.8,
        "contributions": [
            {"feature": "type", "value": "red", "typical": "white", "prediction_without": 15.0, "change": -1.0},
            {"feature": "fixed acidity", "value": 8.0, "typical": 7.0, "prediction_without": 13.5, "change": 0.5},
            {"feature": "alcohol", "value": None, "typical": 10.3, "prediction_without": 14.3, "change": -0.3},
        ],
        "model": {"name": "wine-quality", "version": "1"},
    }
    assert "api_predictions_total{" not in client.get("/metrics").text


def test_explain_keeps_nobody_else_waiting(shared: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[object] = []

    def noting(*arguments: Any) -> Any:
        loops.append(asyncio._get_running_loop())  # None in a thread of its own
        return explain(*arguments)

    monkeypatch.setattr(native, "explain", noting)
    assert shared.post("/explain", json={"fixed_acidity": 8, "alcohol": None, "type": "red"}).status_code == 200
    assert loops == [None]


def test_explain_refuses_what_predict_refuses(shared: TestClient) -> None:
    explained, predicted = (shared.post(path, json={"alcohol": "x"}).json() for path in ("/explain", "/predict"))
    assert explained["errors"] == predicted["errors"]
