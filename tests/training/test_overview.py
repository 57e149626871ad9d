"""The ledger told: its order, what it keeps of long and of old entries, and what was in production when."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training.config import Config
from training.errors import ConfigError, NothingServed
from training.promotion import status
from training.reason import Reason
from training.tracking.ledger import Entry, Ledger, course
from versions import Model

from mlflow import MlflowClient

pytestmark = pytest.mark.usefixtures("tracking")


@pytest.fixture
def ledger(model: Model) -> Ledger:
    return model.ledger


@pytest.fixture
def config(model: Model) -> Config:
    return model.config()


def test_entries_keep_their_order_when_the_clock_stands_or_goes_back(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands = 1_800_000_000_000_000_000
    for number, clock in enumerate((stands, stands, stands - 5_000_000_000, stands)):
        monkeypatch.setattr("training.tracking.ledger.time.time_ns", lambda clock=clock: clock)
        ledger.append(Entry("refused", str(number), None))
    entries = ledger.entries()
    assert [entry.version for entry in entries] == ["0", "1", "2", "3"]
    assert [entry.at - entries[0].at for entry in entries] == [timedelta(milliseconds=index) for index in range(4)]


def test_a_long_entry_is_kept_whole(ledger: Ledger) -> None:
    reasons = [Reason("segment", True, f"group {number}: " + "all is well " * 8) for number in range(100)]
    ledger.append(Entry("refused", "2", "1", tuple(reasons), key="question"))
    [read] = ledger.entries()
    assert list(read.reasons) == reasons
    assert max(map(len, MlflowClient().get_run(read.id).data.tags.values())) <= 5000


def test_entries_of_other_versions_of_the_program_are_read(model: Model) -> None:
    old = {"action": "promoted", "version": "1", "previous": None, "evidence": {"gain": 1.0}, "key": "k", "by": "ann"}
    old |= {"reasons": [{"code": "gain", "passed": True, "text": "better"}], "at": "2026-11-01T10:00:00+00:00"}
    newer = {**old, "version": "2", "colour": "green", "reasons": [{**old["reasons"][0], "weight": 3}]}
    experiment = model.registry.experiment(f"{model.name}-ledger")
    tags = [{"ledger.entry": json.dumps(old)}, {"ledger.entry": json.dumps(newer)}]
    tags += [
        {"ledger.entry": "{torn", "ledger.action": "rolled_back", "ledger.to": "1", "ledger.from": "2"},
        {"x": "y"},
    ]
    for number, tag in enumerate(tags):
        model.client.create_run(experiment, start_time=1000 * (number + 1), tags=tag)
    entries = model.ledger.entries()
    assert model.moves() == [("promoted", "1", None), ("promoted", "2", None), ("rolled_back", "1", "2")]
    assert entries[0].reasons == (Reason("gain", True, "better"),)
    assert course(entries).served == ["1"]


def test_what_served_at_a_time(ledger: Ledger, config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NothingServed, match="no version") as raised:
        status.past(config, "2020-01-01T10:00")
    assert raised.value.hint == "Nothing was promoted yet."
    moves = [("promoted", "1", None), ("refused", "2", "1"), ("promoted", "3", "1"), ("rolled_back", "1", "3")]
    written = [ledger.append(Entry(*move, (Reason("why", True, f"because {move[1]}"),))) for move in moves]
    times = [entry.at.isoformat() for entry in written]
    assert [status.past(config, at)["production"] for at in times] == ["1", "1", "3", "1"]
    assert "version 3 was production at" in capsys.readouterr().err
    just_before = (written[0].at - timedelta(milliseconds=1)).isoformat()
    with pytest.raises(NothingServed, match=r"no version of .* was production at"):
        status.past(config, just_before)
    past = status.past(config)
    assert [entry["action"] for entry in past["decisions"]] == [move[0] for move in moves]
    assert json.dumps(past)
    assert "because 3" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "10:00", ""])
def test_what_is_no_time_is_told(text: str, config: Config) -> None:
    with pytest.raises(ConfigError, match=f"expected a time, found '{text}'"):
        status.past(config, text)


def test_a_time_to_come_is_told(config: Config) -> None:
    with pytest.raises(ConfigError, match="is in the future"):
        status.past(config, (datetime.now(UTC) + timedelta(days=1)).isoformat())


def test_two_who_promote_at_once_leave_one_way_back() -> None:
    entries = [Entry("promoted", "1", None), Entry("promoted", "2", "1"), Entry("promoted", "2", "1")]
    assert course(entries).before(["1", "2"]) == "1"


VERSIONS = st.sampled_from(["1", "2", "3", "4"])


@given(st.lists(st.tuples(st.sampled_from(["promoted", "rolled_back", "reverted", "found"]), VERSIONS), max_size=12))
def test_the_course_ends_where_the_alias_is(moves: list[tuple[str, str]]) -> None:
    """Whatever was done: the last page is the present version, which is not one left, and back is not forward."""
    entries: list[Entry] = []
    present = ""
    for action, version in moves:
        if version != present:
            entries.append(Entry(action, version, present or None))
            present = version
    found = course(entries)
    assert found.served[-1:] == ([present] if present else [])
    assert present not in found.left
    back = found.before(["1", "2", "3", "4"])
    assert back is None or back in found.served[:-1]
