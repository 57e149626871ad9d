"""The calls to the container engine, against a stand-in for `docker` that answers as the real one does."""

from pathlib import Path

import pytest

from stack import compose
from stack.compose import Compose
from stack.errors import EngineMissing, StepFailed

PS = '{"Service":"api","ID":"aaaaaaaaaaaa"}\n{"Service":"rag","ID":"bbbbbbbbbbbb"}'
STATS = '{"ID":"bbbbbbbbbbbb","MemUsage":"1.5GiB / 3GiB"}\n{"ID":"aaaaaaaaaaaa","MemUsage":"74MiB / 512MiB"}'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.yaml").write_text("name: wine-quality\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("a\n1\n")
    return tmp_path


def environment(root: Path, **variables: str) -> dict[str, str]:
    return {"PATH": f"{root}:/usr/bin:/bin"} | variables


@pytest.mark.parametrize(("text", "value"), [("1.5GiB", 1536), ("512MiB", 512), ("1024KiB ", 1), ("0B", 0)])
def test_reads_the_engines_units(text: str, value: float) -> None:
    assert compose.megabytes(text) == value


def test_no_engine_is_told_with_another_way(root: Path) -> None:
    with pytest.raises(EngineMissing, match="no command `docker`") as missing:
        compose.check_engine(root, {"PATH": "/nowhere"})
    assert "make demo" in missing.value.hint


def test_an_engine_that_does_not_answer_is_quoted(root: Path, docker) -> None:
    docker({})
    with pytest.raises(EngineMissing, match="no info"):
        compose.check_engine(root, environment(root))


def test_an_engine_without_compose_is_named(root: Path, docker) -> None:
    docker({"info": "{}"})
    with pytest.raises(EngineMissing, match="Docker has no Compose"):
        compose.check_engine(root, environment(root))


def test_a_failed_command_shows_its_last_lines(root: Path, docker) -> None:
    docker({})
    with pytest.raises(StepFailed, match=r"docker compose --ansi never -p mine up ended with 5\nno compose"):
        Compose(root, environment(root), "mine").run("up")


def test_memory_is_given_by_service(root: Path, docker) -> None:
    docker({"never ps": PS, "stats": STATS})
    assert Compose(root, environment(root)).memory() == {"api": 74.0, "rag": 1536.0}


def test_a_command_that_hangs_is_ended(root: Path, tmp_path: Path) -> None:
    fake = tmp_path / "docker"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    path = str(tmp_path) + ":/usr/bin:/bin"
    with pytest.raises((StepFailed, EngineMissing), match="took longer than 0 s"):
        compose.docker(["info"], root, {"PATH": path}, seconds=0.2)
