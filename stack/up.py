"""`make up`: looks at the secrets where the stack has some, names the default model, and lets Compose do the rest.

Standard library only: containers need no environment. Compose reads `.env` itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from stack import secret_files
from stack.compose import check_engine
from stack.env_file import with_env_file
from stack.errors import guarded
from stack.settings import ROOT, configured_name


def up(root: Path, environment: Mapping[str, str]) -> int:
    """The exit code of `docker compose up`, or 1 where a secret is missing or weak, or something else is."""
    settings = with_env_file(environment, root)
    if "production" in settings.get("COMPOSE_FILE", "") and secret_files.check(root / "var" / "secrets"):
        return 1
    command = ["docker", "compose", "up", "--build", "--wait"]

    def work() -> int:
        check_engine(root, environment)
        default = settings.get("DEFAULT_MODEL") or configured_name(root / "pipeline.yaml")
        return subprocess.run(command, cwd=root, env={**environment, "DEFAULT_MODEL": default}, check=False).returncode

    return guarded(work, interrupted="interrupted; `make down` stops what was started")


if __name__ == "__main__":
    sys.exit(up(ROOT, os.environ))
