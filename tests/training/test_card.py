"""The card and the pictures: complete, within their page, and readable whatever the table looks like."""

import itertools
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from training.evaluation import diagnostics
from training.evaluation.diagnostics import Held, Measurement, Trial
from training.promotion.promote import with_verdict
from training.reason import Reason
from training.report import card, plots
from training.report.card import Card
from training.tracking.ledger import Entry

Measured = Callable[..., Measurement]
TRIALS = tuple(Trial(i + 1, kind, 0.5 - 0.01 * i) for i, kind in enumerate(["extra_trees", "xgboost"] * 3))


def measured(features: int = 3, labels: int = 0, groups: int = 0, rows: int = 300) -> Measurement:
    """A model that is right up to noise, on a table of random numbers."""
    generator = np.random.default_rng(1)
    names = [f"a rather long name of a column, number {i}" for i in range(features)]
    frame = pd.DataFrame(generator.normal(size=(rows, features)), columns=names)
    held = Held(frame, np.array([]), np.array([f"group {i % groups}" for i in range(rows)]) if groups else None)
    constant: Any = np.array([0.0])
    if labels:
        raw = generator.dirichlet([0.5] * labels, rows)
        actual: Any = raw.argmax(axis=1)
        constant = np.full(labels, 1 / labels)
        predictions = raw, 0.8 * raw + 0.2 / labels
    else:
        actual = frame.iloc[:, 0].to_numpy() + generator.normal(0, 0.1, rows)
        predictions = actual * 0.9, actual * 0.9
    held = Held(held.features, actual, held.groups)
    sample = predictions[1]

    def predict(shuffled: pd.DataFrame) -> Any:
        return np.resize(sample, (len(shuffled), *sample.shape[1:]))

    metric, width = ("log_loss", None) if labels else ("mae", 0.4)
    return diagnostics.measure(metric, held, predictions, width, constant, predict, 1)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "RESAMPLES", 50)


def described(found: Measurement, synthetic: bool = False, **changes: Any) -> Card:
    """The card of a measurement, with a contract that fits it."""
    names, classes = found.importance.names, found.predicted.shape[1] if found.predicted.ndim == 2 else 0
    features = [
        {"name": name, "type": "number", "unit": "g", "low": -3.2, "high": 3.1, "example": 0.1, "nullable": False}
        for name in names
    ]
    terms = {
        "name": "beans",
        "task": "classification" if classes else "regression",
        "target": "y",
        "target_unit": "kg",
        "labels": [f"label {i}" for i in range(classes)],
        "features": features,
        "interval": None if classes else {"coverage": 0.9, "half_width": 0.4},
        "threshold": None,
        "calibration": {"method": "none" if classes else "split conformal", "rows": 77},
        "data": {"source": "t.csv", "digest": f"sha256:{'ab' * 32}", "rows": 900, "synthetic": synthetic},
        "run_id": "0" * 32,
        "trained_at": "2026-01-01T00:00:00Z",
        "code_version": "c0de",
    }
    report = {
        "rows": 1000,
        "rows_without_target": 3,
        "rows_repeated": 97,
        "rows_dropped": 97,
        "rows_used": 900,
        "missing": {},
        "parts": {"train": 523, "calibration": 77, "test": 300},
        "warnings": [],
        "leaks": [],
    }
    segment = "group" if found.groups else None
    best = {"candidate": "xgboost", "max_depth": 7}
    return Card({**terms, **changes}, report, found, best, 6, segment, 21_300_000)


def test_the_card_says_what_a_person_must_know() -> None:
    text = card.page(described(measured(groups=2)))
    for part in (
        "t.csv",
        "1,000 rows read; set aside: 97 repeated, 3 without a target; used: 900 (523 train, 77 calibration, 300 test)",
        "| mae | &emsp;**",
        "Prediction ± 0.4 kg",
        "| group 0 | &emsp;150 |",
        "xgboost, the best of 6 trials: max_depth 7",
        "number 2 -3.2 to 3.1 g",
    ):
        assert part in text
    assert "SYNTHETIC" not in text
    assert text.endswith("\n\n## Gate verdict\nnot judged yet\n")
    assert card.page(described(measured(), synthetic=True)).startswith("> **Trained on SYNTHETIC data.**")


def test_doubts_about_the_data_and_the_size_of_the_model_are_in_the_card() -> None:
    found = described(measured(2, labels=2))
    leak = "column 'alive' gives the target away"
    found = replace(found, report=found.report | {"leaks": [leak], "warnings": ["3 cells hold 'none'", leak]})
    threshold = {"label": "yes", "value": 0.25, "chosen_for": "precision 0.9"}
    found = replace(found, contract=found.contract | {"threshold": threshold})
    text = card.page(found)
    assert f"- **A leak?** {leak}\n- 3 cells hold 'none'\n" in text
    assert text.count(leak) == 1
    assert "The model takes 21.3 MB." in text
    assert "Serves **yes** from a probability of 0.25 (precision 0.9)" in text


@pytest.mark.parametrize(("features", "labels", "groups"), [(1, 0, 0), (100, 0, 120), (100, 60, 0), (2, 2, 3)])
def test_the_page_fits_into_the_registry_with_room_for_the_verdict(features: int, labels: int, groups: int) -> None:
    found = described(measured(features, labels, groups))
    assert len(card.page(found)) <= card.DESCRIPTION_LIMIT - card.ROOM_FOR_VERDICT


def test_the_call_can_be_pasted() -> None:
    found = described(measured(2))
    found.contract["features"][0]["example"] = "it's"
    call = re.search(r"```sh\n(.*)\n```", card.render(found))
    assert call
    row = json.loads(shlex.split(call[1])[-1])
    assert list(row.values()) == ["it's", 0.1]
    assert "http://127.0.0.1:8000/models/beans/predict" in call[1]  # whichever model is the default one


def test_rows_that_repeat_others_are_counted_whether_they_are_dropped_or_kept() -> None:
    found = described(measured(2))
    assert "repeat another row" not in card.render(found)
    kept = card.render(replace(found, report=found.report | {"rows_dropped": 0}))
    assert "set aside: 0 repeated, 3 without a target; used: 900" in kept
    assert "300 test); 97 of them repeat another row\n" in kept


def test_names_from_the_data_are_text_never_markup() -> None:
    text = card.render(described(measured(1), target="a|b\n## Gate verdict <script>"))
    assert text.count("\n## Gate verdict") == 1
    assert "<script>" not in text.replace(r"\<script\>", "")


def test_a_model_that_is_too_good_has_its_strongest_column_questioned() -> None:
    found = measured()
    assert "Hardly an error" not in card.render(described(found))
    found = replace(found, figures=found.figures | {"r2": replace(found.figures["r2"], value=0.9995)})
    text = card.render(described(found))
    strongest = found.importance.names[int(np.argmax(found.importance.mean))]
    assert f"**Hardly an error on the test rows**: is {strongest} known before the target is" in text


def test_rare_labels_and_small_groups_are_named_as_hardly_tested() -> None:
    text = card.render(described(measured(2, labels=20, groups=20)))
    assert "Labels with fewer than 30 test rows, hardly tested: label 0" in text
    assert "20 groups have fewer than 30 test rows" in text


@pytest.mark.parametrize(
    ("features", "labels", "groups"), [(1, 0, 0), (12, 0, 2), (100, 0, 120), (3, 2, 2), (30, 9, 0), (3, 60, 3)]
)
def test_every_picture_is_readable(features: int, labels: int, groups: int) -> None:
    """No text leaves its picture, and no two names on an axis lie over each other."""
    names = {"target": "a $target$ with a very long name", "target_unit": "mg/dm³"}
    names["labels"] = [f"long label name {i}" for i in range(labels)]
    pictures = plots.draw(described(measured(features, labels, groups), **names), TRIALS, "mae")
    common = {"importance.png", "trials.png", "calibration.png"}
    common |= {"confusion-matrix.png"} if labels else {"residuals.png"}
    assert set(pictures) == common | ({"segments.png"} if groups else set())
    for name, figure in pictures.items():
        figure.canvas.draw()
        assert _outside(figure) == [], name
        assert _overlapping(figure) == [], name


def test_the_confusion_matrix_counts_the_labels_that_are_served() -> None:
    found = replace(measured(2, labels=2), served=np.ones(300, dtype=int))  # whatever is likeliest
    figure = plots.draw(described(found), TRIALS, "log_loss")["confusion-matrix.png"]
    counts = [int(text.get_text()) for text in figure.axes[0].texts]
    assert counts == [0, int((found.actual == 0).sum()), 0, int((found.actual == 1).sum())]


def _outside(figure: Figure) -> list[str]:
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    whole = figure.bbox.padded(2)
    boxes = {text: text.get_window_extent() for text in shown}
    ticks = {tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in _hidden_ticks(axis)}
    return [
        text.get_text()
        for text, box in boxes.items()
        if text not in ticks
        and not (whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1)
    ]


def _hidden_ticks(axis: Any) -> set[Text]:
    """Labels of ticks beyond the axis's ends, which are not drawn."""
    low, high = sorted(axis.get_view_interval())
    return {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}


def _overlapping(figure: Figure) -> list[tuple[str, str]]:
    found = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            shown = [one for one in axis.get_ticklabels() if one.get_text() and one not in _hidden_ticks(axis)]
            for left, right in itertools.pairwise(shown):
                if left.get_window_extent().padded(-0.5).overlaps(right.get_window_extent().padded(-0.5)):
                    found.append((left.get_text(), right.get_text()))
    return found


def test_a_verdict_takes_the_room_that_the_card_leaves() -> None:
    reasons = tuple(Reason("segment", n != 7, f"group {n} {'x' * 250}", threshold=0.1) for n in range(20))
    entry = Entry("refused", "2", "1", reasons, by="me")
    before = f"{'y' * 3400}\n\n## Gate verdict\n{card.NOT_JUDGED}\n\n## After"
    page = with_verdict(before, entry)
    assert len(page) <= card.DESCRIPTION_LIMIT
    assert page.startswith("y" * 3400)
    assert page.endswith("more in the ledger\n\n## After")
    shown = re.findall("^- (?:pass|FAIL): group [0-9]+", page, re.MULTILINE)
    assert shown[0] == "- FAIL: group 7"
    assert f"- {20 - len(shown)} more in the ledger" in page
    assert with_verdict(page, entry) == page
    assert "more in the ledger" not in with_verdict("", Entry("refused", "2", "1", reasons[:3]))
