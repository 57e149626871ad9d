"""The figures of an evaluation, against their definitions."""

from __future__ import annotations

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.evaluation.measures import (
    auroc,
    calibration_error,
    contains,
    estimate,
    exact,
    f1,
    fit_logistic,
    mean,
    reliability,
    share,
)

Rows = list[tuple[float, bool]]


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.booleans()), max_size=30))
def test_auroc_is_the_chance_that_a_positive_is_higher(rows: Rows) -> None:
    scores, labels = numpy.array([row[0] for row in rows]), numpy.array([float(row[1]) for row in rows])
    pairs = [(one > other) + 0.5 * (one == other) for one, yes in rows if yes for other, too in rows if not too]

    if pairs:
        assert auroc(scores, labels) == pytest.approx(sum(pairs) / len(pairs))
    else:
        assert math.isnan(auroc(scores, labels))


def test_what_is_said_and_what_is_so_are_compared_bin_by_bin() -> None:
    sure, so = numpy.array([0.05, 0.05, 0.95, 1.0]), numpy.array([0.0, 1.0, 1.0, 1.0])

    low, high = reliability(sure, so)

    assert (low.low, low.high, low.count, low.said, low.true) == (0.0, 0.1, 2, 0.05, 0.5)
    assert (high.low, high.count, high.true) == (0.9, 2, 1.0)
    assert calibration_error(sure, so) == pytest.approx((2 * 0.45 + 2 * 0.025) / 4)


def test_an_interval_holds_the_figure_and_narrows_with_more_questions() -> None:
    few, many = (estimate([numpy.tile([1.0, 0.0], count)], mean, 7) for count in (10, 1000))

    assert few is not None
    assert many is not None
    assert few.low < few.value == 0.5 < few.high
    assert many.high - many.low < (few.high - few.low) / 5
    assert few == estimate([numpy.tile([1.0, 0.0], 10)], mean, 7)
    assert estimate([numpy.array([])], mean, 7) is None


def test_a_share_of_nothing_is_no_figure() -> None:
    assert share(numpy.array([1.0, 0.0]), numpy.array([1.0, 1.0])) == 0.5
    assert math.isnan(share(numpy.array([1.0]), numpy.array([0.0])))


def test_the_fit_finds_the_weights_that_made_the_labels() -> None:
    source = numpy.random.default_rng(7)
    features = source.normal(5, 2, (20_000, 2))
    chances = 1 / (1 + numpy.exp(-(1 + features @ [0.8, -0.9])))

    fitted = fit_logistic(features, (source.random(20_000) < chances).astype(float))

    assert fitted == pytest.approx([1, 0.8, -0.9], abs=0.15)


def test_the_fit_ends_where_the_classes_part_cleanly_and_where_a_feature_never_changes() -> None:
    fitted = fit_logistic(numpy.array([[0.0, 3.0], [1.0, 3.0]] * 20), numpy.array([0.0, 1.0] * 20))

    assert all(abs(weight) < 100 for weight in fitted)
    assert fitted[1] > 1


@pytest.mark.parametrize(
    ("answer", "is_exact", "is_in", "score"),
    [
        ("The 150 Milligrams!", True, True, 1.0),
        ("It may hold 150 milligrams.", False, True, 4 / 7),
        ("1500 milligrams", False, False, 0.5),
        ("", False, False, 0.0),
    ],
)
def test_answers_are_compared_as_squad_does(answer: str, is_exact: bool, is_in: bool, score: float) -> None:
    wanted = ["150 milligrams"]

    assert (exact(answer, wanted), contains(answer, wanted)) == (is_exact, is_in)
    assert f1(answer, wanted) == pytest.approx(score)
