"""What the drivers take from the environment."""

from pathlib import Path

import pytest

from stack.errors import StepFailed
from stack.settings import read_settings, slug


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.yaml").write_text("name: wine-quality  # a comment\ndata: {target: quality}\n")
    (tmp_path / "My Wines (2026).csv").write_text("a,b\n1,2\n")
    return tmp_path


def test_the_usual_ports_and_the_configured_name(root: Path) -> None:
    settings = read_settings({}, root)
    assert settings.ports == {"airflow": 8080, "mlflow": 5001, "api": 8000, "rag": 8001}
    assert (settings.model_name, settings.data, settings.url("api")) == ("wine-quality", None, "http://127.0.0.1:8000")


def test_a_variable_moves_a_port(root: Path) -> None:
    assert read_settings({"API_PORT": "9000"}, root).url("api") == "http://127.0.0.1:9000"


@pytest.mark.parametrize("value", ["http", "0", "70000", "-1", "80.5"])
def test_a_port_that_is_none_is_refused_by_name(root: Path, value: str) -> None:
    with pytest.raises(StepFailed, match=f"MLFLOW_PORT is '{value}'"):
        read_settings({"MLFLOW_PORT": value}, root)


def test_another_table_gives_the_model_its_name(root: Path) -> None:
    settings = read_settings({"DATA": str(root / "My Wines (2026).csv")}, root)
    assert settings.model_name == "my-wines-2026"
    assert settings.data == root / "My Wines (2026).csv"


@pytest.mark.parametrize(
    ("asked", "file", "dag"),
    [
        ("house-prices", "pipelines/houses.yaml", "train_house-prices"),
        ("houses", "pipelines/houses.yaml", "train_house-prices"),
        ("wine-quality", "pipeline.yaml", "train_model"),
    ],
)
def test_a_pipeline_goes_by_its_name_or_its_files(root: Path, asked: str, file: str, dag: str) -> None:
    (root / "pipelines").mkdir()
    (root / "pipelines" / "houses.yaml").write_text("name: house-prices\n")
    (root / "pipelines" / "broken.yaml").write_text("name: [\n")
    settings = read_settings({"PIPELINE": asked}, root)
    assert (settings.config, settings.dag("train")) == (root / file, dag)
    with pytest.raises(StepFailed, match="PIPELINE=nowhere: there is no such pipeline") as raised:
        read_settings({"PIPELINE": "nowhere"}, root)
    assert raised.value.hint == "choose one of: wine-quality, house-prices"


@pytest.mark.parametrize("variable", ["CONFIG", "DATA"])
def test_a_file_that_is_not_there_is_named(root: Path, variable: str) -> None:
    with pytest.raises(StepFailed, match=f"{variable}=.*nowhere.csv: there is no such file"):
        read_settings({variable: str(root / "nowhere.csv")}, root)


def test_an_address_belongs_into_a_pipeline_file(root: Path) -> None:
    with pytest.raises(StepFailed) as refused:
        read_settings({"DATA": "postgresql://db/wine?table=red"}, root)
    assert "data.source" in refused.value.hint


def test_a_folder_is_no_file(root: Path) -> None:
    with pytest.raises(StepFailed, match="there is no such file"):
        read_settings({"DATA": str(root)}, root)


@pytest.mark.parametrize("content", ["- a\n- list\n", "target: x\n", "name: [1]\n", "name: 'open\n"])
def test_a_pipeline_file_without_a_name_is_refused(root: Path, content: str) -> None:
    (root / "pipeline.yaml").write_text(content)
    with pytest.raises(StepFailed, match=r"pipeline\.yaml"):
        read_settings({}, root)


@pytest.mark.parametrize("name", ["german credit", "'german credit'", "a/b", "-x"])
def test_a_name_that_no_registry_takes_is_told_with_one_that_it_does(root: Path, name: str) -> None:
    (root / "pipeline.yaml").write_text(f"name: {name}  # ours\n")
    with pytest.raises(StepFailed, match=f"the name {name!r}" if "'" not in name else "german credit") as raised:
        read_settings({}, root)
    assert f"name: {slug(name)}" in raised.value.hint


def test_a_slug_is_never_empty() -> None:
    assert (slug("Weiß & Rot"), slug("***")) == ("wei-rot", "model")


def test_the_env_file_is_read_as_compose_reads_it(root: Path) -> None:
    (root / ".env").write_text(
        "# API_KEY=commented\n\nAPI_PORT=9100\nexport RAG_PORT = 9200   # a comment\n"
        'API_KEY=\'p#a$$s "word"\'\nDOUBLE="with \\"quotes\\" # kept"\nMONEY=a$$b\nUNQUOTED=a#b\nEMPTY=\n'
        "ABOVE=${API_PORT}/x\nUSUAL=${NOWHERE:-other}\n"
    )
    settings = read_settings({"RAG_PORT": "9300"}, root)
    assert (settings.ports["api"], settings.ports["rag"]) == (9100, 9300)
    expected = {"API_KEY": 'p#a$$s "word"', "DOUBLE": 'with "quotes" # kept', "MONEY": "a$b", "UNQUOTED": "a#b"}
    expected |= {"EMPTY": "", "ABOVE": "9100/x", "USUAL": "other"}
    assert {name: settings.environment[name] for name in expected} == expected
