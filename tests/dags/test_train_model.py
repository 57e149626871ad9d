"""The DAG is run for real, as a scheduler would; only the two programs that its tasks start are stand-ins."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import dag_bag

SCRIPTS = ["check", "train", "promote", "verify"]


@pytest.fixture
def dag(airflow_home: Path):
    """Parsed again for each test: a run leaves its parameters in the object."""
    return dag_bag().dags["train_model"]


def run(dag, **conf: object) -> str:
    return str(dag.test(run_conf=conf).state)


def test_runs_the_four_commands_in_order(dag, programs) -> None:
    calls = programs()
    assert run(dag) == "success"
    assert [call["script"] for call in calls()] == SCRIPTS
    assert [call["program"] for call in calls()] == ["python", "spark-submit", "python", "python"]


def test_an_empty_form_leaves_everything_to_the_pipeline_file(dag, programs) -> None:
    calls = programs()
    run(dag)
    assert calls()[0]["argv"] == ["scripts/pipeline.py", "check", "--config", "pipeline.yaml"]


def test_every_command_gets_the_same_options(dag, programs) -> None:
    calls = programs()
    run(dag, data="data/mine.csv", name="mine", trials=3, gate="off", config="other.yaml")
    wanted = ["--config", "other.yaml", "--data", "data/mine.csv", "--name", "mine", "--trials", "3", "--gate", "off"]
    assert [call["argv"][call["argv"].index("--config") :] for call in calls()] == [
        wanted,
        wanted,
        [*wanted, "--skip"],
        [*wanted, "--skip"],
    ]


@pytest.mark.parametrize(
    "value",
    ["$(touch {canary})", "`touch {canary}`", "x; touch {canary}", 'x" ; touch {canary} ; "', "{{{{ 7 * 6 }}}}"],
)
def test_what_the_form_says_is_never_run(dag, programs, tmp_path: Path, value: str) -> None:
    canary = tmp_path / "canary"
    data = value.format(canary=canary)
    calls = programs()
    assert run(dag, data=data) == "success"
    assert not canary.exists()
    assert calls()[0]["argv"][-1] == data


def test_spark_gets_the_training_interpreter(dag, programs, airflow_home: Path) -> None:
    calls = programs()
    run(dag)
    assert calls()[1]["environment"]["PYSPARK_PYTHON"] == str(airflow_home / "training" / "bin" / "python")
    assert calls()[1]["argv"][:2] == ["--master", "local[2]"]


def test_the_commands_keep_the_environment_of_airflow(dag, programs) -> None:
    calls = programs()
    run(dag)
    assert {call["environment"]["MLFLOW_TRACKING_URI"] for call in calls()} == {"http://127.0.0.1:1"}


@pytest.mark.parametrize(
    "conf", [{"trials": 0}, {"trials": "many"}, {"gate": "sometimes"}, {"name": "../../etc"}, {"config": ""}]
)
def test_a_value_that_cannot_be_is_refused_before_anything_runs(dag, programs, conf: dict[str, object]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    calls = programs()
    with pytest.raises(ParamValidationError):
        run(dag, **conf)
    assert calls() == []


@pytest.mark.parametrize("code", [1, 2])
def test_a_refusal_is_final(dag, programs, code: int) -> None:
    calls = programs(train=code)
    assert run(dag) == "failed"
    assert [call["script"] for call in calls()] == ["check", "train"]


def test_an_accident_is_tried_once_more(dag, programs) -> None:
    calls = programs(train=3)
    assert run(dag) == "failed"
    assert [call["script"] for call in calls()] == ["check", "train", "train"]


def test_bad_data_fails_at_once(dag, programs) -> None:
    calls = programs(check=3)
    assert run(dag) == "failed"
    assert [call["script"] for call in calls()] == ["check"]


def states(dag, **conf: object) -> dict[str, str]:
    """The states of its tasks after a run, and how often the asset of the model in production has been updated."""
    return {task.task_id: str(task.state) for task in dag.test(run_conf=conf).get_task_instances()}


def updates() -> int:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        return sum(event.asset.name == "production-model" for event in session.query(AssetEvent))


def test_the_asset_is_updated_when_the_alias_moved_and_the_service_took_it(dag, programs) -> None:
    before = updates()
    programs()
    states(dag)
    assert updates() == before + 1


def reasons_shown() -> list[tuple[str, object]]:
    """Which tasks show why they were skipped, in all runs."""
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.utils.session import create_session

    with create_session() as session:
        return [(row.task_id, json.loads(row.value)) for row in session.query(TaskStateStoreModel)]


def test_a_refusal_by_the_gate_is_shown_in_the_task_that_it_skips(dag, programs) -> None:
    programs(promote=99, say="skipped: version 2: refused: no gain")
    before = reasons_shown()
    states(dag)
    assert reasons_shown()[len(before) :] == [("promote", "version 2: refused: no gain")]


def test_a_refusal_by_the_gate_skips_what_follows_and_updates_nothing(dag, programs) -> None:
    calls, before = programs(promote=99), updates()
    found = states(dag)
    assert (found["train"], found["promote"], found["verify"]) == ("success", "skipped", "skipped")
    assert [call["script"] for call in calls()] == SCRIPTS[:3]
    assert updates() == before


def test_an_alias_that_was_there_before_is_verified_and_updates_nothing(dag, programs) -> None:
    calls, before = programs(verify=99), updates()
    found = states(dag)
    assert (found["promote"], found["verify"]) == ("success", "skipped")
    assert [call["script"] for call in calls()] == SCRIPTS
    assert updates() == before


def test_waits_for_requests_with_a_fixed_start_and_one_run_at_a_time(dag) -> None:
    assert dag.start_date == datetime(2026, 1, 1, tzinfo=UTC)
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    assert [asset.name for asset in dag.schedule] == ["training-request"]


def test_the_scheduler_can_store_it(dag) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    stored = DagSerialization.to_dict(dag)
    assert DagSerialization.from_dict(stored).task_ids == ["check", "train", "promote", "verify"]


def test_what_the_files_share_is_no_dag(airflow_home: Path) -> None:
    found = {Path(file.file).name: file.dag_num for file in dag_bag().dagbag_stats}
    assert found.pop("tasks.py", 0) == 0
    assert set(found.values()) == {1}


def test_every_page_explains_itself(dag) -> None:
    assert all(f"`{task}`" in dag.doc_md for task in dag.task_ids)
    assert all(dag.params.get_param(name).schema.get("title") for name in dag.params)
