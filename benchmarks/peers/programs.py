"""Environments for the peers, and their processes: each is waited for until it answers, and stopped again."""

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
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
SECONDS = 180  # until a program has to answer


class NotMeasured(Exception):
    """A program could not be installed or started, or did not do its work. The message says why."""


def installed(command: Sequence[str]) -> None:
    """Runs a command that installs something. Raises NotMeasured."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except subprocess.TimeoutExpired:
        raise NotMeasured("could not be installed within 15 minutes") from None
    if done.returncode:
        raise NotMeasured(f"could not be installed: {' '.join(done.stderr.split())[:300]}")


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def answering(
    command: Sequence[str], address: str, log: Path, variables: Mapping[str, str], folder: Path | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """The command as a process, from when `address` answers 200 until the end of the block. Raises NotMeasured.

    It runs in `folder` with this process's environment and `variables`; what it prints is in `log`.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | variables, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + SECONDS
            while not _answers(address):
                if process.poll() is not None or time.monotonic() > deadline:
                    end = " ".join(log.read_text(encoding="utf-8", errors="replace").split())[-400:]
                    raise NotMeasured(f"did not come up: {end}")
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


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
) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    """The command as a process, from when `address` answers 200 until the end of the block. Raises NotMeasured.

    It runs in `folder`, with the programs beside its own in front of PATH, because some start others by a bare name.
    """
    parts = [str(part) for part in command]
    path = f"{Path(parts[0]).parent}{os.pathsep}{os.environ['PATH']}"
    log = folder / f"{Path(parts[0]).name}-{time.monotonic_ns()}.log"
    return answering(parts, address, log, QUIET | variables | {"PATH": path}, folder)
