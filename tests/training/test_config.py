"""pipeline.yaml: what is read, and how a mistake is reported."""

from pathlib import Path

import pytest
from training import config
from training.errors import ConfigError

ROOT = Path(__file__).parents[2]
SMALL = "name: demo\ndata:\n  source: table.csv\n  target: y\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "pipeline.yaml"
    path.write_text(text)
    return path


def test_the_projects_own_file_is_valid() -> None:
    loaded = config.load(ROOT / "pipeline.yaml")
    assert (loaded.name, loaded.data.target, loaded.gate_metric) == ("wine-quality", "quality", "mae")


@pytest.mark.parametrize(
    ("addition", "line", "told"),
    [
        ("search:\n  trails: 3\n", 6, "search.trails: unknown key; did you mean search.trials?"),
        ("checks:\n  min_rows: many\n", 6, "checks.min_rows"),
        ("gate:\n  mode: maybe\n", 6, "gate.mode"),
        ("colour: red\n", 5, "colour: unknown key"),
        ("target: quality\n", 5, "target: unknown key; did you mean data.target?"),
        ("serving: {threshold: {label: a, precison: 0.9}}\n", 5, "did you mean serving.threshold.precision?"),
        ("search:\n  candidates: [xgboost, oracle]\n", 6, "search.candidates.1"),
        ("search:\n  engine: spark\n", 5, "set candidates: [xgboost]"),
        ("serving:\n  alias: v1\n", 6, "serving.alias: 'v1' is a name of MLflow's own"),
        ("serving:\n  alias: Latest\n", 6, "'Latest' is a name of MLflow's own"),
        ("serving:\n  alias: a.b\n", 6, "expected letters, digits, _ and -, found 'a.b'"),
        ("monitor: {windows: 4, of: 3}\n", 5, "4 of the last 3 windows can never be"),
        ("serving:\n  alias: ''\n", 6, "expected letters, digits, _ and -, found ''"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, addition: str, line: int, told: str) -> None:
    path = written(tmp_path, SMALL + addition)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert f"{path}:{line}: " in caught.value.message
    assert told in caught.value.message


def test_labels_columns_and_words_are_as_written(tmp_path: Path) -> None:
    data = "{source: table.csv, target: 2024, task: classification, missing: [null, -999, no, 1e5]}"
    text = f"name: 7\ndata: {data}\n"
    loaded = config.load(written(tmp_path, f"{text}serving: {{threshold: {{label: yes, precision: 0.9}}}}\n"))
    assert (loaded.name, loaded.data.target, loaded.data.missing) == ("7", "2024", ["null", "-999", "no", "1e5"])
    assert (loaded.serving.threshold.label, loaded.serving.threshold.precision) == ("yes", 0.9)
    assert config.load(written(tmp_path, f"{text}split: {{column: null, seed: 3}}\n")).split.column is None


def test_a_missing_key_names_its_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"yaml:2: data.target: Field required"):
        config.load(written(tmp_path, "name: demo\ndata:\n  source: table.csv\n"))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "name: [unclosed", "name: \x01"])
def test_what_is_no_pipeline_file_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"pipeline\.yaml"):
        config.load(written(tmp_path, text))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        config.load(tmp_path / "absent.yaml")


def test_a_metric_of_another_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"search\.metric: 'accuracy' is not one of mae, rmse"):
        config.load(written(tmp_path, SMALL + "search: {metric: accuracy}\n"))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    more = "search: {trials: 0, metric: accuracy}\ngate: {limits: {f1: 0.5}}\nmonitor: {of: none}\n"
    with pytest.raises(ConfigError) as caught:
        config.load(written(tmp_path, SMALL + more))
    for mistake in (
        "search.trials",
        "monitor.of",
        "search.metric: 'accuracy' is",
        "gate.limits.f1: 'f1' is not one of",
    ):
        assert caught.value.message.count(mistake) == 1


def test_a_task_that_is_none_says_nothing_of_the_metrics(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(written(tmp_path, SMALL + "  task: classify\nsearch: {metric: accuracy, trials: 0}\n"))
    assert len(caught.value.message.splitlines()) == 2


def test_options_win_over_the_file_and_paths_are_the_files_own(tmp_path: Path) -> None:
    loaded = config.load(written(tmp_path, SMALL), {"search.trials": 3, "name": "other"})
    assert (loaded.search.trials, loaded.name) == (3, "other")
    assert loaded.data.source == str(tmp_path / "table.csv")


def test_the_key_follows_what_training_reads_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    key = config.load(path).training_key("digest")
    assert config.load(path, {"gate.mode": "off"}).training_key("digest") == key
    assert config.load(path, {"data.source": "moved.csv"}).training_key("digest") == key
    assert config.load(path, {"search.trials": 3}).training_key("digest") != key
    assert config.load(path).training_key("other digest") != key
