"""What all DAGs have in common; and further pipelines: each file in `pipelines/` has DAGs of its own."""

from pathlib import Path

import pytest
from conftest import dag_bag, run

FILES = {
    "houses.yaml": "name: house-prices\ndata: {source: ../data/houses.csv, target: price}\n",
    "broken.yaml": "name: [\n",
    "more.yaml": "name: house-prices\n",
    "model.yaml": "name: model\n",
    "notes.txt": "no pipeline\n",
}


TASKS = {
    "train_model": ["check", "train", "promote", "verify", "not_promoted"],
    "monitor_model": ["monitor", "request_training"],
    "score_table": ["score"],
}


@pytest.mark.parametrize("name", TASKS)
def test_the_scheduler_can_store_each_and_every_page_explains_itself(dags, name: str) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    dag = dags[name]
    assert DagSerialization.from_dict(DagSerialization.to_dict(dag)).task_ids == TASKS[name]
    assert all(f"`{task}`" in dag.doc_md for task in TASKS[name])
    assert all(dag.params.get_param(field).schema.get("title") for field in dag.params)


@pytest.mark.parametrize(("name", "field"), [("train_model", "data"), ("score_table", "input")])
def test_what_the_form_says_is_never_run(dags, programs, tmp_path: Path, name: str, field: str) -> None:
    canary = tmp_path / "canary"
    said = f'$(touch {canary}) `touch {canary}` x; touch {canary} x" ; touch {canary} ; " {{{{ 7 * 6 }}}}'
    calls = programs()
    assert run(dags[name], **{field: said})["run"] == "success"
    assert not canary.exists()
    assert said in calls()[0]["argv"]


@pytest.mark.parametrize(
    ("name", "conf"),
    [
        *(("train_model", conf) for conf in ({"trials": 0}, {"trials": "many"}, {"gate": "sometimes"}, {"config": ""})),
        *(("score_table", {"output": folder}) for folder in ("data/new", "scored/../data", "scored/a/b", "/elsewhere")),
        *(("score_table", conf) for conf in ({"input": ""}, {"version": 0}, {"format": "xlsx"})),
        *((name, {"name": "../../etc"}) for name in ("train_model", "score_table")),
    ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_runs(
    dags, programs, name: str, conf: dict[str, object]
) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    calls = programs()
    with pytest.raises(ParamValidationError):
        run(dags[name], **conf)
    assert calls() == []


def test_what_the_files_share_is_no_dag(airflow_home: Path) -> None:
    found = {Path(file.file).name: file.dag_num for file in dag_bag().dagbag_stats}
    assert found.pop("tasks.py", 0) == found.pop("webhook.py", 0) == 0
    assert set(found.values()) == {1}


@pytest.fixture
def more(airflow_home: Path):
    """All DAGs where there are further pipelines."""
    folder = airflow_home / "pipelines"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    yield dag_bag().dags
    for name in FILES:
        (folder / name).unlink()
    folder.rmdir()


def test_the_list_of_dags_says_what_each_does_and_for_which_file(more) -> None:
    assert more["train_model"].description.endswith("serve it if it is better (pipeline.yaml)")
    assert more["score_house-prices"].description == "Predict every row of a table (pipelines/houses.yaml)"
    assert all(dag.description for dag in more.values())


def test_every_file_has_its_three_dags_and_the_projects_own_keeps_its_names(more) -> None:
    usual = {"train_model", "monitor_model", "score_table", "refresh_documents"}
    names = {"more", "broken", "house-prices", "model-2"}
    wanted = usual | {f"{kind}_{name}" for kind in ("train", "monitor", "score") for name in names}
    assert set(more) == wanted


def test_a_file_without_a_name_that_can_be_read_fails_in_its_check_and_stops_no_other(more, programs) -> None:
    calls = programs(check=2)
    assert run(more["train_broken"])["run"] == "failed"
    assert [call["argv"] for call in calls()] == [["scripts/pipeline.py", "check", "--config", "pipelines/broken.yaml"]]


def test_each_has_its_own_file_and_its_own_request(more, programs) -> None:
    calls = programs()
    assert run(more["score_house-prices"])["run"] == "success"
    assert calls()[0]["argv"][2:6] == ["scripts/pipeline.py", "score", "--config", "pipelines/houses.yaml"]
    [asked] = more["monitor_house-prices"].get_task("request_training").outlets
    [waited_for] = more["train_house-prices"].timetable.asset_condition.objects
    [promoted] = more["train_house-prices"].get_task("verify").outlets
    assert (asked.name, waited_for.name) == ("training-request-house-prices", "training-request-house-prices")
    assert promoted.name == "production-model-house-prices"
