"""Runs Airflow's scheduler, dag-processor and api-server in one container, and ends when any of them ends.

``airflow standalone`` neither hears SIGTERM nor notices a dead child. Here a dead child ends the container, so that its
restart policy brings the whole back. `entrypoint.py PART` runs one part alone, as the production stack does; `prepare`
ends before any starts. Standard library only.
"""

import base64
import http
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType

# The api-server first, and alone until it answers: what the scheduler starts reports to it, and a task that cannot has
# used up an attempt.
PROCESSES = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),  # the api-server reads the logs from the same volume
    "dag-processor": ("dag-processor",),
}
WORKER = {"worker": ("celery", "worker", "--skip-serve-logs")}
STOP_SECONDS = 20.0


def write_private(path: Path, text: str) -> None:
    """Creates `path`, readable by its owner only, unless it is there. A half-written file never carries the name.

    Of several that start at once, in containers of their own too, the first one's stays.
    """
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.draft")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)


def make_secrets(home: Path, passwords: Path) -> None:
    """Makes password and keys at the first start; later starts keep them, or every session and token would end.

    The keys lie in airflow.cfg, not in the environment, which tasks inherit and would show to user code.
    """
    home.mkdir(parents=True, exist_ok=True)
    fernet_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    write_private(passwords, json.dumps({"admin": secrets.token_urlsafe(18)}))
    write_private(
        home / "airflow.cfg",
        f"[core]\nfernet_key = {fernet_key}\n\n"
        f"[api]\nsecret_key = {secrets.token_urlsafe(64)}\n\n"
        f"[api_auth]\njwt_secret = {secrets.token_urlsafe(96)}\n",
    )


def answers() -> bool:
    """Whether the api-server answers."""
    port = os.environ.get("AIRFLOW__API__PORT", "8080")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/version", timeout=5) as answer:
            return bool(answer.status == http.HTTPStatus.OK)
    except OSError:
        return False


def supervise(commands: list[list[str]], ready: Callable[[], bool] = lambda: True) -> int:
    """Runs `commands`, those after the first once `ready`, until a signal arrives (returns 0) or one of them ends
    (returns 1); then stops all, gently first."""
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    running = [subprocess.Popen(commands[0])]
    ended: subprocess.Popen[bytes] | None = None
    while not stopping and ended is None:
        if len(running) == 1 and ready():
            running += [subprocess.Popen(command) for command in commands[1:]]
        time.sleep(0.5)
        ended = next((process for process in running if process.poll() is not None), None)
    if ended is not None:
        sys.stderr.write(f"entrypoint: {ended.args!r} ended with code {ended.returncode}; stopping the rest\n")
    for process in running:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in running:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
    return 0 if ended is None else 1


def make_signing_key() -> None:
    """Makes the key that signs models, so that the prediction service can have its public half before a training ends.

    Raises CalledProcessError.
    """
    training, pipeline = os.environ["TRAINING_HOME"], os.environ["PIPELINE_HOME"]
    subprocess.run(
        [f"{training}/bin/python", f"{pipeline}/scripts/pipeline.py", "keys"], check=True, stdout=subprocess.DEVNULL
    )


def main() -> int:
    """Secrets, the signing key, database, processes. Raises CalledProcessError when a program that prepares them
    fails."""
    part = sys.argv[1] if len(sys.argv) > 1 else None
    if part in (None, "prepare", "worker"):  # who trains
        make_signing_key()
    if part in (None, "prepare", "api-server"):
        make_secrets(
            Path(os.environ["AIRFLOW_HOME"]), Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
        )
        subprocess.run(["airflow", "db", "migrate"], check=True)
    if part == "prepare":
        return 0
    if part:
        os.execvp("airflow", ["airflow", *(PROCESSES | WORKER)[part]])  # noqa: S606
    return supervise([["airflow", *process] for process in PROCESSES.values()], answers)


if __name__ == "__main__":
    sys.exit(main())
