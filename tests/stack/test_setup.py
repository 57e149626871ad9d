"""Making the environments: what can be tried without installing anything."""

import ast
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack import setup


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, with two lock files and a stand-in for uv that writes down its calls."""
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "VENVS", tmp_path / ".venvs")
    (tmp_path / "dev.lock").write_text("one==1\n")
    (tmp_path / "tests.lock").write_text("one==1\ntwo==1\n")
    uv = tmp_path / "uv"
    made = tmp_path / ".venvs" / "dev" / "bin"
    uv.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nif [ "$1" = venv ]; then mkdir -p {made}; touch {made}/python; fi\n'
    )
    uv.chmod(0o755)
    return tmp_path


def fake_java(folder: Path, version: str) -> str:
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho '    java.home = {folder}' >&2\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    return str(java)


def installs(project: Path, locks: list[str]) -> list[str]:
    """The lock files that uv is asked to install."""
    calls = project / "calls"
    calls.write_text("")
    setup.provide_environment("dev", project / "uv", locks)
    lines = [line for line in calls.read_text().splitlines() if line.startswith("pip install")]
    assert all("--require-hashes" in line for line in lines)
    return [Path(line.split()[-1]).name for line in lines]


def test_installs_by_hash_and_only_when_the_lock_changed(project: Path) -> None:
    assert installs(project, ["dev.lock"]) == ["dev.lock"]
    assert installs(project, ["dev.lock"]) == []
    (project / "dev.lock").write_text("one==2\n")
    assert installs(project, ["dev.lock"]) == ["dev.lock"]


def test_what_was_added_once_is_kept_up_to_date(project: Path) -> None:
    installs(project, ["dev.lock"])
    assert installs(project, ["dev.lock", "tests.lock"]) == ["dev.lock", "tests.lock"]
    assert installs(project, ["dev.lock"]) == []
    (project / "tests.lock").write_text("one==1\ntwo==2\n")
    assert installs(project, ["dev.lock"]) == ["dev.lock", "tests.lock"]


def test_a_word_that_adds_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert setup.main(["test"]) == 1
    assert "WITH=test: what can be added is tests, bulk, torch, classes" in capsys.readouterr().err


def test_each_test_lock_has_the_versions_that_run() -> None:
    pin = re.compile(r"^([\w.-]+)(?:\[.*\])?==(\S+)", re.M)
    for word, locks in setup.ADDED.items():
        for name, lock in locks.items():
            runs, added = (dict(pin.findall((setup.ROOT / one).read_text())) for one in (setup.LOCKS[name][0], lock))
            assert {one: added.get(one) for one in runs} == runs, f"{word}: {lock}; write it again: make lock"


def test_only_a_terminal_sees_the_seconds_move(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    with setup.progress("rag", 0.001):
        while "\r" not in sys.stdout.getvalue():
            pass
    assert re.fullmatch(r"(setup: rag +\d\.\d s\r)+setup: rag +\d\.\d s\n", sys.stdout.getvalue())


def test_an_environment_that_failed_is_tried_again(project: Path) -> None:
    uv = project / "uv"
    uv.write_text("#!/bin/sh\necho no route to the index\nexit 1\n")
    for _ in range(2):
        with pytest.raises(setup.SetupError, match="no route to the index"):
            setup.provide_environment("dev", uv, ["dev.lock"])


def test_without_a_c_compiler_setup_goes_on_and_with_one_it_compiles_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = project / "api" / "prediction_api" / "models" / "forest.c"
    source.parent.mkdir(parents=True)
    source.write_text("int trees;\n")
    library = project / ".venvs" / "api" / "lib" / "prediction_api_forest.so"
    library.parent.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(project))
    setup.provide_forest()
    assert not library.exists()
    compiler = project / "cc"
    compiler.write_text("#!/bin/sh\necho 'no such header' >&2\nexit 1\n")
    compiler.chmod(0o755)
    setup.provide_forest()
    assert "no such header" in capsys.readouterr().err
    compiler.write_text(f"#!/bin/sh\necho > '{library}'\n")
    setup.provide_forest()
    setup.provide_forest()
    assert capsys.readouterr().out.count("setup: forest") == 1


def test_an_old_python_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(setup.sys, "version_info", (3, 8, 2))
    assert setup.main([]) == 1
    said = capsys.readouterr().err
    assert "Python 3.9 or newer is needed" in said
    assert "is 3.8.2" in said
    assert "make PYTHON=" in said


def test_the_environments_have_the_python_of_the_locks_whichever_starts_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, wanted in (((3, 11, 2), sys.executable), ((3, 9, 6), "3.11"), ((3, 14, 0), "3.11")):
        monkeypatch.setattr(setup.sys, "version_info", version)
        setup.provide_environment("dev", project / "uv", ["dev.lock"])
        (project / ".venvs" / "dev" / "bin" / "python").unlink()  # so that it is made again
        made = (project / "calls").read_text().splitlines()[-2]
        assert f"--python {wanted} " in made


@pytest.mark.parametrize("module", ["setup", "up", "operate", "doctor", "secret_files", "state/backup", "state/move"])
def test_what_runs_without_an_environment_keeps_to_the_grammar_of_python_3_9(module: str) -> None:
    for file in reached(setup.ROOT / "stack" / f"{module}.py"):
        ast.parse(file.read_text(), feature_version=setup.OLDEST_PYTHON)


def reached(file: Path) -> set[Path]:
    """The file, and those of `stack` that it imports when it is imported itself."""
    found, left = set(), {file}
    while left:
        found |= left
        code = "\n".join(one.read_text() for one in left)
        names = re.findall(r"^from (stack[.\w]*) import (.+)", code, re.M)
        paths = {
            setup.ROOT / where.replace(".", "/") / f"{name}.py" for where, many in names for name in many.split(", ")
        }
        paths |= {setup.ROOT / f"{where.replace('.', '/')}.py" for where, _ in names}
        left = {path for path in paths if path.exists()} - found
    return found


@pytest.mark.parametrize(
    ("version", "taken"), [("17.0.15", True), ("21", True), ("25.0.2", True), ("11.0.2", False), ("1.8.0", False)]
)
def test_only_a_java_that_spark_can_use_is_taken(tmp_path: Path, version: str, taken: bool) -> None:
    assert setup.java_home_of(fake_java(tmp_path, version)) == (tmp_path if taken else None)


def test_no_java_is_no_error(tmp_path: Path) -> None:
    assert setup.java_home_of(str(tmp_path / "java")) is None


def test_the_machines_own_java_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, "21.0.1")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert setup.provide_java(tmp_path / "no-uv") == tmp_path


def test_the_wrapped_java_drops_the_missing_module_and_nothing_else(tmp_path: Path) -> None:
    runtime = tmp_path / "run time"
    (runtime / "bin").mkdir(parents=True)
    (runtime / "lib").mkdir()
    real = runtime / "bin" / "java"
    real.write_text('#!/bin/sh\nfor argument; do echo "<$argument>"; done\n')
    real.chmod(0o755)
    home = setup.wrap_runtime(runtime, tmp_path / "home")
    home = setup.wrap_runtime(runtime, tmp_path / "home")  # a second time changes nothing
    arguments = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-Dname=a b", "Main"]
    said = subprocess.run([home / "bin" / "java", *arguments], check=True, capture_output=True, text=True).stdout
    assert said.splitlines() == ["<-Xmx1g>", "<-Dname=a b>", "<Main>"]
    assert (home / "lib").resolve() == runtime / "lib"


def test_it_starts_with_nothing_but_the_standard_library() -> None:
    code = f"import sys; sys.path.insert(0, {str(setup.ROOT)!r}); from stack import setup"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, timeout=30)


def test_a_whole_setup_is_silent_the_second_time(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything is called as on a real machine; only the commands themselves are written down instead of run."""
    commands: list[list[str]] = []

    monkeypatch.setattr(setup, "run", lambda command, *_: commands.append(command))
    monkeypatch.setattr(setup, "LOCKS", dict.fromkeys(("dev", "api", "airflow", "training", "rag"), ("dev.lock",)))
    monkeypatch.setattr(setup, "ADDED", {"torch": {"rag": "tests.lock"}, "tests": {}, "classes": {}})
    monkeypatch.setattr(setup, "NEEDS_TORCH", {"tests.lock"})
    monkeypatch.setattr(setup, "CLIENTS_LOCK", "dev.lock")
    monkeypatch.setenv("TORCH_INDEX", "https://example.org/cpu")
    monkeypatch.setenv("JAVA_HOME", str(project))
    (project / "bin").mkdir()
    fake_java(project / "bin", "21")
    for name in ("uv", "dev", "api", "airflow", "training", "rag", "clients"):
        (project / ".venvs" / name / "bin").mkdir(parents=True)
        (project / ".venvs" / name / "bin" / "python").touch()
    assert setup.main([]) == 0
    assert not any(setup.TORCH in command or ".venvs/clients" in " ".join(command) for command in commands)
    assert setup.main(["torch", "tests", "classes"]) == 0
    torch = next(command for command in commands if setup.TORCH in command)
    assert torch[-1] == "https://example.org/cpu"
    assert commands.index(torch) < commands.index(
        next(command for command in commands if command[-1].endswith("tests.lock"))
    )
    assert (project / "var" / "java_home").read_text() == f"{project / 'bin'}\n"
    said = capsys.readouterr().out
    assert said.startswith("setup: once, the environments: ")
    assert said.count("setup: rag") == 2
    (project / ".venvs" / "uv" / "bin" / "uv").touch()
    (project / "api" / "prediction_api" / "models").mkdir(parents=True)
    (project / "api" / "prediction_api" / "models" / "forest.c").touch()
    (project / ".venvs" / "api" / "lib").mkdir()
    (project / ".venvs" / "api" / "lib" / "prediction_api_forest.so").touch()
    commands.clear()
    assert setup.main(["tests", "classes"]) == 0
    assert commands == []
    assert capsys.readouterr().out == ""
