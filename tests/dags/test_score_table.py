"""The DAG is run for real, as a scheduler would; only the program that its task starts is a stand-in."""

import pytest
from conftest import run


@pytest.fixture
def dag(dags):
    return dags["score_table"]


def test_scores_with_the_model_in_production(dag, programs) -> None:
    calls = programs()
    assert run(dag, input="data/mine.csv", output="scored/mine")["run"] == "success"
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
        *["scripts/pipeline.py", "score", "--config", "other.yaml", "--name", "mine", "--input", "x"],
        *["--output", "scored/new", "--format", "csv", "--version", "3", "--overwrite"],
    ]


@pytest.mark.parametrize(("code", "tries"), [(1, 1), (2, 1), (3, 4)])
def test_a_refusal_is_final_and_an_accident_is_tried_three_times_more(dag, programs, code: int, tries: int) -> None:
    calls = programs(score=code)
    assert run(dag)["run"] == "failed"
    assert len(calls()) == tries
