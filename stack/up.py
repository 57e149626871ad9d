"""`make up`: looks at the secrets where the stack has some, names the default model, and lets Compose do the rest.

Standard library only: containers need no environment. Compose reads `.env` itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from stack import secret_files
from stack.env_file import with_env_file

ROOT = Path(__file__).resolve().parent.parent


def up(root: Path, environment: Mapping[str, str]) -> int:
    """The exit code of `docker compose up`, or 1 where a secret is missing or weak."""
    settings = with_env_file(environment, root)
    if "production" in settings.get("COMPOSE_FILE", "") and secret_files.check(root / "var" / "secrets"):
        return 1
    model = re.search(r"^name:\s*[\"']?([^\s\"'#]+)", (root / "pipeline.yaml").read_text(encoding="utf-8"), re.M)
    default = settings.get("DEFAULT_MODEL") or (model[1] if model else "")
    command = ["docker", "compose", "up", "--build", "--wait"]
    try:
        return subprocess.run(command, cwd=root, env={**environment, "DEFAULT_MODEL": default}, check=False).returncode
    except FileNotFoundError:
        print("there is no command `docker`: install Docker with Compose 2.26, or use `make run`", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(up(ROOT, os.environ))
