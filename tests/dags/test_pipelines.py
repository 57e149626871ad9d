"""Further pipelines: each file in `pipelines/` has DAGs of its own."""

from pathlib import Path

import pytest
from conftest import dag_bag

FILES = {
    "houses.yaml": "name: house-prices\ndata: {source: ../data/houses.csv, target: price}\n",
    "broken.yaml": "name: [\n",
    "more.yaml": "name: house-prices\n",
    "model.yaml": "name: model\n",
    "notes.txt": "no pipeline\n",
}


@pytest.fixture
def dags(airflow_home: Path):
    folder = airflow_home / "pipelines"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    yield dag_bag().dags
    for name in FILES:
        (folder / name).unlink()
    folder.rmdir()


def test_every_file_has_its_three_dags_and_the_projects_own_keeps_its_names(dags) -> None:
    usual = {"train_model", "monitor_model", "score_table", "refresh_documents"}
    names = {"more", "broken", "house-prices", "model-2"}
    wanted = usual | {f"{kind}_{name}" for kind in ("train", "monitor", "score") for name in names}
    assert set(dags) == wanted


def test_a_file_without_a_name_that_can_be_read_fails_in_its_check_and_stops_no_other(dags, programs) -> None:
    calls = programs(check=2)
    assert str(dags["train_broken"].test().state) == "failed"
    assert [call["argv"] for call in calls()] == [["scripts/pipeline.py", "check", "--config", "pipelines/broken.yaml"]]


def test_each_has_its_own_file_and_its_own_request(dags, programs) -> None:
    calls = programs()
    assert str(dags["score_house-prices"].test().state) == "success"
    assert calls()[0]["argv"][2:6] == ["scripts/pipeline.py", "score", "--config", "pipelines/houses.yaml"]
    [asked] = dags["monitor_house-prices"].get_task("request_training").outlets
    [waited_for] = dags["train_house-prices"].timetable.asset_condition.objects
    [promoted] = dags["train_house-prices"].get_task("verify").outlets
    assert (asked.name, waited_for.name) == ("training-request-house-prices", "training-request-house-prices")
    assert promoted.name == "production-model-house-prices"
