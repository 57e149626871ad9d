"""Which trials come when, also after an interruption."""

import optuna
import pytest
from training.fit import search

CANDIDATES = ["extra_trees", "random_forest", "xgboost"]


@pytest.fixture
def study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=search.StartingSampler(CANDIDATES, seed=7))


def begun(study: optuna.Study, columns: int = 11) -> tuple[optuna.Trial, search.Parameters]:
    trial = study.ask()
    return trial, search.suggest(trial, CANDIDATES, columns)


def resumed(study: optuna.Study) -> optuna.Study:
    """The same trials in another process, which has a sampler of its own."""
    sampler = search.StartingSampler(CANDIDATES, seed=7)
    again = optuna.create_study(sampler=sampler)
    again.add_trials(study.trials)
    sampler.go_on(again.trials)
    return again


def test_the_first_trials_are_the_starting_points(study: optuna.Study) -> None:
    made = [begun(study)[1] for _ in range(4)]
    assert [one["candidate"] for one in made[:3]] == CANDIDATES
    assert made[1] == {"candidate": "random_forest", "n_estimators": 200, "max_features": 0.33, "min_samples_leaf": 1}


@pytest.mark.parametrize("columns", [11, 2])  # of two columns, less than all is no share that can be asked for
def test_starting_points_that_were_not_finished_come_again(study: optuna.Study, columns: int) -> None:
    first, killed, third, random = (begun(study, columns)[0] for _ in range(4))
    for trial in (first, third, random):
        study.tell(trial, 0.5)
    assert study.trials[killed.number].state == optuna.trial.TrialState.RUNNING
    again = resumed(study)
    _, parameters = begun(again, columns)
    assert (parameters["candidate"], parameters["n_estimators"]) == ("random_forest", 200)
    finished, _ = begun(again, columns)
    assert finished.number == 5
    assert resumed(again).sampler.starts == {6: "random_forest"}  # killed again before it was finished


def test_what_was_finished_is_not_tried_again(study: optuna.Study) -> None:
    for _ in range(3):
        study.tell(begun(study)[0], 0.5)
    assert resumed(study).sampler.starts == {}
