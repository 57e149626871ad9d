"""`make up`, against a stand-in for `docker` that shows what Compose would get."""

from pathlib import Path

import pytest

from stack import secret_files
from stack.up import up


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.yaml").write_text("# mine\nname: 'wine-quality'  # the model\ndata: {name: x}\n")
    docker = tmp_path / "docker"
    docker.write_text(
        '#!/bin/sh\n[ "$1" = info ] || [ "$2" = version ] && exit 0\necho "$*, $DEFAULT_MODEL, $API_KEY"\nexit 3\n'
    )
    docker.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("lines", "given", "model"),
    [
        ("", {}, "wine-quality"),
        ('DEFAULT_MODEL=""\n', {}, "wine-quality"),
        ("export DEFAULT_MODEL='churn'\n", {}, "churn"),
        ("DEFAULT_MODEL=churn\n", {"DEFAULT_MODEL": "fraud"}, "fraud"),
    ],
)
def test_the_default_model_is_the_configured_one_unless_another_is_named(
    root: Path, capfd: pytest.CaptureFixture[str], lines: str, given: dict[str, str], model: str
) -> None:
    (root / ".env").write_text(f"{lines}API_KEY='of $Compose'\n")
    assert up(root, {"PATH": f"{root}:/bin", **given}) == 3
    assert capfd.readouterr().out == f"compose up --build --wait, {model}, \n"  # Compose reads the rest of .env


def test_a_weak_secret_stops_production_before_anything_starts(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (root / ".env").write_text("COMPOSE_FILE=docker-compose.yml:docker-compose.production.yml\n")
    assert up(root, {"PATH": f"{root}:/bin"}) == 1
    said = capfd.readouterr()
    assert "make secrets" in said.err
    assert said.out == ""
    secret_files.write(root / "var" / "secrets")
    assert up(root, {"PATH": f"{root}:/bin"}) == 3


def test_without_docker_it_says_so(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert up(root, {"PATH": str(root / "nothing")}) == 1
    assert "no command `docker`" in capfd.readouterr().err


def test_without_compose_it_says_so(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (root / "docker").write_text('#!/bin/sh\n[ "$1" = info ] || { echo "unknown flag: --build" >&2; exit 1; }\n')
    assert up(root, {"PATH": f"{root}:/bin"}) == 1
    assert "install Docker's Compose plugin" in capfd.readouterr().err
