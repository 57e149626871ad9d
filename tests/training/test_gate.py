"""The gate: every reason to refuse, each told."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from training.config import Config
from training.gate import Evidence, judge

GENERATOR = np.random.default_rng(5)
ACTUAL = GENERATOR.normal(10, 2, 400)
GOOD = ACTUAL + GENERATOR.normal(0, 0.5, 400)
POOR = ACTUAL + GENERATOR.normal(0, 1.0, 400)


@pytest.fixture
def config(configured: Callable[..., Config], table: pd.DataFrame) -> Config:
    return configured(table, data={"segment": "colour"}, gate={"limits": {"mae": 0.7}, "max_segment_loss": 0.05})


def evidence(champion: np.ndarray | None, challenger: np.ndarray, groups: np.ndarray | None = None) -> Evidence:
    return Evidence(ACTUAL, challenger, champion, "version 1", groups)


def failed(config: Config, given: Evidence) -> set[str]:
    verdict = judge(config, given)
    codes = {reason["code"] for reason in verdict.reasons if not reason["passed"]}
    assert verdict.passed == (not codes)
    return codes


def test_a_better_model_passes(config: Config) -> None:
    assert failed(config, evidence(POOR, GOOD)) == set()


def test_the_same_model_does_not(config: Config) -> None:
    assert failed(config, evidence(GOOD, GOOD)) == {"gain"}


def test_a_limit_is_absolute(config: Config) -> None:
    assert "limit" in failed(config, evidence(POOR * 2, POOR))


def test_a_champion_that_cannot_be_scored_blocks(config: Config) -> None:
    assert failed(config, evidence(None, GOOD)) == {"champion_cannot_score"}


def test_a_group_that_loses_blocks_and_a_small_one_is_only_reported(config: Config) -> None:
    groups = np.array(["red"] * 50 + ["blue"] * 350)
    worse_on_red = np.where(groups == "red", ACTUAL + 1.5, GOOD)
    assert failed(config, evidence(POOR, worse_on_red, groups)) == {"segment"}
    few = np.array(["red"] * 20 + ["blue"] * 380)
    worse_on_few = np.where(few == "red", ACTUAL + 1.5, GOOD)
    verdict = judge(config, evidence(POOR, worse_on_few, few))
    assert verdict.passed
    assert any("not judged" in reason["text"] for reason in verdict.reasons)
