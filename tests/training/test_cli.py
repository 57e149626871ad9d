"""The command line: one JSON object on stdout, messages on stderr, exit codes 0 to 3."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from training import cli

ROOT = Path(__file__).parents[2]
PROGRAM = str(ROOT / "scripts" / "pipeline.py")
CONFIG = str(ROOT / "pipeline.yaml")


@dataclass(frozen=True)
class Done:
    """How a command ended, what it said on stdout and stderr, and what it logged (to stderr, outside of tests)."""

    code: int
    answer: dict[str, Any]
    said: str
    log: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Run:
    """Runs a command in this process."""
    monkeypatch.setattr(sys, "argv", [PROGRAM])

    def running(*arguments: str) -> Done:
        code = 0
        try:
            cli.main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Done(code, json.loads(said.out), said.err, caplog.text)

    return running


def test_a_bad_file_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    """Of the program itself, in a process of its own."""
    empty = tmp_path / "empty.csv"
    empty.touch()
    command = [sys.executable, PROGRAM, "check", "--config", CONFIG, "--data", str(empty)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["detail"] == f"{empty}: the file is empty"
    assert "Traceback" not in done.stderr
    assert f"error: {empty}: the file is empty\n  hint: " in done.stderr


def test_what_nobody_foresaw_is_no_refusal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(*_: object) -> NoReturn:
        raise OSError("disk full")

    monkeypatch.setattr(cli, "check", check)
    done = run("check", "--config", CONFIG)
    assert (done.code, done.answer["detail"]) == (3, "OSError: disk full")
    assert "Traceback" in done.log


def test_spark_needs_no_variables_of_a_person_at_a_terminal(tmp_path: Path) -> None:
    """Its workers run on this Python and not on the first one of PATH, with Java where `make setup` noted it."""
    code = "\n".join(
        [
            "import os, sys",
            "from training.data.spark import session",
            "spark = session('by hand')",
            "print(spark.sparkContext.range(1).map(lambda _: sys.executable).collect()[0])",
            "print(os.environ['SPARK_LOCAL_IP'], os.environ['JAVA_HOME'])",
        ]
    )
    other = tmp_path / "python3"
    other.write_text("#!/bin/sh\necho the wrong Python >&2; exit 1\n")
    other.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(ROOT / "scripts")}
    note = ROOT / "var" / "java_home"
    java = note.read_text().strip() if note.exists() else os.environ["JAVA_HOME"]
    if not note.exists():
        environment["JAVA_HOME"] = java
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == f"{sys.executable}\n127.0.0.1 {java}\n", done.stderr
    assert "Using Spark's default log4j profile" not in done.stderr


def test_a_wrong_key_is_exit_code_2(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("name: x\ndata: {source: a.csv, target: y}\nserch: {}\n")
    done = run("train", "--config", str(path))
    assert done.code == 2
    assert f"{path}:3: serch: unknown key" in done.said


def test_the_schema_is_json(run: Run) -> None:
    done = run("--schema")
    assert done.code == 0
    assert set(done.answer["properties"]) >= {"name", "data", "search", "gate"}


@pytest.mark.usefixtures("spark")
def test_another_table_without_the_segment_goes_without(tmp_path: Path, run: Run) -> None:
    rows = "".join(f"{i % 13 + 5},{i * 7 % 31},{i % 9}\n" for i in range(400))
    (tmp_path / "other.csv").write_text("alcohol,pH,quality\n" + rows)
    done = run("check", "--config", CONFIG, "--data", str(tmp_path / "other.csv"))
    assert done.code == 0, done.said
    assert "has no column 'type': groups are not judged" in done.log


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("promte",), "invalid choice: 'promte'"),
        (("rollback", "--two", "3"), "unrecognized arguments: --two 3"),
        (("train", "--trials", "many"), "invalid int value: 'many'"),
        (("score",), "the following arguments are required: --input, --output"),
        (("score", "--input", "a", "--output", "b", "--trials", "3"), "unrecognized arguments: --trials 3"),
    ],
)
def test_wrong_use_is_a_sentence_and_exit_code_2(arguments: tuple[str, ...], sentence: str, run: Run) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert sentence in done.answer["detail"]
    assert sentence in done.said
    assert "hint: See pipeline.py" in done.said


def test_scoring_refuses_a_place_that_is_taken(tmp_path: Path, run: Run) -> None:
    done = run("score", "--config", CONFIG, "--input", "absent.csv", "--output", str(tmp_path))
    assert done.code == 1
    assert done.answer["detail"] == f"{tmp_path}: expected nothing there yet, found something"
