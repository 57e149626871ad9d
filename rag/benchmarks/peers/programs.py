"""Environments of the peers, their programs, and ours: each a process, waited for until it answers, and stopped."""

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from typing import Any

import httpx2

from peers.material import RAG

ANSWER_TOKENS = 32
SECONDS = 180  # until a program has to answer
# Laid over this environment, so that all use one torch, transformers and sentence-transformers.
NEEDS = {
    "txtai": ["txtai==9.14.0", "msgpack==1.2.4"],
    "haystack": [
        "haystack-ai==3.4.1", "sentence-transformers-haystack==2.0.0", "lazy-imports==1.2.0", "more-itertools==11.2.1",
        "tenacity==9.2.1", "posthog==7.91.1", "docstring-parser==0.18.0", "filetype==1.2.0", "jsonschema==4.26.0",
        "jsonschema-specifications==2025.9.1", "attrs==26.1.0", "referencing==0.37.0", "rpds-py==2026.9.1",
        "backoff==2.2.1", "distro==1.9.0", "pillow==13.0.0", "pypdfium2==5.15.2",
        "python-dateutil==4.0.0", "requests==2.34.2", "urllib3==2.8.0",
    ],
}  # fmt: skip
QUIET = {"HAYSTACK_TELEMETRY_ENABLED": "False", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "TQDM_DISABLE": "1"}


class NotMeasured(Exception):
    """A program could not be installed or started, or did not do its work. The message says why."""


@dataclass(frozen=True)
class Program:
    """A running program. `started`: seconds from its start to the first answered request."""

    process: "subprocess.Popen[bytes]"
    http: httpx2.Client
    started: float

    def post(self, path: str, **content: Any) -> Any:
        """The answer's JSON. Raises NotMeasured."""
        try:
            return self.http.post(path, **content).raise_for_status().json()
        except (httpx2.HTTPError, ValueError) as error:
            raise NotMeasured(f"{path}: {error}") from error


def resident(process: int | str = "self") -> int:
    """Megabytes of a process's resident memory."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


def peer_python(name: str, cache: Path) -> Path:
    """The Python of a peer's own environment, made where it is not there. Raises NotMeasured."""
    if name not in NEEDS:
        return Path(sys.executable)
    python, wanted = cache / name / "bin" / "python", "\n".join(NEEDS[name])
    note = cache / name / "needs.txt"
    if not note.exists() or note.read_text(encoding="utf-8") != wanted:
        installed([sys.executable, "-m", "venv", "--clear", str(cache / name)])
        site = next((cache / name).glob("lib/python*/site-packages"))
        (site / "below.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        installed([str(python), "-m", "pip", "install", "--quiet", "--no-deps", *NEEDS[name]])
        note.write_text(wanted, encoding="utf-8")
    return python


def installed(command: Sequence[str]) -> None:
    """Runs a command that installs something. Raises NotMeasured."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise NotMeasured(f"could not be installed: {' '.join(done.stderr.split())[:300]}")


def peer(name: str, cache: Path, variables: Mapping[str, str]) -> AbstractContextManager[Program]:
    """A peer's program from when it answers until the end of the block."""
    app = f"peers.{name if name == 'plain' else name + '_app'}:app"
    command = [str(peer_python(name, cache)), "-m", "uvicorn", app, "--log-level", "warning", "--port"]
    return _running(command, variables | {"PYTHONPATH": str(RAG / "benchmarks")}, cache)


def ours(cache: Path, variables: Mapping[str, str]) -> AbstractContextManager[Program]:
    """This service as its own command starts it."""
    return _running([sys.executable, "-m", "rag_service", "serve"], variables | {"PYTHONPATH": str(RAG)}, cache)


@contextmanager
def _running(command: list[str], variables: Mapping[str, str], cache: Path) -> Iterator[Program]:
    """Takes a free port, by RAG_PORT or as the last argument. Raises NotMeasured; the log is in `cache`."""
    with create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    command = [*command, port] if command[-1] == "--port" else command
    log, begun = cache / "program.log", time.perf_counter()
    with log.open("wb") as output, httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as http:
        environment = os.environ | QUIET | variables | {"RAG_PORT": port}
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            while not _answers(http):
                if process.poll() is not None or time.perf_counter() - begun > SECONDS:
                    end = " ".join(log.read_text(encoding="utf-8", errors="replace").split())[-400:]
                    raise NotMeasured(f"did not come up: {end}")
                time.sleep(0.05)
            yield Program(process, http, time.perf_counter() - begun)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(http: httpx2.Client) -> bool:
    try:
        return http.get("/readyz", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False
