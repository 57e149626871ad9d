"""Running the suites, with a stand-in for the interpreters: it writes down what it was started with."""

import tomllib
from pathlib import Path

import pytest

from stack import suite
from stack.settings import ROOT, Settings, read_settings

STAND_IN = """#!/bin/sh
echo "$(basename $PWD) $@" >> {calls}
case "$*" in *{failing}*) exit 1;; esac
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "pipeline.yaml").write_text("name: wine-quality\n")
    (tmp_path / "rag").mkdir()
    (tmp_path / "var" / "coverage").mkdir(parents=True)
    (tmp_path / "var" / "java_home").write_text("/opt/java\n")
    found = read_settings({"PATH": "/usr/bin:/bin"}, tmp_path)
    monkeypatch.setattr(suite, "read_settings", lambda: found)
    return found


def install(settings: Settings, failing: str = "nothing") -> Path:
    calls = settings.root / "calls"
    for name in ("api", "training", "airflow", "rag", "dev"):
        python = Path(settings.python(name))
        python.parent.mkdir(parents=True)
        python.write_text(STAND_IN.format(calls=calls, failing=failing))
        python.chmod(0o755)
    return calls


def test_runs_every_suite_and_then_counts_the_branches_of_all(settings: Settings) -> None:
    calls = install(settings)
    (settings.var / "coverage" / ".coverage.old").write_text("from the run before")
    assert suite.main([]) == 0
    lines = calls.read_text().splitlines()
    assert [line.split()[2] for line in lines] == ["pytest"] * 7 + ["coverage"] * 2
    assert lines[-1].endswith(f"--fail-under={suite.LEAST_COVERAGE}")
    assert [line.split()[0] for line in lines if line.endswith(" tests")] == ["rag"]
    assert sorted(path.suffix for path in (settings.var / "coverage").iterdir()) == [".log"] * 8


def test_only_the_named_suites_run_with_the_given_options(settings: Settings) -> None:
    calls = install(settings)
    assert suite.main(["rag", "-x"]) == 0
    assert calls.read_text().splitlines() == ["rag -m pytest --cov-branch --cov-report= --cov=rag_service tests -x"]


@pytest.mark.parametrize("failing", ["tests/dags", "fail-under"])
def test_one_failure_fails_the_whole_after_all_have_run(
    settings: Settings, failing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = install(settings, failing)
    assert suite.main([]) == 1
    assert len(calls.read_text().splitlines()) == 9
    assert ("dags       FAILED (1)" in capsys.readouterr().out) == (failing == "tests/dags")


@pytest.mark.parametrize("folder", [ROOT, ROOT / "rag"])
def test_only_the_suites_count_branches_so_one_file_alone_passes(folder: Path) -> None:
    settings = tomllib.loads((folder / "pyproject.toml").read_text())
    assert "--cov" not in settings["tool"]["pytest"]["ini_options"]["addopts"]
