"""The command line: one JSON object on stdout, messages on stderr, exit codes 0 to 3."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "scripts" / "pipeline.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def test_a_bad_file_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    done = run("check", "--config", str(ROOT / "pipeline.yaml"), "--data", str(empty))
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["detail"] == f"{empty}: the file is empty"
    assert "Traceback" not in done.stderr
    assert f"error: {empty}: the file is empty\n  hint: " in done.stderr


def test_what_nobody_foresaw_is_no_refusal() -> None:
    step = "def check(*_): raise OSError('disk full')"
    command = [sys.executable, "-c", f"from training import cli\n{step}\ncli.check = check\ncli.main(['check'])"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 3
    assert json.loads(done.stdout)["detail"] == "OSError: disk full"
    assert "Traceback" in done.stderr


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


def test_a_wrong_key_is_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("name: x\ndata: {source: a.csv, target: y}\nserch: {}\n")
    done = run("train", "--config", str(path))
    assert done.returncode == 2
    assert f"{path}:3: serch: unknown key" in done.stderr


def test_the_schema_is_json() -> None:
    done = run("--schema")
    assert done.returncode == 0
    assert set(json.loads(done.stdout)["properties"]) >= {"name", "data", "search", "gate"}


def test_another_table_without_the_segment_goes_without(tmp_path: Path) -> None:
    rows = "".join(f"{i % 13 + 5},{i * 7 % 31},{i % 9}\n" for i in range(400))
    (tmp_path / "other.csv").write_text("alcohol,pH,quality\n" + rows)
    done = run("check", "--config", str(ROOT / "pipeline.yaml"), "--data", str(tmp_path / "other.csv"))
    assert done.returncode == 0, done.stderr
    assert "has no column 'type': groups are not judged" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("promte",), "invalid choice: 'promte'"),
        (("rollback", "--two", "3"), "unrecognized arguments: --two 3"),
        (("train", "--trials", "many"), "invalid int value: 'many'"),
    ],
)
def test_wrong_use_is_a_sentence_and_exit_code_2(arguments: tuple[str, ...], sentence: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert sentence in json.loads(done.stdout)["detail"]
    assert sentence in done.stderr
    assert "hint: pipeline.py" in done.stderr


def test_scoring_has_no_options_of_training(tmp_path: Path) -> None:
    options = ["--config", str(ROOT / "pipeline.yaml"), "--input", "absent.csv", "--output", str(tmp_path)]
    taken = run("score", *options)
    assert taken.returncode == 1
    assert json.loads(taken.stdout)["detail"] == f"{tmp_path}: expected nothing there yet, found something"
    assert "unrecognized arguments: --trials 3" in run("score", *options, "--trials", "3").stderr
    assert run("score").returncode == 2
