"""The DAG is run for real, as a scheduler would; only the program that its task starts is a stand-in."""

from pathlib import Path

import pytest
from conftest import dag_bag


@pytest.fixture
def dag(airflow_home: Path):
    """Parsed again for each test: a run leaves its parameters in the object."""
    return dag_bag().dags["score_table"]


def run(dag, **conf: object) -> str:
    return str(dag.test(run_conf=conf).state)


def test_scores_with_the_model_in_production(dag, programs) -> None:
    calls = programs()
    assert run(dag, input="data/mine.csv", output="scored/mine") == "success"
    [call] = calls()
    assert call["program"] == "spark-submit"
    assert call["argv"][2:] == [
        *["scripts/pipeline.py", "score", "--config", "pipeline.yaml", "--input", "data/mine.csv"],
        *["--output", "scored/mine", "--format", "parquet"],
    ]


def test_every_field_of_the_form_reaches_the_command(dag, programs) -> None:
    calls = programs()
    run(dag, input="x", version=3, format="csv", overwrite=True, name="mine", config="other.yaml")
    assert calls()[0]["argv"][2:] == [
        *[
            "scripts/pipeline.py",
            "score",
            "--config",
            "other.yaml",
            "--name",
            "mine",
            "--input",
            "x",
            "--output",
            "scored/new",
        ],
        *["--format", "csv", "--version", "3", "--overwrite"],
    ]


@pytest.mark.parametrize("value", ["$(touch {canary})", 'x" ; touch {canary} ; "', "{{{{ 7 * 6 }}}}"])
def test_what_the_form_says_is_never_run(dag, programs, tmp_path: Path, value: str) -> None:
    canary = tmp_path / "canary"
    table = value.format(canary=canary)
    calls = programs()
    assert run(dag, input=table) == "success"
    assert not canary.exists()
    assert table in calls()[0]["argv"]


@pytest.mark.parametrize(
    "conf",
    [
        {"output": "data/new"},
        {"output": "scored/../data"},
        {"output": "scored/a/b"},
        {"output": "/tmp/x"},  # noqa: S108  # never written
        {"input": ""},
        {"version": 0},
        {"format": "xlsx"},
        {"name": "../../etc"},
    ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_runs(dag, programs, conf: dict[str, object]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    calls = programs()
    with pytest.raises(ParamValidationError):
        run(dag, **conf)
    assert calls() == []


@pytest.mark.parametrize(("code", "tries"), [(1, 1), (2, 1), (3, 2)])
def test_a_refusal_is_final_and_an_accident_is_tried_once_more(dag, programs, code: int, tries: int) -> None:
    calls = programs(score=code)
    assert run(dag) == "failed"
    assert len(calls()) == tries


def test_the_scheduler_can_store_it(dag) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    stored = DagSerialization.to_dict(dag)
    assert DagSerialization.from_dict(stored).task_ids == ["score"]


def test_every_page_explains_itself(dag) -> None:
    assert all(f"`{task}`" in dag.doc_md for task in dag.task_ids)
    assert all(dag.params.get_param(name).schema.get("title") for name in dag.params)
