"""The secrets of the production stack: made once, kept, and refused by name where they could be guessed."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stack import secret_files

PROGRAM = secret_files.__file__


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    secret_files.write(tmp_path / "secrets")
    return tmp_path / "secrets"


def check(folder: Path) -> tuple[int, str]:
    """As the container does it: by the file's path, with the program's folder among those of Python's modules."""
    command = [sys.executable, "-B", PROGRAM, "check", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_makes_good_ones_that_no_other_user_reaches(folder: Path) -> None:
    assert check(folder) == (0, "")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    values = {path.read_text() for path in folder.iterdir()}
    assert len(values) == len(secret_files.MAKERS) + 1
    assert {(folder / name).read_text() for name in secret_files.OPTIONAL} == {""}


def test_never_overwrites_one(folder: Path) -> None:
    (folder / "api_keys").unlink()
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert secret_files.write(folder) == ["api_keys"]
    assert {path.name: path.read_text() for path in folder.iterdir() if path.name != "api_keys"} == before


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("redis_password", None, "redis_password cannot be read"),
        ("redis_password", "", "redis_password: expected one line, found 0 lines"),
        ("postgres_password", "0f1e2d3c4b", "postgres_password needs 20 characters or more, 8 of them different"),
        ("postgres_password", "a" * 40, "postgres_password needs 20 characters or more, 8 of them different"),
        ("proxy_password", "ChangeMe-0123456789abcdef", "proxy_password contains 'changeme'"),
        ("postgres_mlflow_password", "p@ss/0123456789abcdefgh", "postgres_mlflow_password may have only letters"),
        ("airflow_jwt_secret", "0123456789abcdef0f1e2d3c4b5a", "airflow_jwt_secret needs 64 characters"),
        ("airflow_fernet_key", "0123456789abcdef0f1e2d3c4b5a", "airflow_fernet_key is not a Fernet key"),
        ("api_keys", "# none yet\n", "api_keys: expected a key, found 1 lines"),
        ("rag_keys", "0f1e2d3c4b5a69788796 read\nshorter write wines\n", "rag_keys needs 20 characters"),
    ],
)
def test_a_weak_one_is_refused_by_name_and_not_shown(folder: Path, name: str, value: str | None, said: str) -> None:
    (folder / name).unlink()
    if value is not None:
        (folder / name).write_text(value)
    code, errors = check(folder)
    assert code == 1
    assert errors.startswith(said)
    assert len(errors.splitlines()) == 1
    assert not value or value.strip() not in errors
