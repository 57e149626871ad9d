"""`make keys`: a table for people, from the job's own schema."""

import pytest

from stack import keys
from stack.settings import ROOT, Settings, read_settings

PYTHON = ROOT / ".venvs" / "training" / "bin" / "python"


@pytest.fixture(scope="module")
def settings() -> Settings:
    if not PYTHON.exists():
        pytest.skip("the training environment is not there: make setup")
    return read_settings({}, ROOT)


def test_every_key_of_the_jobs_schema_is_explained(settings: Settings) -> None:
    found = {name: (default, said) for name, default, said in keys.keys(keys.read_schema(settings))}
    assert found["data.target"] == ("(required)", "the column to predict")
    assert found["data.task"] == ("regression", "a number, or a label; of: regression, classification")
    assert found["data.segment"][0] == "none"
    assert found["search.candidates"][0] == "[extra_trees, random_forest, xgboost]"
    assert found["checks.ranges"] == ("{}", "column: [lowest, highest] allowed value")
    assert not [name for name, (_, said) in found.items() if not said]


def test_the_table_shows_brackets_as_they_are(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stack.keys.read_settings", lambda: settings)
    monkeypatch.setenv("COLUMNS", "150")
    assert keys.main() == 0
    assert "column: [lowest, highest] allowed value" in capsys.readouterr().out
