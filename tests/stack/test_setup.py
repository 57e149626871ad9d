"""Making the environments: what can be tried without installing anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from stack import setup

REQUIREMENTS = {"dev": ("dev.lock",)}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, with one empty lock file and a stand-in for uv that writes down its calls."""
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "VENVS", tmp_path / ".venvs")
    monkeypatch.setattr(setup, "LOCKS", REQUIREMENTS)
    (tmp_path / "dev.lock").write_text("one==1\n")
    uv = tmp_path / "uv"
    uv.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$1" = venv ] && mkdir -p {tmp_path}/.venvs/dev\nexit 0\n'
    )
    uv.chmod(0o755)
    return tmp_path


def fake_java(folder: Path, version: str) -> str:
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho '    java.home = {folder}' >&2\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    return str(java)


def test_installs_by_hash_and_only_when_the_lock_changed(project: Path) -> None:
    uv = project / "uv"
    assert setup.provide_environment("dev", uv)
    install = (project / "calls").read_text().splitlines()[1]
    assert "--require-hashes" in install
    assert install.endswith(f"-r {project / 'dev.lock'}")
    assert not setup.provide_environment("dev", uv)
    (project / "dev.lock").write_text("one==2\n")
    assert setup.provide_environment("dev", uv)


def test_an_environment_that_failed_is_tried_again(project: Path) -> None:
    uv = project / "uv"
    uv.write_text("#!/bin/sh\necho no route to the index\nexit 1\n")
    for _ in range(2):
        with pytest.raises(setup.SetupError, match="no route to the index"):
            setup.provide_environment("dev", uv)


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


def test_another_python_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(setup.sys, "version_info", (3, 9, 2))
    assert setup.main() == 1
    said = capsys.readouterr().err
    assert "Python 3.11 is needed" in said
    assert "is 3.9.2" in said
    assert "make PYTHON=" in said


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
    monkeypatch.setattr(
        setup, "LOCKS", dict.fromkeys(("dev", "api", "airflow", "training", "rag", "clients"), ("dev.lock",))
    )
    monkeypatch.setenv("TORCH_INDEX", "https://example.org/cpu")
    monkeypatch.setenv("JAVA_HOME", str(project))
    (project / "bin").mkdir()
    fake_java(project / "bin", "21")
    for name in ("uv", "dev", "api", "airflow", "training", "rag", "clients"):
        (project / ".venvs" / name / "bin").mkdir(parents=True)
    assert setup.main() == 0
    torch = next(command for command in commands if setup.TORCH in command)
    assert torch[-1] == "https://example.org/cpu"
    assert commands.index(torch) < commands.index(
        next(c for c in commands if ".venvs/rag/" in " ".join(c) and "-r" in c)
    )
    assert (project / "var" / "java_home").read_text() == f"{project / 'bin'}\n"
    assert "setup: rag" in capsys.readouterr().out
    (project / ".venvs" / "uv" / "bin" / "uv").touch()
    (project / "api" / "prediction_api" / "models").mkdir(parents=True)
    (project / "api" / "prediction_api" / "models" / "forest.c").touch()
    (project / ".venvs" / "api" / "lib").mkdir()
    (project / ".venvs" / "api" / "lib" / "prediction_api_forest.so").touch()
    commands.clear()
    assert setup.main() == 0
    assert commands == []
    assert capsys.readouterr().out == ""
