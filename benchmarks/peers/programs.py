"""Environments for the peers, and their processes, which are started and stopped as in the benchmarks of rag/."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "rag" / "benchmarks"))

from processes import NotMeasured, answering, free_port, installed

__all__ = ["NotMeasured", "environment", "free_port", "running"]

VENVS = ROOT / ".venvs"
KEPT = ROOT / "var" / "peers"
# Nothing that is started here calls its maker.
QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "ORT_DISABLE_TELEMETRY": "1",
    "OTEL_SDK_DISABLED": "true",
}


def environment(name: str, needs: Sequence[str]) -> Path:
    """The `bin` folder of a peer's own environment under var/peers, made where it is not there. Raises NotMeasured."""
    folder, wanted = KEPT / name, "\n".join(needs)
    note = folder / "needs.txt"
    if note.is_file() and note.read_text(encoding="utf-8") == wanted:
        return folder / "bin"
    uv = str(VENVS / "uv" / "bin" / "uv")
    python = str(folder / "bin" / "python")
    installed([uv, "venv", "--quiet", "--clear", "--python", str(VENVS / "training" / "bin" / "python"), str(folder)])
    installed([uv, "pip", "install", "--quiet", "--python", python, *needs])
    note.write_text(wanted, encoding="utf-8")
    return folder / "bin"


def running(
    command: Sequence[object], address: str, folder: Path, variables: Mapping[str, str]
) -> AbstractContextManager[object]:
    """The command as a process, from when `address` answers 200 until the end of the block. Raises NotMeasured.

    It runs in `folder`, with the programs beside its own in front of PATH, because some start others by a bare name.
    """
    parts = [str(part) for part in command]
    path = f"{Path(parts[0]).parent}{os.pathsep}{os.environ['PATH']}"
    log = folder / f"{Path(parts[0]).name}-{time.monotonic_ns()}.log"
    return answering(parts, address, log, QUIET | variables | {"PATH": path}, folder)
