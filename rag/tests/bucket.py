"""A store that speaks S3, for tests."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

KEYS = {"AWS_ACCESS_KEY_ID": "writer", "AWS_SECRET_ACCESS_KEY": "writer-secret", "AWS_EC2_METADATA_DISABLED": "true"}
_SECONDS = 60


@contextmanager
def s3_running(folder: Path) -> Iterator[str]:
    """The store's address, once it answers."""
    keys = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
    users = [{"name": "writer", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}]
    (folder / "users.json").write_text(json.dumps({"identities": users}))
    command = [Path(sys.executable).parent / "weed", "server", "-ip=127.0.0.1", f"-dir={folder}", "-volume.max=20"]
    command += ["-master.volumeSizeLimitMB=64", "-master.telemetry=false"]
    command += ["-s3", f"-s3.config={folder / 'users.json'}", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    ports = free_ports(8)
    for place, name in enumerate(("master", "volume", "filer", "s3")):
        command += [f"-{name}.port={ports[place]}", f"-{name}.port.grpc={ports[place + 4]}"]
    address = f"http://127.0.0.1:{ports[3]}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            _wait_for(f"{address}/healthz", process, folder / "log")
            yield address
        finally:
            process.kill()  # it has nothing to put in order
            process.wait()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx2.get(url).is_success:
                return
        except httpx2.HTTPError:
            time.sleep(0.1)
    raise TimeoutError(log.read_text())
