"""The monitor's DAG run for real; only the two programs that its tasks start are stand-ins."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from conftest import run, updates


def test_asks_for_training_with_the_model_named(dags, programs) -> None:
    calls = programs()
    before = len(updates("training-request"))
    states = run(dags["monitor_model"], config="other.yaml", name="mine")
    assert states == {"run": "success", "monitor": "success", "request_training": "success"}
    assert [call["program"] for call in calls()] == ["spark-submit", "python"]
    assert [call["script"] for call in calls()] == ["monitor", "retraining"]
    wanted = ["--config", "other.yaml", "--name", "mine"]
    assert [call["argv"][-4:] for call in calls()] == [wanted] * 2
    [run_id] = {call["environment"]["AIRFLOW_CTX_DAG_RUN_ID"] for call in calls()}  # both commands know it
    assert run_id is not None
    assert calls()[0]["environment"]["MONITOR_SCHEDULE"] == "@hourly"  # the monitor notes when the next look is due
    assert updates("training-request")[before:] == [{"config": "other.yaml", "name": "mine", "data": ""}]


def test_a_model_that_was_trained_on_a_table_of_its_own_is_trained_on_that_again(dags, programs) -> None:
    programs(say='{"asked": true, "source": "data/mine.csv"}')
    before = len(updates("training-request"))
    run(dags["monitor_model"])
    [event] = updates("training-request")[before:]
    assert event["data"] == "data/mine.csv"


def test_nothing_to_ask_for_is_no_event(dags, programs) -> None:
    programs(retraining=99)
    before = len(updates("training-request"))
    assert run(dags["monitor_model"]) == {"run": "success", "monitor": "success", "request_training": "skipped"}
    assert len(updates("training-request")) == before


def test_a_dry_run_says_so_to_the_monitor(dags, programs) -> None:
    calls = programs(retraining=99)
    run(dags["monitor_model"], dry_run=True)
    assert calls()[0]["argv"][-1] == "--dry-run"
    run(dags["monitor_model"], dry_run=False)
    assert "--dry-run" not in calls()[2]["argv"]


def test_the_request_starts_training(dags) -> None:
    outlets = {asset.name for asset in dags["monitor_model"].get_task("request_training").outlets}
    assert outlets == {"training-request"}
    assert [asset.name for asset in dags["train_model"].timetable.asset_condition.objects] == ["training-request"]


def test_looks_every_hour_one_run_at_a_time(dags) -> None:
    dag = dags["monitor_model"]
    assert (dag.schedule, dag.catchup, dag.max_active_runs) == ("@hourly", False, 1)


def test_a_first_start_measures_at_the_next_full_hour_not_for_the_past_one(dags) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    scheduled = DagSerialization.from_dict(DagSerialization.to_dict(dags["monitor_model"]))
    now = datetime.now(UTC)
    assert scheduled.next_dagrun_info(last_automated_run_info=None).run_after > now


@pytest.mark.parametrize(
    ("requested", "config", "name", "data"),
    [
        ([], "form.yaml", "form", "form.csv"),
        ([{"config": "other.yaml", "name": "mine", "data": "a.csv"}], "other.yaml", "mine", "a.csv"),
        ([{"config": "other.yaml", "name": "mine"}, {"config": "last.yaml", "name": None}], "last.yaml", "", ""),
        ([{"from_rest_api": True}], "form.yaml", "", ""),
    ],
)
def test_training_is_of_the_model_that_asked_and_its_table(
    dags, requested: list[dict[str, object]], config: str, name: str, data: str
) -> None:
    task = dags["train_model"].get_task("train")
    updates = {"training-request": [SimpleNamespace(extra=extra) for extra in requested]} if requested else {}
    context = {
        "params": {"config": "form.yaml", "name": "form", "data": "form.csv"},
        "triggering_asset_events": updates,
    }
    rendered = task.render_template(task.env, context)
    assert (rendered["PIPELINE_CONFIG"], rendered["MODEL_NAME"], rendered["DATA_SOURCE"]) == (config, name, data)
