"""The secrets of the production stack, one file each: `write FOLDER` makes those that are missing, `check FOLDER` ends
with 1 and a sentence for each that is missing or could be guessed. Standard library only: it also runs in a container.
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_bytes, token_hex

SHORTEST, FEWEST_DIFFERENT = 20, 8  # characters, as for the services' own keys
WEAK = ("changeme", "change-me", "password", "secret", "example", "default", "letmein", "qwerty", "12345", "your-key")
KEY_FILES = ("api_keys", "rag_keys")  # one key a line; the services read them themselves (docs/how-to/access.md)


def fernet_key() -> str:
    """32 random bytes, as Airflow wants them."""
    return base64.urlsafe_b64encode(token_bytes(32)).decode()


def long_key() -> str:
    """128 characters: HS512 wants 64 or more."""
    return token_hex(64)


MAKERS: dict[str, Callable[[], str]] = {
    "postgres_password": token_hex,
    "postgres_airflow_password": token_hex,
    "postgres_mlflow_password": token_hex,
    "postgres_rag_password": token_hex,
    "redis_password": token_hex,
    "airflow_fernet_key": fernet_key,
    "airflow_secret_key": long_key,
    "airflow_jwt_secret": long_key,
    "proxy_password": token_hex,
    "api_keys": token_hex,
    "rag_keys": token_hex,
}
# Empty until somebody writes them: the credentials of databases and buckets elsewhere (docs/how-to/production.md).
OPTIONAL = ("data_password", "data_s3", "mlflow_s3")


def write(folder: Path) -> list[str]:
    """Makes the secrets that are missing and returns their names.

    The folder is its owner's alone; that is what keeps them from others. The files are readable, because a container
    gets a file as it is, and none of its programs is root.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    missing = [name for name in (*MAKERS, *OPTIONAL) if not (folder / name).exists()]
    for name in missing:
        with (folder / name).open("x", encoding="ascii") as file:
            if name in MAKERS:
                file.write(next(f"{value}\n" for value in iter(MAKERS[name], "") if not weakness(name, value)))
        (folder / name).chmod(0o644)
    return missing


def problems(folder: Path) -> Iterator[str]:
    """A sentence for each secret that is missing or weak, with its name and never its value."""
    for name in (*MAKERS, *OPTIONAL):
        try:
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            yield f"{name} cannot be read ({error}); `make secrets` makes the missing ones"
            continue
        if name in OPTIONAL:
            continue
        if name in KEY_FILES:
            keys = [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]
        else:
            keys = lines[:1]
        if not keys or (name not in KEY_FILES and len(lines) != 1):
            yield f"{name}: expected {'a key' if name in KEY_FILES else 'one line'}, found {len(lines)} lines"
        for key in keys:
            if fault := weakness(name, key):
                yield f"{name} {fault}; remove the file, and `make secrets` makes a good one"


def weakness(name: str, value: str) -> str | None:
    """What is wrong with a value, or None."""
    if name == "airflow_fernet_key":
        return None if re.fullmatch(r"[\w-]{43}=", value, re.A) else "is not a Fernet key (32 bytes in URL-safe base64)"
    if not re.fullmatch(r"[\w.~-]*", value, re.A):
        return "may have only letters, digits and . _ ~ -, because it becomes a part of addresses"
    shortest = 64 if MAKERS[name] is long_key else SHORTEST
    if len(value) < shortest or len(set(value)) < FEWEST_DIFFERENT:
        return f"needs {shortest} characters or more, {FEWEST_DIFFERENT} of them different"
    found = next((word for word in WEAK if word in value.lower()), None)
    return f"contains {found!r}, so it could be guessed" if found else None


def check(folder: Path) -> int:
    """1 where a secret is missing or weak, and says which; else 0."""
    found = list(problems(folder))
    sys.stderr.writelines(f"{problem}\n" for problem in found)
    return 1 if found else 0


def main() -> int:
    """0, or 1 where `check` found something."""
    task, folder = sys.argv[1], Path(sys.argv[2])
    if task == "write":
        made = write(folder)
        print(f"{folder}: {', '.join(made)} made" if made else f"{folder}: all secrets exist; none was changed")
        return 0
    return check(folder)


if __name__ == "__main__":
    sys.exit(main())
