"""Environments for the peers, and processes that are stopped again."""

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

ROOT = Path(__file__).resolve().parents[2]
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


class NotMeasured(Exception):
    """A server could not be installed or started, or does not give the forest's predictions. The message says why."""


def environment(name: str, needs: Sequence[str]) -> Path:
    """The `bin` folder of a peer's own environment under var/peers, made where it is not there. Raises NotMeasured."""
    folder, wanted = KEPT / name, "\n".join(needs)
    note = folder / "needs.txt"
    if note.is_file() and note.read_text(encoding="utf-8") == wanted:
        return folder / "bin"
    uv = str(VENVS / "uv" / "bin" / "uv")
    python = str(folder / "bin" / "python")
    commands = [
        [uv, "venv", "--quiet", "--clear", "--python", str(VENVS / "training" / "bin" / "python"), str(folder)],
        [uv, "pip", "install", "--quiet", "--python", python, *needs],
    ]
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        except subprocess.TimeoutExpired:
            raise NotMeasured("could not be installed within 15 minutes") from None
        if done.returncode:
            raise NotMeasured(f"could not be installed: {' '.join(done.stderr.split())[:300]}")
    note.write_text(wanted, encoding="utf-8")
    return folder / "bin"


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(command: Sequence[object], address: str, folder: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """The command as a process, from when `address` answers 200 until the end of the block. Raises NotMeasured.

    It runs in `folder`, with the programs beside its own in front of PATH, because some start others by a bare name.
    """
    parts = [str(part) for part in command]
    path = f"{Path(parts[0]).parent}{os.pathsep}{os.environ['PATH']}"
    log = folder / f"{Path(parts[0]).name}-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            parts, cwd=folder, env=os.environ | QUIET | variables | {"PATH": path}, stdout=output, stderr=output
        )
        try:
            deadline = time.monotonic() + 120
            while not answers(address):
                if process.poll() is not None or time.monotonic() > deadline:
                    end = " ".join(log.read_text(encoding="utf-8", errors="replace").split())[-300:]
                    raise NotMeasured(f"did not come up: {end}")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
