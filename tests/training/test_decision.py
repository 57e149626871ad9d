"""From which probability a label is served: right for a cost, and held to a precision on rows that come later."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from training.config import Config, Threshold
from training.errors import DataError
from training.evaluation import metrics
from training.fit import decision

LABELS = ["no", "yes"]


def drawn(seed: int, rows: int = 1000) -> tuple[Any, Any]:
    """True probabilities of two labels, and labels drawn by them."""
    generator = np.random.default_rng(seed)
    yes = generator.beta(0.5, 2, rows)
    return np.column_stack([1 - yes, yes]), (generator.random(rows) < yes).astype(int)


def asked(**goal: Any) -> Threshold:
    return Threshold.model_validate({"label": "yes", **goal})


def test_without_a_wish_the_likeliest_label_is_served() -> None:
    held, actual = drawn(1)
    chosen = decision.choose(None, LABELS, held, actual, None)
    assert chosen.threshold is None
    assert (chosen(held) == held.argmax(axis=1)).all()


@pytest.mark.parametrize("label", LABELS)
def test_the_threshold_of_a_cost_costs_less_on_later_rows(label: str) -> None:
    held, actual = drawn(1)
    goal = Threshold.model_validate({"label": label, "cost": {"false_negative": 5, "false_positive": 1}})
    chosen = decision.choose(goal, LABELS, held, actual, None)
    assert chosen.threshold is not None
    assert chosen.threshold["label"] == label
    assert chosen.threshold["value"] == pytest.approx(1 / 6, abs=0.05)
    later, truth = drawn(2, 20_000)
    index = LABELS.index(label)

    def cost(served: Any) -> float:
        return float(np.where(truth == index, 5.0 * (served != index), 1.0 * (served == index)).mean())

    assert cost(chosen(later)) < 0.9 * cost(later.argmax(axis=1))
    assert (chosen(later) == index).tolist() == (later[:, index] >= chosen.threshold["value"]).tolist()


def test_probabilities_that_are_off_move_the_threshold_of_a_cost() -> None:
    held, actual = drawn(1, 4000)
    off = np.column_stack([1 - held[:, 1] / 3, held[:, 1] / 3])
    chosen = decision.choose(asked(cost={"false_negative": 1, "false_positive": 1}), LABELS, off, actual, None)
    assert chosen.threshold is not None
    assert chosen.threshold["value"] < 0.25


def test_a_precision_holds_on_later_rows() -> None:
    later, truth = drawn(99, 50_000)
    found, recalls = [], []
    for seed in range(40):
        chosen = decision.choose(asked(precision=0.7), LABELS, *drawn(seed), None)
        served = chosen(later) == 1
        found.append((truth[served] == 1).mean())
        recalls.append(served[truth == 1].mean())
    assert np.mean(found) == pytest.approx(0.7, abs=0.03)
    assert np.mean(recalls) > 0.1


def test_a_precision_that_is_not_to_be_had_is_refused() -> None:
    generator = np.random.default_rng(1)
    noise = generator.random(300)
    with pytest.raises(DataError, match=r"no threshold has a precision of 0\.99 for 'yes' on the 300 calibration rows"):
        decision.choose(asked(precision=0.99), LABELS, np.column_stack([1 - noise, noise]), np.arange(300) % 2, None)


def test_balanced_labels_serve_the_label_that_exceeds_its_share() -> None:
    later, truth = drawn(2, 20_000)
    shares = np.bincount(truth) / len(truth)
    chosen = decision.choose(None, LABELS, *drawn(1), shares)
    balanced, plain = (
        metrics.score("balanced_accuracy", truth, later, served) for served in (chosen(later), later.argmax(axis=1))
    )
    assert balanced > plain + 0.05


def test_what_cannot_be_asked_for_is_refused_before_the_search() -> None:
    with pytest.raises(DataError, match="expected one of 'no', 'yes', found 'maybe'"):
        decision.asked_label(Threshold.model_validate({"label": "maybe", "precision": 0.9}), LABELS)
    with pytest.raises(DataError, match="for two labels, found 3: a, b, c"):
        decision.asked_label(asked(precision=0.9), ["a", "b", "c"])
    with pytest.raises(ValidationError, match="give either cost or precision"):
        asked()
    data = {"source": "t.csv", "target": "y"}
    for sections in ({"search": {"weights": "balanced"}}, {"serving": {"threshold": {"label": "a", "precision": 0.9}}}):
        with pytest.raises(ValidationError, match=r"are for data\.task: classification"):
            Config.model_validate({"name": "x", "data": data, **sections})
