"""When the windows call for training, for any windows that can be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training.config import Monitor
from training.monitoring import policy
from training.monitoring.policy import Decision, Window

START = datetime(2026, 1, 1, tzinfo=UTC)
RULES = Monitor(windows=3, of=5, min_rows=100, cooldown_hours=24)


def windows(alarms: list[bool], rows: int = 100) -> list[Window]:
    """One window an hour; an alarming one has a drifted column."""
    hours = [START + timedelta(hours=hour) for hour in range(len(alarms) + 1)]
    spans = enumerate(zip(alarms, pairwise(hours), strict=True))
    return [Window(f"w{hour}", "1", *span, rows, ("alcohol",) * alarm) for hour, (alarm, span) in spans]


def decide(found: list[Window], rules: Monitor = RULES, **changes: datetime) -> Decision:
    return policy.decide(rules, found, **{"now": START + timedelta(days=30), **changes})


def codes(found: list[Window], rules: Monitor = RULES, **changes: datetime) -> list[str]:
    decision = decide(found, rules, **changes)
    assert (decision.action == "retrain") == (decision.reasons[-1].code == "enough_windows")
    return [reason.code for reason in decision.reasons]


@pytest.mark.parametrize(
    ("alarms", "last_code"),
    [
        ([], "no_window"),
        ([True], "too_few_windows"),
        ([True, True, True], "enough_windows"),
        ([True, False, True, False, True], "enough_windows"),
        ([True, True, True, True, False], "last_is_quiet"),
        ([True, True, False, False, False, True], "too_few_windows"),  # the first is the sixth from the end
    ],
)
def test_as_many_windows_of_the_last_few(alarms: list[bool], last_code: str) -> None:
    assert codes(windows(alarms))[-1] == last_code


def test_an_error_worse_than_promised_counts_like_drift() -> None:
    found = [replace(window, drifted=(), error_worse=True) for window in windows([True] * 3)]
    assert codes(found) == ["error", "enough_windows"]


def test_small_windows_say_nothing() -> None:
    assert codes(windows([True] * 5, rows=99)) == ["no_window"]


def test_cooldown_after_a_request_and_after_a_promotion() -> None:
    found = windows([True] * 10)
    end = found[-1].end
    assert codes(found, now=end, live_since=end - timedelta(hours=23))[-1] == "cooldown"
    assert codes(found, now=end, live_since=end - timedelta(hours=25))[-1] == "enough_windows"
    assert codes(found, now=end, requested=found[5].end)[-1] == "cooldown"
    assert codes(found, RULES.model_copy(update={"cooldown_hours": 0}), now=end, requested=found[5].end)[-1] == (
        "enough_windows"
    )


def test_windows_of_the_last_request_are_used_up() -> None:
    found = windows([True] * 5)
    assert codes(found, requested=found[-1].end) == ["no_window"]
    assert codes(found, requested=found[2].end)[-1] == "too_few_windows"


def test_nothing_new_to_learn_from_is_told() -> None:
    decision = policy.nothing_new(decide(windows([True] * 3)))
    assert decision.action == "keep"
    assert "data.feedback: true" in decision.text


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 6), st.integers(1, 6), st.integers(0, 12))
def test_never_without_enough_alarms_and_a_key_for_each_evidence(
    alarms: list[bool], needed: int, of: int, asked: int
) -> None:
    rules = Monitor(windows=min(needed, of), of=of, min_rows=100, cooldown_hours=0)
    found = windows(alarms)
    last = START + timedelta(hours=asked)
    decision = decide(found, rules, requested=last)
    fresh = [window for window in found if window.end > last][-of:]
    expected = bool(fresh) and fresh[-1].alarming and sum(w.alarming for w in fresh) >= rules.windows
    assert (decision.action == "retrain") == expected
    assert decision == decide(found, rules, requested=last)
    if expected:  # decided once: the same windows ask for nothing more
        assert decide(found, rules, requested=found[-1].end).action == "keep"


def test_reasons_are_words() -> None:
    decision = decide(windows([True] * 3))
    assert decision.text == "the last window shows drift of alcohol; 3 of the last 3 windows alarming"
    many = replace(windows([True])[0], drifted=tuple("abcdefg"), error_worse=True)
    assert many.summary == "drift of a, b, c, d, e and 2 more and an error worse than promised"


def test_changed_data_are_one_decision_for_one_content() -> None:
    first = policy.data_changed("a.csv", "d1", "3")
    assert (first.action, first.reasons[0].code) == ("retrain", "data_changed")
    assert first.key == policy.data_changed("renamed.csv", "d1", "3").key
    assert (
        len({first.key, policy.data_changed("a.csv", "d2", "3").key, policy.data_changed("a.csv", "d1", "4").key}) == 3
    )
