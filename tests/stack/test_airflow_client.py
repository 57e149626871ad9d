"""Starting a run and following it, against a server that answers as Airflow's REST interface does."""

import json

import pytest

from stack.airflow_client import Airflow, TaskState
from stack.errors import StepFailed

TOKEN = {"POST /auth/token": (201, {"access_token": "abc"})}
RUNS = "/api/v2/dags/train_model/dagRuns"
RUN = f"{RUNS}/manual__1%2B0"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stack.airflow_client.POLL_SECONDS", 0.01)


def task(name: str, state: str | None, start: str | None, duration: float | None = None) -> dict[str, object]:
    return {"task_id": name, "state": state, "start_date": start, "duration": duration}


def test_starts_a_run_with_its_parameters(json_server) -> None:
    asked: list[tuple[str, str]] = []
    url = json_server(TOKEN | {f"POST {RUNS}": (200, {"dag_run_id": "manual__1+0"})}, asked)
    assert Airflow(url, "secret").trigger({"trials": 10}) == "manual__1+0"
    assert json.loads(asked[0][1]) == {"username": "admin", "password": "secret"}
    run = json.loads(asked[1][1])
    assert run.pop("dag_run_id").startswith("manual__20")
    assert run == {"logical_date": None, "conf": {"trials": 10}}


def test_waits_while_the_dag_is_not_parsed_yet(json_server) -> None:
    url = json_server(TOKEN | {f"POST {RUNS}": [(404, {}), (404, {}), (200, {"dag_run_id": "later"})]})
    assert Airflow(url, "secret").trigger({}) == "later"


LOCKED = (500, {"detail": {"reason": "Database error"}})


@pytest.mark.parametrize("last", [(200, {"dag_run_id": "manual__mine"}), (409, {"detail": "exists"})])
def test_a_locked_database_is_asked_again_for_the_same_run(json_server, last: tuple[int, dict[str, str]]) -> None:
    asked: list[tuple[str, str]] = []
    url = json_server(TOKEN | {f"POST {RUNS}": [LOCKED, LOCKED, last]}, asked)
    run_id = Airflow(url, "secret").trigger({})
    wanted = [json.loads(body)["dag_run_id"] for _, body in asked[1:]]
    assert (len(wanted), len(set(wanted))) == (3, 1)
    assert run_id == last[1].get("dag_run_id", wanted[0])


def test_another_fault_of_airflow_is_said_at_once(json_server) -> None:
    url = json_server(TOKEN | {f"POST {RUNS}": [(500, {"detail": "broken"}), (200, {"dag_run_id": "never"})]})
    with pytest.raises(StepFailed, match="answered 500"):
        Airflow(url, "secret").trigger({})


def test_a_dag_that_never_comes_is_a_failure(json_server) -> None:
    url = json_server(TOKEN)
    with pytest.raises(StepFailed, match="answered 404"):
        Airflow(url, "secret").trigger({}, seconds=0.05)


def test_a_wrong_password_is_a_failure(json_server) -> None:
    url = json_server({"POST /auth/token": (401, {"detail": "Invalid credentials"})})
    with pytest.raises(StepFailed, match="401"):
        Airflow(url, "wrong")


def test_follows_a_run_and_tells_of_each_task_once(json_server) -> None:
    early = [task("train", None, None), task("check", "success", "2026-01-01T00:00:01Z", 6.5)]
    late = [task("train", "success", "2026-01-01T00:00:09Z", 60.0), early[1], task("never", "skipped", None, 0.0)]
    url = json_server(
        TOKEN
        | {
            f"GET {RUN}": [(200, {"state": "running"}), (200, {"state": "running"}), (200, {"state": "success"})],
            f"GET {RUN}/taskInstances": [(200, {"task_instances": early}), (200, {"task_instances": late})],
        }
    )
    told: list[TaskState] = []
    Airflow(url, "secret").follow("manual__1+0", 10, told.append)
    assert told == [TaskState("check", "success", 6.5), TaskState("train", "success", 60.0)]


def test_a_failed_run_shows_the_end_of_the_failed_tasks_log(json_server) -> None:
    log = {"content": [{"event": "reading"}, {"event": "row 7, column alcohol: 'x' is no number"}]}
    url = json_server(
        TOKEN
        | {
            f"GET {RUN}": (200, {"state": "failed"}),
            f"GET {RUN}/taskInstances": (200, {"task_instances": [task("check", "failed", "2026-01-01T00:00:01Z", 1)]}),
            f"GET {RUN}/taskInstances/check/logs/1": (200, log),
        }
    )
    with pytest.raises(StepFailed, match="row 7, column alcohol"):
        Airflow(url, "secret").follow("manual__1+0", 10, lambda _: None)


def test_a_run_that_takes_too_long_is_a_failure(json_server) -> None:
    url = json_server(
        TOKEN
        | {
            f"GET {RUN}": (200, {"state": "queued"}),
            f"GET {RUN}/taskInstances": (200, {"task_instances": []}),
        }
    )
    with pytest.raises(StepFailed, match="is still queued after 0 s"):
        Airflow(url, "secret").follow("manual__1+0", 0, lambda _: None)


def test_measures_from_queued_to_end(json_server) -> None:
    run = {"queued_at": "2026-01-01T00:00:00Z", "end_date": "2026-01-01T00:01:30.500000Z"}
    url = json_server(TOKEN | {f"GET {RUN}": (200, run)})
    assert Airflow(url, "secret").waited("manual__1+0") == 90.5
