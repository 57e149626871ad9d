"""Which trials come when, also after an interruption, on a real MLflow."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from training.config import Search
from training.errors import TrialFailed
from training.fit import search
from training.fit.search import Columns, Found, Parameters

import mlflow

CANDIDATES = ["extra_trees", "random_forest", "xgboost"]


@dataclass
class Judge:
    """An engine whose metric is a formula. It ends after `until` trials as a killed process does."""

    columns: Columns = field(default_factory=lambda: Columns(("a", "b", "c"), (), 0))
    side_by_side: int = 1
    until: int = 100
    failure: type[BaseException] = KeyboardInterrupt
    tried: list[Parameters] = field(default_factory=list)

    def cross_validate(self, parameters: Parameters) -> float:
        self.tried.append(parameters)
        if len(self.tried) > self.until:
            raise self.failure
        return float(parameters["n_estimators"]) + (parameters["candidate"] == "xgboost")


Run = Callable[..., Found]


@pytest.fixture
def run(tracking: str, request: pytest.FixtureRequest) -> Run:
    experiment = mlflow.MlflowClient().create_experiment(request.node.name)

    def running(engine: Any, trials: int = 5, name: str = "study", **settings: Any) -> Found:
        return search.run(engine, Search(trials=trials, **settings), "mae", 7, experiment, name)

    return running


def test_the_first_trials_are_the_starting_points(run: Run) -> None:
    judge = Judge()
    found = run(judge)
    assert [one["candidate"] for one in judge.tried[:3]] == CANDIDATES
    # Of three columns, a third is less than the two that a split needs.
    assert judge.tried[1] == {
        "candidate": "random_forest",
        "n_estimators": 200,
        "max_features": 2 / 3,
        "min_samples_leaf": 1,
    }
    assert [trial.number for trial in found.trials] == [1, 2, 3, 4, 5]
    assert found.best == min(judge.tried, key=lambda one: one["n_estimators"])


def test_a_search_that_was_cut_off_goes_on_where_it_stopped(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    killed, again = Judge(until=1), Judge()
    with pytest.raises(KeyboardInterrupt):
        run(killed)
    caplog.set_level(logging.INFO, "training")
    caplog.clear()
    found = run(again)
    assert [one["candidate"] for one in again.tried[:2]] == ["random_forest", "xgboost"]
    assert again.tried[0] == killed.tried[-1]
    assert len(again.tried) == len(found.trials) - 1 == 4
    told = [message for message in caplog.messages if message.startswith("trial")]
    assert [message.split(":")[0] for message in told] == [f"trial {number} of 5" for number in range(2, 6)]
    assert run(Judge(until=0)) == found


@pytest.mark.parametrize("side_by_side", [1, 3])
def test_a_repetition_tries_the_same(run: Run, side_by_side: int) -> None:
    first, second = (Judge(side_by_side=side_by_side) for _ in range(2))
    found = [run(judge, 14, name) for judge, name in ((first, "first"), (second, "second"))]
    assert found[0].trials == found[1].trials
    assert sorted(map(str, first.tried)) == sorted(map(str, second.tried))
    assert len({str(one) for one in first.tried}) == 14


def test_no_trial_starts_after_the_time_is_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 40))
    monkeypatch.setattr(search.time, "monotonic", lambda: next(clock))
    assert 1 <= len(run(Judge(), timeout_s=100).trials) < 4


def test_a_failure_is_reported_as_what_it_is(run: Run) -> None:
    class Broken(Judge):
        def cross_validate(self, parameters: Parameters) -> float:
            raise TrialFailed(parameters["candidate"], "ValueError: (n,2) into (n,1)")

    with pytest.raises(TrialFailed, match=r"a trial of extra_trees failed: ValueError: \(n,2\) into \(n,1\)"):
        run(Broken())


def test_a_forest_of_many_rows_has_larger_leaves() -> None:
    forest = {"candidate": "extra_trees", "n_estimators": 200, "max_features": 0.5, "min_samples_leaf": 1}
    assert search.bounded(forest, 5000) == forest
    assert search.bounded(forest, 100_000)["min_samples_leaf"] == 7
    assert search.bounded(forest | {"min_samples_leaf": 4}, 20_000)["min_samples_leaf"] == 4
