"""Environments of the peers, their programs, and ours: started, waited for, stopped."""

import json
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processes import NotMeasured, answering, free_port, installed

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


@dataclass(frozen=True)
class Program:
    """A running program. `started`: seconds from its start to the first answered request."""

    process: "subprocess.Popen[bytes]"
    url: str
    started: float

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
        installed([sys.executable, "-m", "venv", "--clear", str(cache / name)])
        site = next((cache / name).glob("lib/python*/site-packages"))
        (site / "below.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        installed([str(python), "-m", "pip", "install", "--quiet", "--no-deps", *NEEDS[name]])
        note.write_text(wanted, encoding="utf-8")
    return python


@contextmanager
def peer(name: str, cache: Path, variables: Mapping[str, str]) -> Iterator[Program]:
    """A peer's program from when it answers until the end of the block."""
    app = f"peers.{name if name == 'plain' else name + '_app'}:app"
    port = free_port()
    command = [str(peer_python(name, cache)), "-m", "uvicorn", app, "--log-level", "warning", "--port", str(port)]
    with _running(command, port, variables | {"PYTHONPATH": str(RAG / "benchmarks")}, cache) as one:
        yield one


@contextmanager
def ours(cache: Path, variables: Mapping[str, str]) -> Iterator[Program]:
    """This service as its own command starts it."""
    port = free_port()
    command = [sys.executable, "-m", "rag_service", "serve"]
    with _running(command, port, variables | {"PYTHONPATH": str(RAG), "RAG_PORT": str(port)}, cache) as one:
        yield one


@contextmanager
def _running(command: list[str], port: int, variables: Mapping[str, str], cache: Path) -> Iterator[Program]:
    url = f"http://127.0.0.1:{port}"
    begun = time.perf_counter()
    with answering(command, f"{url}/readyz", cache / "program.log", QUIET | variables) as process:
        yield Program(process, url, time.perf_counter() - begun)
