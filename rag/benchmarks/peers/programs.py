"""Environments of the peers, their programs, and ours: started, waited for, stopped."""

import json
import os
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import create_server
from typing import Any

from peers.material import RAG

ANSWER_TOKENS = 32
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


@dataclass
class Program:
    """A running program. `started`: seconds from its start to the first answered request."""

    process: "subprocess.Popen[bytes]"
    url: str
    started: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)

    def call(self, path: str, body: Any = None, data: bytes | None = None, kind: str = "application/json") -> Any:
        """The answer's JSON. Raises NotMeasured."""
        content = data if data is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.load(answer)
        except (OSError, ValueError) as error:
            raise NotMeasured(f"{path}: {error}") from error

    def memory(self, what: str = "VmRSS") -> int:
        """Megabytes of resident memory; VmHWM the most so far."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(what))


def peer_python(name: str, cache: Path) -> Path:
    """The Python of a peer's own environment, made where it is not there. Raises NotMeasured."""
    if name not in NEEDS:
        return Path(sys.executable)
    python, wanted = cache / name / "bin" / "python", "\n".join(NEEDS[name])
    note = cache / name / "needs.txt"
    if not note.exists() or note.read_text(encoding="utf-8") != wanted:
        _run([sys.executable, "-m", "venv", "--clear", str(cache / name)])
        site = next((cache / name).glob("lib/python*/site-packages"))
        (site / "below.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        _run([str(python), "-m", "pip", "install", "--quiet", "--no-deps", *NEEDS[name]])
        note.write_text(wanted, encoding="utf-8")
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise NotMeasured(f"could not be installed: {' '.join(done.stderr.split())[:300]}")


@contextmanager
def peer(name: str, cache: Path, variables: Mapping[str, str]) -> Iterator[Program]:
    """A peer's program from when it answers until the end of the block."""
    app = f"peers.{name if name == 'plain' else name + '_app'}:app"
    command = [str(peer_python(name, cache)), "-m", "uvicorn", app, "--log-level", "warning"]
    with _running(
        command, variables | {"PYTHONPATH": str(RAG / "benchmarks")}, lambda port: ["--port", str(port)], cache
    ) as one:
        yield one


@contextmanager
def ours(cache: Path, variables: Mapping[str, str]) -> Iterator[Program]:
    """This service as its own command starts it."""
    command = [sys.executable, "-m", "rag_service", "serve"]
    with _running(command, variables | {"PYTHONPATH": str(RAG)}, lambda port: [], cache) as one:
        yield one


@contextmanager
def _running(command: list[str], variables: Mapping[str, str], options: Any, cache: Path) -> Iterator[Program]:
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = os.environ | QUIET | variables | {"RAG_PORT": str(port)}
    log = cache / "program.log"
    begun = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *options(port)], env=environment, stdout=output, stderr=output)
        one = Program(process, f"http://127.0.0.1:{port}")
        try:
            while not _answers(one.url + "/readyz"):
                if process.poll() is not None or time.perf_counter() - begun > 180:
                    end = " ".join(log.read_text(encoding="utf-8", errors="replace").split())[-400:]
                    raise NotMeasured(f"did not come up: {end}")
                time.sleep(0.05)
            one.started = time.perf_counter() - begun
            yield one
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
    except (urllib.error.URLError, OSError):
        return False
