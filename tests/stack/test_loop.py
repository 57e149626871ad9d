"""The tables and the traffic of `make loop`; `make loop` itself is the test of the story."""

import csv
import json
import threading

import pytest

from stack.airflow_client import Airflow
from stack.errors import StepFailed
from stack.http_client import client
from stack.loop_data import KIND, TARGET, WINDOW_ROWS, Wines, features, labelled, write_table
from stack.settings import ROOT
from stack.traffic import SteadyTraffic, send_labelled

TOKEN = {"POST /auth/token": (201, {"access_token": "abc"})}
RUNS = "/api/v2/dags/train_model/dagRuns"


@pytest.fixture(scope="module")
def wines() -> Wines:
    return Wines.read(ROOT / "data" / "wine-sample.csv")


def test_the_model_learns_one_kind_and_meets_the_other(wines: Wines) -> None:
    assert {row[KIND] for row in wines.first()} == {"white"}
    windows = [wines.window(number) for number in range(3)]
    assert all(len(window) == WINDOW_ROWS and {row[KIND] for row in window} == {"red"} for window in windows)
    assert not any(row in windows[0] for row in windows[1])


def test_grades_out_of_step_are_the_same_grades_in_other_places(wines: Wines) -> None:
    right, wrong = wines.whole(), wines.out_of_step()
    assert len({len(right), len(wrong)}) == 1
    assert sorted(row[TARGET] for row in right) == sorted(row[TARGET] for row in wrong)
    moved = sum(a[TARGET] != b[TARGET] for a, b in zip(right, wrong, strict=True))
    assert moved > len(right) / 2


def test_what_is_sent_lacks_what_the_model_does_not_take(wines: Wines) -> None:
    [row] = features(wines.white[:1])
    assert not {TARGET, KIND} & set(row)
    assert set(labelled(wines.white[:1])[0]) == set(row) | {TARGET}


def test_a_table_is_replaced_whole(wines: Wines, tmp_path) -> None:
    write_table(tmp_path, wines.first())
    write_table(tmp_path, wines.window(0))
    with (tmp_path / "wines.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == WINDOW_ROWS
    assert [path.name for path in tmp_path.iterdir()] == ["wines.csv"]


def test_a_labelled_row_is_two_requests_that_belong_together(json_server) -> None:
    asked: list[tuple[str, str]] = []
    url = json_server({"POST /predict": (200, {"id": "a-1"}), "POST /feedback": (202, {})}, asked)
    with client(url) as api:
        assert send_labelled(api, [{"alcohol": 9.5, "quality": 6.0}], "quality") == 1
    assert [(key, json.loads(body)) for key, body in asked] == [
        ("POST /predict", {"alcohol": 9.5}),
        ("POST /feedback", {"id": "a-1", "actual": 6.0}),
    ]


def test_steady_traffic_counts_versions_and_faults(json_server) -> None:
    enough = threading.Event()
    answers = [(200, {"model": {"version": "1"}}), (503, {"detail": "no model"}), (200, {"model": {"version": "2"}})]
    url = json_server({"POST /predict": answers})

    class Counted(SteadyTraffic):
        def _ask(self, *arguments) -> None:
            super()._ask(*arguments)
            if "2" in self.versions:
                enough.set()

    with client(url) as api, Counted(api, [{"alcohol": 9.5}], rate=1000) as traffic:
        assert enough.wait(20)
    assert traffic.versions["1"] == 1
    assert traffic.versions["2"] >= 1
    assert traffic.faults == ['503 {"detail": "no model"}']


def test_steady_traffic_counts_a_server_that_is_gone(json_server) -> None:
    with client("http://127.0.0.1:9") as api, SteadyTraffic(api, [{"alcohol": 9.5}], rate=1000) as traffic:
        while not traffic.faults:
            threading.Event().wait(0.01)
    assert set(traffic.faults) == {"ConnectError"}


def test_waits_for_a_run_that_nobody_triggered_by_hand(json_server) -> None:
    before = {"dag_runs": [{"dag_run_id": "manual__1"}]}
    after = {"dag_runs": [{"dag_run_id": "manual__1"}, {"dag_run_id": "asset_triggered__2"}]}
    url = json_server(TOKEN | {f"GET {RUNS}": [(200, before), (200, before), (200, after)]})
    airflow = Airflow(url, "secret")
    assert airflow.next_run(airflow.run_ids(), 10) == "asset_triggered__2"


def test_a_run_that_never_comes_is_a_failure(json_server) -> None:
    url = json_server(TOKEN | {f"GET {RUNS}": (200, {"dag_runs": []})})
    with pytest.raises(StepFailed, match="no run of train_model was started within 0 s"):
        Airflow(url, "secret").next_run(set(), 0)
