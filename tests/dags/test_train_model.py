"""The DAG is run for real, as a scheduler would; only the two programs that its tasks start are stand-ins."""

import json
from pathlib import Path

import pytest
from conftest import run, updates

SCRIPTS = ["check", "train", "promote", "verify"]


@pytest.fixture
def dag(dags):
    return dags["train_model"]


def test_an_empty_form_runs_the_four_commands_as_the_pipeline_file_says(dag, programs, airflow_home: Path) -> None:
    calls, before = programs(), len(updates("production-model"))
    states = run(dag)
    assert (states["run"], states["not_promoted"]) == ("success", "skipped")
    assert [call["script"] for call in calls()] == SCRIPTS
    assert [call["program"] for call in calls()] == ["python", "spark-submit", "python", "python"]
    assert calls()[0]["argv"] == ["scripts/pipeline.py", "check", "--config", "pipeline.yaml"]
    assert calls()[1]["argv"][:2] == ["--master", "local[2]"]
    assert calls()[1]["environment"]["PYSPARK_PYTHON"] == str(airflow_home / "training" / "bin" / "python")
    assert {call["environment"]["MLFLOW_TRACKING_URI"] for call in calls()} == {"http://127.0.0.1:1"}  # Airflow's own
    assert len(updates("production-model")) == before + 1  # the alias moved, and the service took it


def test_every_command_gets_the_same_options(dag, programs) -> None:
    calls = programs()
    run(dag, data="data/mine.csv", name="mine", trials=3, gate="off", config="other.yaml")
    wanted = ["--config", "other.yaml", "--data", "data/mine.csv", "--name", "mine", "--trials", "3", "--gate", "off"]
    given = [call["argv"][call["argv"].index("--config") :] for call in calls()]
    assert given == [wanted, wanted, [*wanted, "--skip"], [*wanted, "--skip"]]


@pytest.mark.parametrize(
    ("codes", "scripts"),
    [
        ({"train": 1}, ["check", "train"]),
        ({"train": 2}, ["check", "train"]),
        ({"train": 3}, ["check", *["train"] * 4]),
        ({"check": 1}, ["check"]),
    ],
    ids=["a refusal", "another refusal", "an accident is tried three times more", "bad data"],
)
def test_what_fails_ends_the_run(dag, programs, codes: dict[str, int], scripts: list[str]) -> None:
    calls = programs(**codes)
    states = run(dag)
    assert states["run"] == "failed"
    assert states["not_promoted"] != "success"
    assert [call["script"] for call in calls()] == scripts


@pytest.mark.parametrize(
    ("codes", "promoted", "not_promoted", "scripts"),
    [({"promote": 99}, "skipped", "success", SCRIPTS[:3]), ({"verify": 99}, "success", "skipped", SCRIPTS)],
    ids=["refused by the gate", "the alias was there before"],
)
def test_without_a_move_of_the_alias_the_asset_is_not_updated(
    dag, programs, codes: dict[str, int], promoted: str, not_promoted: str, scripts: list[str]
) -> None:
    calls, before = programs(**codes), updates("production-model")
    states = run(dag)
    assert (states["train"], states["promote"], states["verify"]) == ("success", promoted, "skipped")
    assert states["not_promoted"] == not_promoted  # a refused run is known by its look
    assert [call["script"] for call in calls()] == scripts
    assert updates("production-model") == before


def reasons_shown() -> list[tuple[str, object]]:
    """Which tasks show why they were skipped, in all runs."""
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.utils.session import create_session

    with create_session() as session:
        return [(row.task_id, json.loads(row.value)) for row in session.query(TaskStateStoreModel)]


def test_a_refusal_by_the_gate_is_shown_in_the_task_that_it_skips(dag, programs) -> None:
    programs(promote=99, say="skipped: version 2: refused: no gain")
    before = reasons_shown()
    run(dag)
    assert reasons_shown()[len(before) :] == [("promote", "version 2: refused: no gain")]


def test_waits_for_requests_one_run_at_a_time(dag) -> None:
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    assert [asset.name for asset in dag.schedule] == ["training-request"]


def test_the_form_says_that_an_empty_gate_is_as_configured(dag) -> None:
    assert dag.params.get_param("gate").schema["values_display"]["null"] == "as configured"
